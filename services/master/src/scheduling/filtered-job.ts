/** A job, as far as filters and limits look at it. */
import type { JobId, OpcodeInput, OpcodeStatus } from "@gannet/job-ledger";

export interface FilteredJob {
  readonly id: JobId;
  readonly opcodes: readonly { readonly input: OpcodeInput; readonly status: OpcodeStatus }[];
}

/** One element of a reason trail: its time is in nanoseconds since 1970. */
export type Reason = readonly [source: string, text: string, timeNs: number];

/** The reason trail of an opcode, which was validated when it was submitted. */
export function reasonsOf(input: OpcodeInput): readonly Reason[] {
  return Array.isArray(input.reason) ? (input.reason as readonly Reason[]) : [];
}
