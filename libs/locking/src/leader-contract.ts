/** Leadership: one lease in Redis and an epoch that only grows. */

export interface Leadership {
  readonly epoch: number;
  /** Aborted when the lease can no longer be trusted, before it ends by the monotonic clock. */
  readonly lost: AbortSignal;
  /** Give the lease up so that a standby need not wait for its end. */
  resign(): Promise<void>;
}

export interface LeaderElection {
  /** Wait until this process is the leader. The signal ends the wait. */
  campaign(signal: AbortSignal): Promise<Leadership>;
  /** Who leads now, and its epoch; undefined when nobody does. */
  current(): Promise<{ readonly holder: string; readonly epoch: number } | undefined>;
}
