/** How often and how soon the watcher tries again (spec/os-iallocator-hooks.json, `watcher`); pure. */
import type { Tries } from "./watcher-memory.ts";

export const MOST_TRIES = 5;
/** Tries are forgotten so long after the last. */
export const TRIES_EXPIRE_S = 8 * 60 * 60;
/**
 * Between a try and the next. Ganeti's watcher runs each five minutes, and tries each time; this one looks more often,
 * and what fails at once mostly fails again.
 */
const PAUSES_S = [60, 300, 900, 3_600] as const;

/** When it may be tried again, in seconds since 1970. */
export function nextTryS({ count, lastS }: Pick<Tries, "count" | "lastS">): number {
  return lastS + (count < MOST_TRIES ? (PAUSES_S[count - 1] ?? TRIES_EXPIRE_S) : TRIES_EXPIRE_S);
}

/** Whether they still count. A clock that went back makes none of them eternal. */
export function haveExpired({ lastS }: Pick<Tries, "lastS">, nowS: number): boolean {
  return Math.abs(nowS - lastS) >= TRIES_EXPIRE_S;
}

/** Why it is not tried again yet; undefined when it may be. */
export function tooSoon(tried: Pick<Tries, "count" | "lastS"> | undefined, nowS: number): string | undefined {
  if (tried === undefined || nextTryS(tried) <= nowS) return undefined;
  const when = new Date(nextTryS(tried) * 1000).toISOString();
  const given = tried.count >= MOST_TRIES ? "given up until" : "the next try is at";
  return `it was tried ${tried.count} time${tried.count === 1 ? "" : "s"}; ${given} ${when}`;
}
