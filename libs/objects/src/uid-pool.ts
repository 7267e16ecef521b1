/** The user ids that guests run as: ranges, both ends included (spec/config.json, `cluster.uid_pool`). */
import { OpPrereqError } from "@gannet/errors";

export type UidRange = readonly [first: number, last: number];

/** A pool with root in it would protect nothing. */
const FIRST_UID = 1;
/** The highest value, 2^32 - 1, means "no user" to the kernel. */
const LAST_UID = 2 ** 32 - 2;

/**
 * The ranges in rising order.
 * @throws OpPrereqError `wrong_input` when a range is none, or two overlap
 */
export function checkedUidPool(ranges: readonly UidRange[]): [number, number][] {
  const sorted = ranges.map(([first, last]): [number, number] => [first, last]).sort(([a], [b]) => a - b);
  for (const [index, [first, last]] of sorted.entries()) {
    if (first < FIRST_UID || last > LAST_UID || first > last)
      throw new OpPrereqError(
        `${rangeText([first, last])} is no range of user ids: give the first and the last, from ${FIRST_UID} to ${LAST_UID}`,
        "wrong_input",
      );
    const next = sorted[index + 1];
    if (next !== undefined && next[0] <= last)
      throw new OpPrereqError(`User ids ${rangeText([first, last])} and ${rangeText(next)} overlap`, "wrong_input");
  }
  return sorted;
}

/**
 * The pool with more ranges; those that it has already stay.
 * @throws OpPrereqError as {@link checkedUidPool}
 */
export function withUids(pool: readonly UidRange[], added: readonly UidRange[]): [number, number][] {
  return checkedUidPool([...pool, ...added.filter((range) => !has(pool, range))]);
}

/**
 * The pool without some of its ranges.
 * @throws OpPrereqError `wrong_input` when it has no such range
 */
export function withoutUids(pool: readonly UidRange[], removed: readonly UidRange[]): [number, number][] {
  const missing = removed.filter((range) => !has(pool, range));
  if (missing.length > 0)
    throw new OpPrereqError(
      `The pool of user ids has no range ${missing.map(rangeText).join(", ")}; it has ${pool.map(rangeText).join(", ") || "none"}`,
      "wrong_input",
    );
  return checkedUidPool(pool.filter((range) => !has(removed, range)));
}

function has(pool: readonly UidRange[], [first, last]: UidRange): boolean {
  return pool.some((range) => range[0] === first && range[1] === last);
}

function rangeText([first, last]: UidRange): string {
  return `${first}-${last}`;
}
