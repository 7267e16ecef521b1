/** Reason trails: who asked for an opcode and why, oldest first (spec/jobs.json, `reason_trail`). */
import type { ReasonEntry, WireOpcode } from "./define.ts";

/** Where an opcode stands in the queue. */
export interface QueuePlace {
  readonly jobId: number;
  /** Position in its job, from 0. */
  readonly index: number;
  /** When the job was submitted: `[sec, usec]`. */
  readonly received: readonly [sec: number, usec: number];
}

/**
 * An opcode with what the queue adds to its reason trail at submit. The entry follows from the opcode's place, so
 * it is added where the opcode is shown and not stored.
 */
export function withQueueReason(op: WireOpcode, { jobId, index, received: [sec, usec] }: QueuePlace): WireOpcode {
  const name = op.OP_ID.replace("OP_", "").toLowerCase();
  const entry: ReasonEntry = [`gnt:opcode:${name}`, `job=${jobId};index=${index}`, sec * 1e9 + usec * 1e3];
  return { ...op, reason: [...(Array.isArray(op.reason) ? op.reason : []), entry] };
}
