import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import { oneNameOf } from "../rapi/one-name.ts";
import * as r from "../results.ts";
import { get } from "../route.ts";

export const NodeQueryStorage = defineOpcode({
  id: "OP_NODE_QUERY_STORAGE",
  doc: "List the storage units of nodes.",
  params: {
    output_fields: p.outputFields,
    storage_type: p.optionalStorageType,
    nodes: p.nodeNames,
    name: p.storageName,
  },
  result: r.rows,
  summary: null,
  rapi: [
    get("/2/nodes/:node_name/storage", {
      query: { storage_type: { type: "string" }, output_fields: { type: "list", required: true } },
      body: "ignored",
      convert: ({ params: { node_name, ...rest } }) => ({ ...rest, nodes: [node_name] }),
      invert: oneNameOf("nodes", "node_name"),
    }),
  ],
  cli: command("node list-storage", { args: ["nodes"] }),
});
