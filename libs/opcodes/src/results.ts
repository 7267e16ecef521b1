/** Result types that several opcodes share (spec/opcodes.json, `types`). */
import { z } from "zod";
import { QUERY_FIELD_KINDS } from "./enums.ts";

export const nothing = z.null();
export const name = z.string().min(1);
export const names = z.array(name);
export const anyObject = z.record(z.string(), z.unknown());
export const rows = z.array(z.array(z.unknown()));

const submission = z.union([
  z.tuple([z.literal(true), z.int().nonnegative()]),
  z.tuple([z.literal(false), z.string()]),
]);

/** Jobs that the opcode submitted: `[true, id]`, or `[false, reason]` where one could not be. */
export const jobIdList = z.strictObject({ jobs: z.array(submission) });
export type JobIdList = z.output<typeof jobIdList>;

/** {@link jobIdList} of a bulk allocation, with the names that found a place and those that did not. */
export const multiAllocResponse = z.strictObject({
  jobs: z.array(submission),
  allocatable: names,
  failed: names,
});

/** What was changed: `[parameter, new value]` each. */
export const changes = z.array(z.tuple([name, z.unknown()]));

export const queryFieldDef = z.object({
  name,
  title: name,
  kind: z.enum(QUERY_FIELD_KINDS),
  doc: name,
});
export const queryFieldsResponse = z.object({ fields: z.array(queryFieldDef) });
/** Of a cell: normal, unknown field, no data, unavailable, offline. */
export const RESULT_STATUS = z.literal([0, 1, 2, 3, 4]);

/** Rows of `[status, value]` cells; status 0 is a normal value. */
export const queryResponse = z.object({
  fields: z.array(queryFieldDef),
  data: z.array(z.array(z.tuple([RESULT_STATUS, z.unknown()]))),
});
export type QueryResponse = z.output<typeof queryResponse>;
