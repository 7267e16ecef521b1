import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { put } from "../route.ts";

export const RepairNodeStorage = defineOpcode({
  id: "OP_REPAIR_NODE_STORAGE",
  doc: "Repair a storage unit of a node.",
  params: {
    node_name: p.nodeName,
    node_uuid: p.uuid,
    storage_type: p.storageType,
    name: p.storageName,
    ignore_consistency: p.ignoreConsistency,
  },
  result: r.nothing,
  summary: "node_name",
  rapi: [
    put("/2/nodes/:node_name/storage/repair", {
      query: { storage_type: { type: "string", required: true }, name: { type: "string", required: true } },
      body: "ignored",
    }),
  ],
  cli: command("node repair-storage", { args: ["node_name", "storage_type", "name"] }),
});
