import { z } from "zod";
import { defineOpcode } from "../define.ts";
import { QUERY_RESOURCES } from "../enums.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const Query = defineOpcode({
  id: "OP_QUERY",
  doc: "List objects of one kind by fields and filter.",
  params: {
    what: p.required(z.enum(QUERY_RESOURCES), "The kind of object."),
    use_locking: p.useLocking,
    fields: p.outputFields,
    qfilter: p.optional(z.array(z.unknown()), "Which objects, in the filter language; absent: all."),
  },
  result: r.queryResponse,
  summary: "what",
  rapi: [],
  cli: null,
});
