import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { flag, post } from "../route.ts";

export const NodePowercycle = defineOpcode({
  id: "OP_NODE_POWERCYCLE",
  doc: "Reboot a node at once, whatever runs on it.",
  params: { node_name: p.nodeName, node_uuid: p.uuid, force: p.force },
  result: r.name.nullable(),
  summary: "node_name",
  rapi: [post("/2/nodes/:node_name/powercycle", { query: { force: flag } })],
  cli: command("node powercycle", { args: ["node_name"] }),
});
