/** A lock's name on the wire and in Redis, `<level>/<name>`, and the order in which locks are listed. */
import { LockError } from "@gannet/errors";
import { LOCK_LEVELS, LOCKSET, type LockLevel, type LockWish } from "./lock.ts";

/** Bounds what a name can do to a key or a log line; instance names and UUIDs are far inside it. */
const NAME = /^[^\s/\p{Cc}]{1,255}$/u;

/** Rank of each level in Ganeti's hierarchy, from 1. */
export const LEVEL_RANKS = Object.fromEntries(LOCK_LEVELS.map((level, index) => [level, index + 1])) as Readonly<
  Record<LockLevel, number>
>;

/** `{ level: "node", name: "<uuid>" }` is `node/<uuid>`. @throws LockError when the name cannot be a lock's */
export function lockName({ level, name }: Pick<LockWish, "level" | "name">): string {
  if (!NAME.test(name))
    throw new LockError(`Not a lock's name at level ${level}: ${JSON.stringify(name.slice(0, 255))}`);
  if (level === "cluster" && name !== "BGL" && name !== LOCKSET)
    throw new LockError(`Level cluster has only the locks BGL and ${LOCKSET}, not ${name}`);
  return `${level}/${name}`;
}

export function parseLockName(lock: string): Pick<LockWish, "level" | "name"> {
  const slash = lock.indexOf("/");
  return { level: lock.slice(0, slash) as LockLevel, name: lock.slice(slash + 1) };
}

/** By level, the set lock first, then by name. */
export function compareLockNames(a: string, b: string): number {
  if (a === b) return 0;
  const [left, right] = [parseLockName(a), parseLockName(b)];
  if (left.level !== right.level) return LEVEL_RANKS[left.level] - LEVEL_RANKS[right.level];
  if (left.name === LOCKSET) return -1;
  if (right.name === LOCKSET) return 1;
  return left.name < right.name ? -1 : 1;
}
