import { command, defineOpcode, type RawParams } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { flag, put } from "../route.ts";

export const NodeModifyStorage = defineOpcode({
  id: "OP_NODE_MODIFY_STORAGE",
  doc: "Change a storage unit of a node.",
  params: {
    node_name: p.nodeName,
    node_uuid: p.uuid,
    storage_type: p.storageType,
    name: p.storageName,
    changes: p.required(p.anyObject, "What to change; `allocatable` is all there is."),
  },
  result: r.nothing,
  summary: "node_name",
  rapi: [
    put("/2/nodes/:node_name/storage/modify", {
      query: {
        storage_type: { type: "string", required: true },
        name: { type: "string", required: true },
        allocatable: flag,
      },
      body: "ignored",
      convert: ({ params: { allocatable, ...rest } }) => ({
        ...rest,
        changes: allocatable === undefined ? {} : { allocatable },
      }),
      invert: ({ changes, ...rest }) => {
        const { allocatable, ...others } = (changes ?? {}) as RawParams;
        return Object.keys(others).length === 0 ? { params: { ...rest, allocatable }, body: null } : undefined;
      },
    }),
  ],
  cli: command("node modify-storage", { args: ["node_name", "storage_type", "name"] }),
});
