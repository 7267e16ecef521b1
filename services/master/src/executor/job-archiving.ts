/**
 * Jobs that have been over for six hours leave the lists, as Ganeti's watcher sees to (spec/jobs.json,
 * `archive.watcher_age_s`).
 */
import { setTimeout as delay } from "node:timers/promises";
import type { JobLedger } from "@gannet/job-ledger";
import type { Logger } from "@gannet/telemetry";

export interface JobArchivingOptions {
  readonly ledger: Pick<JobLedger, "autoArchive">;
  readonly logger: Logger;
  readonly lookEveryMs?: number;
}

const AGE_S = 6 * 60 * 60;
/** As often as Ganeti's watcher runs. */
const LOOK_EVERY_MS = 5 * 60 * 1_000;
/** What is left after that is left to the next look: a ledger that is behind by a million jobs stays usable. */
const TIME_LIMIT_MS = 10_000;

/** Archive until the term is over. Never throws: what fails is done by the next look. */
export async function keepArchiving(options: JobArchivingOptions, over: AbortSignal): Promise<void> {
  const { ledger, logger, lookEveryMs = LOOK_EVERY_MS } = options;
  for (;;) {
    await delay(lookEveryMs, undefined, { signal: over }).catch(() => undefined);
    if (over.aborted) return;
    try {
      const { archived, left } = await ledger.autoArchive(AGE_S, TIME_LIMIT_MS);
      if (archived > 0) logger.info({ archived, left }, "archived old jobs");
    } catch (error) {
      if (!over.aborted) logger.warn({ err: error }, "old jobs could not be archived; trying again");
    }
  }
}
