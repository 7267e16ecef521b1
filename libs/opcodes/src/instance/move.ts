import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const InstanceMove = defineOpcode({
  id: "OP_INSTANCE_MOVE",
  doc: "Move an instance to any node by copying its disks.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    shutdown_timeout: p.shutdownTimeout,
    ignore_ipolicy: p.ignoreIpolicy,
    target_node: p.required(p.hostName, "The node to move to."),
    target_node_uuid: p.uuid,
    compress: p.compress,
    ignore_consistency: p.ignoreConsistency,
  },
  result: r.nothing,
  summary: "instance_name",
  rapi: [],
  cli: command("instance move", { args: ["instance_name", "target_node"] }),
});
