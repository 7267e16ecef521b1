import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { del } from "../route.ts";

export const BackupRemove = defineOpcode({
  id: "OP_BACKUP_REMOVE",
  doc: "Remove the exports of an instance from all nodes.",
  params: { instance_name: p.instanceName, instance_uuid: p.uuid },
  result: r.nothing,
  summary: "instance_name",
  rapi: [del("/2/instances/:instance_name/export")],
  cli: command("backup remove", { args: ["instance_name"] }),
});
