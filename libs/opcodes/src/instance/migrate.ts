import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { put } from "../route.ts";

export const InstanceMigrate = defineOpcode({
  id: "OP_INSTANCE_MIGRATE",
  doc: "Move a running instance to its other node.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    mode: p.migrationMode,
    live: p.live,
    target_node: p.targetNode,
    target_node_uuid: p.uuid,
    allow_runtime_changes: p.allowRuntimeChanges,
    ignore_ipolicy: p.ignoreIpolicy,
    cleanup: p.flag("Clean up after a migration that broke off."),
    iallocator: p.iallocator,
    allow_failover: p.flag("Fail over where a migration is not possible."),
    ignore_hvversions: p.flag("Go on where the nodes' hypervisor versions do not fit."),
  },
  result: r.nothing,
  summary: "instance_name",
  rapi: [put("/2/instances/:instance_name/migrate")],
  cli: command("instance migrate", { args: ["instance_name"] }),
});
