import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

/** The remote API answers `/2/os` itself; see rapi/resources.ts. */
export const OsDiagnose = defineOpcode({
  id: "OP_OS_DIAGNOSE",
  doc: "Describe the OS definitions that the nodes have.",
  params: { output_fields: p.outputFields, names: p.list(p.fileName, "Names of OSes; none: all.") },
  result: r.rows,
  summary: null,
  rapi: [],
  cli: command("os diagnose"),
});
