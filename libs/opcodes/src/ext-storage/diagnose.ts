import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const ExtStorageDiagnose = defineOpcode({
  id: "OP_EXT_STORAGE_DIAGNOSE",
  doc: "Describe the external storage providers that the nodes have.",
  params: { output_fields: p.outputFields, names: p.list(p.fileName, "Names of providers; none: all.") },
  result: r.rows,
  summary: null,
  rapi: [],
  cli: command("storage diagnose"),
});
