/** What the lock manager does. `RedisLockManager` is the implementation; state survives the process. */
import type { LockInfo, LockRequest, LockWish } from "./lock.ts";

/** Proof of leadership; a stale epoch is refused with StaleEpoch. */
export interface Fence {
  readonly epoch: number;
}

export interface Aging {
  /** How long a request waits for each step up. */
  readonly roundMs: number;
  /** Since 1970; by Redis' clock when it is left out. */
  readonly nowMs?: number;
}

export interface LockManager {
  /**
   * Ask for all locks at once. Granted when the request conflicts neither with a holder nor with an earlier
   * waiter of equal or higher priority; otherwise it waits, and a later release answers its owner.
   * Repeating the same request of the same owner answers its present state.
   *
   * With candidates it gets those of them, beside all its wishes, that are to be had at that moment, if they are
   * enough; {@link LockManager.held} tells which. While it waits for enough of them it keeps later requests from
   * all: it is neither passed, nor does it pass those who waited before. Those it does not get go to them.
   *
   * An owner that holds locks may ask for more, of later levels only; it goes before other waiters.
   * @throws LockError when the owner already has a different request waiting, when it holds locks of a level it
   *   asks for or a later one, or when a name, a priority or a number of candidates cannot be; StaleEpoch
   */
  request(request: LockRequest, fence: Fence): Promise<"granted" | "waiting">;
  /**
   * Give back some locks of an owner, whatever their mode, or all of them with its waiting request. What is not
   * held is passed over, so that a release whose answer was lost can be repeated.
   * @returns owners whose waiting requests this granted; when Redis was away meanwhile, also those who were granted
   *   before and have not asked again, because they may not have been told
   * @throws LockError when only some are named while the owner has a request waiting; StaleEpoch
   */
  release(owner: number, what: readonly LockWish[] | "all", fence: Fence): Promise<readonly number[]>;
  /**
   * Exclusive locks that become shared without being let go.
   * @returns owners granted thereby
   * @throws LockError when one is not held, or the owner has a request waiting; StaleEpoch
   */
  downgrade(owner: number, wishes: readonly LockWish[], fence: Fence): Promise<readonly number[]>;
  /** Change a waiting request's priority. @returns owners granted thereby */
  reprioritize(owner: number, priority: number, fence: Fence): Promise<readonly number[]>;
  /**
   * Move waiting requests up: by one priority for each round that they have waited, as far as the highest
   * (spec/jobs.json, `priorities.aging`). To be called now and then; a round counts once, however often that is.
   * @returns owners granted thereby
   */
  age(aging: Aging, fence: Fence): Promise<readonly number[]>;
  /** Locks an owner holds, in the order of {@link LockManager.list}. */
  held(owner: number): Promise<readonly LockWish[]>;
  /**
   * Everything, for the lock query: by level, the set lock first, then by name. Only locks that are held or
   * waited for exist. Those waiting stand in their order.
   */
  list(): Promise<readonly LockInfo[]>;
  /** Of a waiting owner: who holds, or waits earlier for, what it needs. */
  explain(owner: number): Promise<readonly { readonly lock: string; readonly blockedBy: readonly number[] }[]>;
  /** Release everything of every owner not in the set: what a dead leader left. @returns owners granted thereby */
  retainOwners(owners: readonly number[], fence: Fence): Promise<readonly number[]>;
}
