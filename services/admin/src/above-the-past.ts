/**
 * Where a cluster's counts go on when what is known of them is old. Nodes refuse an epoch that is not above all that
 * they have seen, and answer the steps of a job whose id they know as they did then; so both must be new. How far the
 * cluster came since is bounded by the time that has passed, also when the same copy is used a second time.
 */

/** How far a cluster was, at a time in seconds since 1970. */
export interface PastMarks {
  readonly epoch: number;
  /** The last id given out. */
  readonly lastJob: number;
  readonly time: number;
}

/** No cluster changes its leader so often, or takes so many jobs, for long. */
const EPOCHS_A_SECOND = 10;
const JOBS_A_SECOND = 100;
/** For bursts, and clocks that differ. */
const EPOCHS_AT_LEAST = 1_000;
const JOBS_AT_LEAST = 10_000;

/** @param now - seconds since 1970 */
export function aboveThePast(
  { epoch, lastJob, time }: PastMarks,
  now: number,
): { readonly epoch: number; readonly lastJob: number } {
  const seconds = Math.ceil(Math.max(now - time, 0));
  return {
    epoch: epoch + seconds * EPOCHS_A_SECOND + EPOCHS_AT_LEAST,
    lastJob: lastJob + seconds * JOBS_A_SECOND + JOBS_AT_LEAST,
  };
}
