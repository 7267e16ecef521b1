import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { put } from "../route.ts";

export const InstanceFailover = defineOpcode({
  id: "OP_INSTANCE_FAILOVER",
  doc: "Stop an instance and start it on its other node.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    shutdown_timeout: p.shutdownTimeout,
    ignore_consistency: p.ignoreConsistency,
    target_node: p.targetNode,
    target_node_uuid: p.uuid,
    ignore_ipolicy: p.ignoreIpolicy,
    cleanup: p.flag("Clean up after a failover that broke off."),
    iallocator: p.iallocator,
  },
  result: r.nothing,
  summary: "instance_name",
  rapi: [put("/2/instances/:instance_name/failover")],
  cli: command("instance failover", { args: ["instance_name"] }),
});
