/** What a lock request may look like, checked before it reaches Redis or the model. */
import { LockError } from "@gannet/errors";
import { LOCKSET, type LockCandidates, type LockRequest, type LockWish } from "./lock.ts";
import { LEVEL_RANKS, lockName } from "./lock-name.ts";

/** Ganeti's range of priorities (spec/jobs.json, `priorities`). */
export const HIGHEST_PRIORITY = -20;
const LOWEST_PRIORITY = 19;

/** Which of a request's locks stand for candidates, in one order whatever the caller's was. */
export interface Choice {
  /** How many candidates are needed. */
  readonly least: number;
  /** The locks of each. */
  readonly groups: readonly (readonly string[])[];
}

/** Everything that a request asks for. */
export interface Asked {
  /** Each lock once, by wire name, those of all candidates among them; exclusive where both modes are asked for. */
  readonly wishes: ReadonlyMap<string, LockWish>;
  readonly choice: Choice | undefined;
}

/** @throws LockError when the request is malformed */
export function askedOf({ owner, priority, wishes, candidates }: LockRequest): Asked {
  if (!Number.isSafeInteger(owner) || owner < 1) throw new LockError(`Not a job id: ${owner}`);
  checkPriority(priority);
  const asked = new Map<string, LockWish>();
  for (const wish of wishes) {
    const lock = lockName(wish);
    if (asked.get(lock)?.mode !== "exclusive") asked.set(lock, wish);
  }
  return { wishes: asked, choice: candidates && choiceOf(candidates, asked) };
}

/** @throws LockError */
export function checkPriority(priority: number): void {
  if (Number.isInteger(priority) && priority >= HIGHEST_PRIORITY && priority <= LOWEST_PRIORITY) return;
  throw new LockError(`Not a priority from ${HIGHEST_PRIORITY} to ${LOWEST_PRIORITY}: ${priority}`);
}

/** The candidates' wishes are added to `asked`. */
function choiceOf({ levels, names, mode, atLeast }: LockCandidates, asked: Map<string, LockWish>): Choice {
  const inOrder = [...new Set(levels)].sort((a, b) => LEVEL_RANKS[a] - LEVEL_RANKS[b]);
  const groups = [...new Set(names)].sort().map((name) =>
    inOrder.map((level): string => {
      const lock = lockName({ level, name });
      if (name === LOCKSET || asked.has(lock))
        throw new LockError(`${lock} cannot be a candidate: it is a set lock, or asked for in any case`);
      asked.set(lock, { level, name, mode });
      return lock;
    }),
  );
  if (levels.length === 0 || !Number.isInteger(atLeast) || atLeast < 1 || atLeast > groups.length)
    throw new LockError(`${atLeast} locks of ${groups.length} candidates cannot be had`);
  return { least: atLeast, groups };
}
