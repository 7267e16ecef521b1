/**
 * Jobs that have waited long for locks go before others that were as urgent: Ganeti raises their priority after each
 * half hour (spec/jobs.json, `priorities.aging`). One look at all of them now and then, instead of a timer for each.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Fence, WakeQueue } from "@gannet/job-ledger";
import type { LockManager } from "@gannet/locking";
import type { Logger } from "@gannet/telemetry";
import { wakeAll } from "./executor.ts";

export interface LockAgingOptions {
  readonly locks: Pick<LockManager, "age">;
  readonly queue: Pick<WakeQueue, "wake">;
  readonly fence: Fence;
  readonly logger: Logger;
  readonly lookEveryMs?: number;
}

/** All attempts of one of Ganeti's rounds together (spec/locks.json, `timeouts.total_s`). */
const ROUND_MS = 1_800_000;
/** A small part of a round; one short script when nobody is due. */
const LOOK_EVERY_MS = 60_000;

/** Age waiting lock requests until the term is over. Never throws: what fails is done by the next look. */
export async function keepAging(options: LockAgingOptions, over: AbortSignal): Promise<void> {
  const { locks, queue, fence, logger, lookEveryMs = LOOK_EVERY_MS } = options;
  for (;;) {
    await delay(lookEveryMs, undefined, { signal: over }).catch(() => undefined);
    if (over.aborted) return;
    try {
      await wakeAll(queue, await locks.age({ roundMs: ROUND_MS }, fence));
    } catch (error) {
      if (!over.aborted) logger.warn({ err: error }, "waiting lock requests could not be aged; trying again");
    }
  }
}
