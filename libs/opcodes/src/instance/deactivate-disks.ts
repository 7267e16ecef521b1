import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { flag, put } from "../route.ts";

export const InstanceDeactivateDisks = defineOpcode({
  id: "OP_INSTANCE_DEACTIVATE_DISKS",
  doc: "Release the disks of a stopped instance.",
  params: { instance_name: p.instanceName, instance_uuid: p.uuid, force: p.force },
  result: r.nothing,
  summary: "instance_name",
  rapi: [put("/2/instances/:instance_name/deactivate-disks", { query: { force: flag }, body: "ignored" })],
  cli: command("instance deactivate-disks", { args: ["instance_name"] }),
});
