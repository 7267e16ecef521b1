import { z } from "zod";
import { defineOpcode } from "../define.ts";
import { QUERY_RESOURCES } from "../enums.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const QueryFields = defineOpcode({
  id: "OP_QUERY_FIELDS",
  doc: "Describe the fields of one kind of object.",
  params: {
    what: p.required(z.enum(QUERY_RESOURCES), "The kind of object."),
    fields: p.optionalList(p.nonEmptyLine, "Names of the fields; absent: all."),
  },
  result: r.queryFieldsResponse,
  summary: "what",
  rapi: [],
  cli: null,
});
