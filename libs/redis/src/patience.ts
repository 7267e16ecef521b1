/** Trying again while Redis is away. */
import { setTimeout as delay } from "node:timers/promises";
import { Unavailable } from "@gannet/errors";

export interface Patience {
  /** How long after the first attempt another may begin. */
  readonly forMs: number;
  /** Which failures pass; all that are `Unavailable` by default. */
  readonly worthRetrying?: (error: Unavailable) => boolean;
  /** Ends the trying: the last failure is thrown. */
  readonly signal?: AbortSignal;
}

const FIRST_PAUSE_MS = 20;
/** Attempts cost little: while there is no connection each waits for the next one to be tried. */
const LONGEST_PAUSE_MS = 250;

/**
 * Attempt until it does not fail with `Unavailable`. An attempt that failed may have been carried out, so it must
 * be one that may run twice.
 *
 * @param attempt is told how many attempts there were before it
 */
export async function patiently<T>(attempt: (earlier: number) => Promise<T>, patience: Patience): Promise<T> {
  const deadline = performance.now() + patience.forMs;
  for (let earlier = 0, pauseMs = FIRST_PAUSE_MS; ; earlier++, pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    try {
      return await attempt(earlier);
    } catch (error) {
      if (!(error instanceof Unavailable) || patience.worthRetrying?.(error) === false) throw error;
      if (performance.now() + pauseMs > deadline || patience.signal?.aborted === true) throw error;
    }
    await delay(pauseMs, undefined, { signal: patience.signal }).catch(() => {});
  }
}
