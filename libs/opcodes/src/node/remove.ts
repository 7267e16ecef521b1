import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const NodeRemove = defineOpcode({
  id: "OP_NODE_REMOVE",
  doc: "Remove a node that has no instances.",
  params: { node_name: p.nodeName, node_uuid: p.uuid },
  result: r.nothing,
  summary: "node_name",
  rapi: [],
  cli: command("node remove", { args: ["node_name"] }),
});
