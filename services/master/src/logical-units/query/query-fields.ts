import { QueryFields } from "@gannet/opcodes";
import { queryFields as fieldsOf } from "@gannet/query";
import { implement } from "../../executor/logical-unit.ts";

/** What `/2/query/<what>/fields` answers, as a job. */
export const queryFields = implement(QueryFields, {
  locks: () => [],
  checkPrereq: () => undefined,
  exec: async (_ctx, { what, fields }) => ({ fields: fieldsOf(what, fields).map((field) => ({ ...field })) }),
});
