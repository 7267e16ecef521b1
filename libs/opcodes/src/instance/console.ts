import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const InstanceConsole = defineOpcode({
  id: "OP_INSTANCE_CONSOLE",
  doc: "Tell how to reach an instance's console.",
  params: { instance_name: p.instanceName, instance_uuid: p.uuid },
  result: r.anyObject,
  summary: "instance_name",
  rapi: [],
  cli: command("instance console", { args: ["instance_name"] }),
});
