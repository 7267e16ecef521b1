/** Errors as a job's `opresult` holds them, and back again (spec/jobs.json, `error_encoding`). */
import type { EncodedError } from "./gannet-error.ts";
import { GannetError } from "./gannet-error.ts";

/**
 * The `[class, arguments]` of an error. An error outside the taxonomy is a defect: clients see an
 * `OpExecError` with its text, as Ganeti's do, and the log keeps the stack.
 */
export function encodeError(error: unknown): EncodedError {
  if (error instanceof GannetError) return [error.wireClass, error.wireArgs()];
  return ["OpExecError", [error instanceof Error ? error.message : String(error)]];
}

/** What the opcodes after a failed one get. */
export const PRECEDING_OPCODE_FAILED: EncodedError = ["OpExecError", ["Preceding opcode failed"]];
