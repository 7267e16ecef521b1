/** What a lock request may look like, checked before it reaches Redis or the model. */
import { LockError } from "@gannet/errors";
import type { LockRequest, LockWish } from "./lock.ts";
import { lockName } from "./lock-name.ts";

/** Ganeti's range of priorities (spec/jobs.json, `priorities`). */
const HIGHEST_PRIORITY = -20;
const LOWEST_PRIORITY = 19;

/** @throws LockError */
export function checkRequest({ owner, priority }: LockRequest): void {
  if (!Number.isSafeInteger(owner) || owner < 1) throw new LockError(`Not a job id: ${owner}`);
  checkPriority(priority);
}

/** @throws LockError */
export function checkPriority(priority: number): void {
  if (Number.isInteger(priority) && priority >= HIGHEST_PRIORITY && priority <= LOWEST_PRIORITY) return;
  throw new LockError(`Not a priority from ${HIGHEST_PRIORITY} to ${LOWEST_PRIORITY}: ${priority}`);
}

/** Each lock once, by wire name; exclusive where it is asked for in both modes. */
export function wishesByLock(wishes: readonly LockWish[]): ReadonlyMap<string, LockWish> {
  const byLock = new Map<string, LockWish>();
  for (const wish of wishes) {
    const lock = lockName(wish);
    if (byLock.get(lock)?.mode !== "exclusive") byLock.set(lock, wish);
  }
  return byLock;
}
