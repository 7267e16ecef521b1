import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { del } from "../route.ts";

export const InstanceRemove = defineOpcode({
  id: "OP_INSTANCE_REMOVE",
  doc: "Stop an instance and remove it with its disks.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    shutdown_timeout: p.shutdownTimeout,
    ignore_failures: p.flag("Go on where stopping it or removing a disk fails."),
  },
  result: r.nothing,
  summary: "instance_name",
  rapi: [del("/2/instances/:instance_name", { fixed: { ignore_failures: false }, dryRun: "query" })],
  cli: command("instance remove", { args: ["instance_name"] }),
});
