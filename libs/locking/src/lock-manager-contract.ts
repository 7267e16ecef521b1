/** What the lock manager does. `RedisLockManager` is the implementation; state survives the process. */
import type { LockInfo, LockRequest, LockWish } from "./lock.ts";

/** Proof of leadership; a stale epoch is refused with StaleEpoch. */
export interface Fence {
  readonly epoch: number;
}

export interface LockManager {
  /**
   * Ask for all locks at once. Granted when the request conflicts neither with a holder nor with an earlier
   * waiter of equal or higher priority; otherwise it waits, and a later release answers its owner.
   * Repeating the same request of the same owner answers its present state.
   * @throws LockError when the owner already has a different request waiting, StaleEpoch
   */
  request(request: LockRequest, fence: Fence): Promise<"granted" | "waiting">;
  /**
   * Give back some locks of an owner, or all of them with its waiting request.
   * @returns owners whose waiting requests this granted
   */
  release(owner: number, what: readonly LockWish[] | "all", fence: Fence): Promise<readonly number[]>;
  /** Exclusive locks that become shared without being let go. @returns owners granted thereby */
  downgrade(owner: number, wishes: readonly LockWish[], fence: Fence): Promise<readonly number[]>;
  /** Change a waiting request's priority. @returns owners granted thereby */
  reprioritize(owner: number, priority: number, fence: Fence): Promise<readonly number[]>;
  /** Locks an owner holds. */
  held(owner: number): Promise<readonly LockWish[]>;
  /** Everything, for the lock query. Only locks that are held or waited for exist. */
  list(): Promise<readonly LockInfo[]>;
  /** Of a waiting owner: who holds, or waits earlier for, what it needs. */
  explain(owner: number): Promise<readonly { readonly lock: string; readonly blockedBy: readonly number[] }[]>;
  /** Release everything of every owner not in the set: what a dead leader left. @returns owners granted thereby */
  retainOwners(owners: readonly number[], fence: Fence): Promise<readonly number[]>;
}
