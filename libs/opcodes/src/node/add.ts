import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const NodeAdd = defineOpcode({
  id: "OP_NODE_ADD",
  doc: "Add a node to the cluster.",
  params: {
    node_name: p.required(p.hostName, "Name of the new node."),
    hv_state: p.hvState,
    disk_state: p.diskState,
    primary_ip: p.optional(p.ip, "Its address; absent: what its name resolves to."),
    secondary_ip: p.optional(p.ip, "Its address for replication; absent: the primary one."),
    readd: p.flag("The node was a member before and keeps its place."),
    group: p.optional(p.plainName, "Its node group; absent: the default one."),
    master_capable: p.optionalFlag("Whether it may become a master candidate."),
    vm_capable: p.optionalFlag("Whether it may run instances."),
    ndparams: p.ndparams,
    node_setup: p.flag("Set the node up over SSH."),
  },
  result: r.nothing,
  summary: "node_name",
  rapi: [],
  cli: command("node add", { args: ["node_name"] }),
});
