/** Locks as logical units ask for them and queries show them (spec/locks.json). */

/** In the order of Ganeti's hierarchy. `cluster` is the big lock, BGL. */
export const LOCK_LEVELS = ["cluster", "instance", "nodegroup", "node", "node-res", "network"] as const;
export type LockLevel = (typeof LOCK_LEVELS)[number];
export type LockMode = "shared" | "exclusive";

/** Names the set lock of a level: held exclusively it excludes every member, now and to come. */
export const LOCKSET = "[lockset]";

export interface LockWish {
  readonly level: LockLevel;
  /** A member's name (instances: full name; others: UUID), {@link LOCKSET}, or `BGL` at level `cluster`. */
  readonly name: string;
  readonly mode: LockMode;
}

/**
 * Locks of which an owner needs some: the nodes for a new instance, before it is known which will do
 * (spec/locks.json, `rules.opportunistic`).
 */
export interface LockCandidates {
  /** One or more of the names' levels: `node` and `node-res`. A candidate is had when it is at all of them. */
  readonly levels: readonly LockLevel[];
  /** Members, not set locks, and none that the wishes name at these levels. */
  readonly names: readonly string[];
  readonly mode: LockMode;
  /** How many are needed, from 1. */
  readonly atLeast: number;
}

export interface LockRequest {
  readonly owner: number;
  readonly wishes: readonly LockWish[];
  /** Smaller first; ties in order of arrival. */
  readonly priority: number;
  readonly candidates?: LockCandidates;
}

/** One lock as the `lock` query shows it. Names have Ganeti's wire form: `node/<uuid>`, `cluster/BGL`. */
export interface LockInfo {
  readonly name: string;
  readonly mode: LockMode | null;
  readonly owners: readonly number[];
  readonly pending: readonly { readonly owner: number; readonly mode: LockMode; readonly sinceMs: number }[];
}
