import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { put } from "../route.ts";

export const InstanceRename = defineOpcode({
  id: "OP_INSTANCE_RENAME",
  doc: "Rename a stopped instance.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    new_name: p.required(p.hostName, "The new name."),
    name_check: p.nameCheck,
    ip_check: p.ipCheck,
  },
  result: r.name,
  summary: null,
  rapi: [put("/2/instances/:instance_name/rename", { defaults25: { name_check: true } })],
  cli: command("instance rename", { args: ["instance_name", "new_name"] }),
});
