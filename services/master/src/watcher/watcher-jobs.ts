/** Jobs of the watcher: how they are made, and how an opcode's unit knows that it was the watcher that asked. */
import { OpPrereqError } from "@gannet/errors";
import type { NewJob } from "@gannet/job-ledger";
import { parseOpcode, summaryOf, type WireOpcode, wireOpcode } from "@gannet/opcodes";

/** In the reason trail of all its opcodes (spec/jobs.json, `sources`). */
const SOURCE = "gnt:watcher";
const REQUESTER = "watcher";
/** The least urgent of Ganeti's: whatever a person wants goes first. */
export const LOW_PRIORITY = 10;

/** @param reason - why, for the reason trail */
export function watcherJob(
  opcodes: readonly WireOpcode[],
  { reason, nowMs, priority = LOW_PRIORITY }: { reason: string; nowMs: number; priority?: number },
): NewJob {
  return {
    requester: REQUESTER,
    opcodes: opcodes.map((opcode) => {
      const trail = [[SOURCE, reason, nowMs * 1_000_000]];
      const { declaration, op } = parseOpcode({ priority, ...opcode, reason: trail });
      return { input: wireOpcode(declaration, op), summary: summaryOf(declaration, op) };
    }),
  };
}

/**
 * Whether the watcher asked for an opcode. By the time that it has its locks, what the watcher saw may be over: its unit
 * then refuses it ({@link overtaken}) rather than act against what is wanted now.
 */
export function isAskedByWatcher({
  reason,
}: {
  readonly reason: readonly (readonly [string, ...unknown[]])[];
}): boolean {
  return reason[0]?.[0] === SOURCE;
}

/** @param fact - what has changed since the watcher looked */
export function overtaken(fact: string): OpPrereqError {
  return new OpPrereqError(`By now ${fact}: there is nothing to do for the watcher`, "wrong_state");
}
