/** Locks as logical units write them. */
import { LOCKSET, type LockLevel, type LockMode, type LockWish } from "@gannet/locking";

function wishesOf(mode: LockMode) {
  const one =
    (level: LockLevel) =>
    (name: string): LockWish => ({ level, name, mode });
  return {
    /** By full name, which need not exist yet. */
    instance: one("instance"),
    /** By UUID. */
    nodegroup: one("nodegroup"),
    node: one("node"),
    nodeRes: one("node-res"),
    network: one("network"),
    /** Every member of a level, now and to come. */
    all: (level: LockLevel): LockWish => ({ level, name: LOCKSET, mode }),
  };
}

export const exclusive = wishesOf("exclusive");
export const shared = wishesOf("shared");

const keyOf = (wish: LockWish): string => `${wish.level}/${wish.name}=${wish.mode}`;

/** Whether two requests ask for the same locks, in whatever order. */
export function sameWishes(a: readonly LockWish[], b: readonly LockWish[]): boolean {
  const keys = new Set(a.map(keyOf));
  return keys.size === new Set(b.map(keyOf)).size && b.every((wish) => keys.has(keyOf(wish)));
}
