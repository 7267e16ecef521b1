/**
 * Requests that wait for a job to change. All of them share the ledger's one stream reader, and those that wait
 * for the same job share each reading of it: a waiting request costs an entry here and a timer.
 */
import type { Job, JobId, JobLedger } from "@gannet/job-ledger";

export class JobWaiters {
  readonly #ledger: Pick<JobLedger, "get">;
  readonly #watched = new Map<JobId, WatchedJob>();
  readonly #unsubscribe: () => void;

  constructor(ledger: Pick<JobLedger, "get" | "onChange">) {
    this.#ledger = ledger;
    this.#unsubscribe = ledger.onChange(
      ({ id }) => this.#watched.get(id)?.look(),
      // What changed in a gap is told only of jobs that are not archived.
      () => {
        for (const watched of this.#watched.values()) watched.look();
      },
    );
  }

  /** How many requests wait, for metrics and tests. */
  get size(): number {
    return [...this.#watched.values()].reduce((sum, { waiters }) => sum + waiters.size, 0);
  }

  close(): void {
    this.#unsubscribe();
  }

  /**
   * Show the job to `look` now and after each of its changes, until it finds something, time is up or the signal is
   * aborted; the latter two answer undefined.
   * @param look is given undefined when there is no such job; what it throws ends the wait
   * @throws Unavailable when the job cannot be read, and what `look` throws
   */
  async until<T>(
    id: JobId,
    look: (job: Job | undefined) => T | undefined,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    if (signal.aborted) return undefined;
    const { promise, resolve, reject } = Promise.withResolvers<T | undefined>();
    const giveUp = () => resolve(undefined);
    const waiter: Waiter = {
      show: (job) => {
        try {
          const found = look(job);
          if (found !== undefined) resolve(found);
        } catch (error) {
          reject(error);
        }
      },
      fail: reject,
    };
    const watched = this.#watched.get(id) ?? new WatchedJob(() => this.#ledger.get(id));
    this.#watched.set(id, watched);
    watched.waiters.add(waiter);
    const timer = setTimeout(giveUp, timeoutMs);
    signal.addEventListener("abort", giveUp);
    watched.look();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", giveUp);
      watched.waiters.delete(waiter);
      if (watched.waiters.size === 0 && this.#watched.get(id) === watched) this.#watched.delete(id);
    }
  }
}

/** Neither does anything once the waiter has its answer. */
interface Waiter {
  show(job: Job | undefined): void;
  fail(error: unknown): void;
}

/** One job that somebody waits for. */
class WatchedJob {
  readonly waiters = new Set<Waiter>();
  readonly #read: () => Promise<Job | undefined>;
  #isReading = false;
  #again = false;

  constructor(read: () => Promise<Job | undefined>) {
    this.#read = read;
  }

  /** Read the job, by a reading that begins after this call, and show it. Calls during a reading count as one. */
  look(): void {
    this.#again = true;
    if (!this.#isReading) void this.#readAndShow();
  }

  async #readAndShow(): Promise<void> {
    this.#isReading = true;
    while (this.#again && this.waiters.size > 0) {
      this.#again = false;
      // Who comes during the reading may know more than it will tell, and is shown the next one.
      const present = [...this.waiters];
      try {
        const job = await this.#read();
        for (const waiter of present) waiter.show(job);
      } catch (error) {
        for (const waiter of present) waiter.fail(error);
      }
    }
    this.#isReading = false;
  }
}
