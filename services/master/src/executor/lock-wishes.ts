/** Locks as logical units write them. */
import { LOCKSET, type LockCandidates, type LockLevel, type LockMode, type LockWish } from "@gannet/locking";

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
    /** BGL, which every opcode holds shared: held exclusively, nothing else runs. */
    bigLock: { level: "cluster", name: "BGL", mode } as LockWish,
    /** Every member of a level, now and to come. */
    all: (level: LockLevel): LockWish => ({ level, name: LOCKSET, mode }),
  };
}

export const exclusive = wishesOf("exclusive");
export const shared = wishesOf("shared");

/** All that an opcode asks of the lock manager. */
export interface LockNeeds {
  readonly wishes: readonly LockWish[];
  readonly candidates?: LockCandidates;
}

const keyOf = (wish: LockWish): string => `${wish.level}/${wish.name}=${wish.mode}`;

/** Whether two requests ask for the same locks, in whatever order. */
export function sameNeeds(a: LockNeeds, b: LockNeeds): boolean {
  return sameMembers(a.wishes.map(keyOf), b.wishes.map(keyOf)) && sameCandidates(a.candidates, b.candidates);
}

function sameCandidates(a: LockCandidates | undefined, b: LockCandidates | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  const isSame = a.mode === b.mode && a.atLeast === b.atLeast;
  return isSame && sameMembers(a.levels, b.levels) && sameMembers(a.names, b.names);
}

function sameMembers(a: readonly string[], b: readonly string[]): boolean {
  const members = new Set(a);
  return members.size === new Set(b).size && b.every((each) => members.has(each));
}
