/** Leadership: one lease in Redis and an epoch that only grows. */

export interface Leadership {
  readonly epoch: number;
  /** Aborted when the lease can no longer be trusted, before it ends by the monotonic clock. */
  readonly lost: AbortSignal;
  /**
   * Give the lease up so that a standby need not wait for its end.
   * @param successor - the candidate that the others let go first, for some seconds; anyone when it is absent
   */
  resign(successor?: string): Promise<void>;
}

export interface LeaderElection {
  /** Wait until this process is the leader. The signal ends the wait. */
  campaign(signal: AbortSignal): Promise<Leadership>;
  /** Who leads now; undefined when nobody does. */
  current(): Promise<PresentLeader | undefined>;
}

export interface PresentLeader {
  readonly holder: string;
  readonly epoch: number;
  /** What it said of where it is reached; empty when it said nothing. */
  readonly contact: string;
}
