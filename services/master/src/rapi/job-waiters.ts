/**
 * Requests that wait for a job to change. All of them share the ledger's one stream reader; a waiting request
 * costs an entry here and a timer, and looks at its job only when that job changed.
 */
import type { JobId, JobLedger } from "@gannet/job-ledger";

export class JobWaiters {
  readonly #waiting = new Map<JobId, Set<() => void>>();
  readonly #unsubscribe: () => void;

  constructor(ledger: Pick<JobLedger, "onChange">) {
    this.#unsubscribe = ledger.onChange(({ id }) => {
      for (const notify of this.#waiting.get(id) ?? []) notify();
    });
  }

  /** How many requests wait, for metrics and tests. */
  get size(): number {
    return [...this.#waiting.values()].reduce((sum, waiters) => sum + waiters.size, 0);
  }

  close(): void {
    this.#unsubscribe();
  }

  /**
   * Call `look` now and at each change of the job until it answers something, time is up or the signal is
   * aborted; the latter two answer undefined. A change while `look` is under way makes it look again.
   */
  async until<T>(
    id: JobId,
    look: () => Promise<T | undefined>,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    using change = this.#watch(id, timeoutMs, signal);
    for (;;) {
      const found = await look();
      if (found !== undefined) return found;
      if (!(await change.next())) return undefined;
    }
  }

  #watch(id: JobId, timeoutMs: number, signal: AbortSignal): Change {
    const waiters = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiters);
    const change = new Change(timeoutMs, signal, () => {
      waiters.delete(notify);
      if (waiters.size === 0) this.#waiting.delete(id);
    });
    const notify = () => change.note();
    waiters.add(notify);
    return change;
  }
}

/** Changes of one job, as one waiting request sees them: several at once count as one. */
class Change implements Disposable {
  readonly #signal: AbortSignal;
  readonly #forget: () => void;
  readonly #timer: NodeJS.Timeout;
  readonly #over = () => this.#end();
  #noted = false;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(timeoutMs: number, signal: AbortSignal, forget: () => void) {
    this.#signal = signal;
    this.#forget = forget;
    this.#timer = setTimeout(this.#over, timeoutMs);
    if (signal.aborted) this.#ended = true;
    else signal.addEventListener("abort", this.#over);
  }

  note(): void {
    this.#noted = true;
    this.#wake?.();
  }

  /** True at the next change, or at once when one was noted since the last call; false when it is over. */
  async next(): Promise<boolean> {
    if (!this.#noted && !this.#ended) await new Promise<void>((resolve) => (this.#wake = resolve));
    const changed = this.#noted;
    this.#noted = false;
    return changed && !this.#signal.aborted;
  }

  #end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#signal.removeEventListener("abort", this.#over);
    this.#forget();
  }
}
