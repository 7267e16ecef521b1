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
const LONGEST_PAUSE_MS = 1_000;

/** Attempt until it does not fail with `Unavailable`. The attempt must be one that may run twice. */
export async function patiently<T>(attempt: () => Promise<T>, patience: Patience): Promise<T> {
  const deadline = performance.now() + patience.forMs;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Unavailable) || patience.worthRetrying?.(error) === false) throw error;
      if (performance.now() + pauseMs > deadline || patience.signal?.aborted === true) throw error;
    }
    await delay(pauseMs, undefined, { signal: patience.signal }).catch(() => {});
  }
}
