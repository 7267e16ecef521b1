/**
 * Work on the same thing, an instance or a device, one after another in the order of the calls, and never side by
 * side with work of a leader that has been replaced.
 */
import { StaleEpoch } from "@gannet/errors";

export interface ResourceWork<Result> {
  /** Names of what is touched; work without any never waits. */
  readonly resources: readonly string[];
  readonly epoch: number;
  /** Ends the waiting and the work. */
  readonly signal: AbortSignal;
  /** Asked right before the start, after the waiting; what it throws is the outcome. */
  readonly check: () => void;
  readonly perform: (signal: AbortSignal) => Promise<Result>;
}

interface Entry {
  readonly epoch: number;
  readonly superseded: AbortController;
  /** Resolves, never rejects, when the work has ended and touches nothing any more. */
  readonly ended: Promise<void>;
}

export class ResourceQueue {
  /** What runs or waits for each resource, in the order of the calls. */
  readonly #entries = new Map<string, Set<Entry>>();

  /**
   * Perform when all earlier work on the same resources has ended. Earlier work of a lower epoch is aborted and
   * waited for. All resources are asked for at once, so that two works never wait for each other.
   */
  async run<Result>(work: ResourceWork<Result>): Promise<Result> {
    const earlier = new Set(work.resources.flatMap((resource) => [...(this.#entries.get(resource) ?? [])]));
    for (const entry of earlier)
      if (entry.epoch < work.epoch)
        entry.superseded.abort(new StaleEpoch(`The leader of epoch ${work.epoch} took over from epoch ${entry.epoch}`));
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const entry: Entry = { epoch: work.epoch, superseded: new AbortController(), ended };
    this.#enter(work.resources, entry);
    const signal = AbortSignal.any([work.signal, entry.superseded.signal]);
    try {
      await untilAborted(Promise.all([...earlier].map((other) => other.ended)), signal);
      work.check();
      return await work.perform(signal);
    } catch (error) {
      throw signal.aborted ? signal.reason : error;
    } finally {
      this.#leave(work.resources, entry);
      // Work that gave up waiting has touched nothing, but those behind it wait for what it waited for themselves.
      end();
    }
  }

  #enter(resources: readonly string[], entry: Entry): void {
    for (const resource of resources) {
      const entries = this.#entries.get(resource) ?? new Set();
      this.#entries.set(resource, entries.add(entry));
    }
  }

  #leave(resources: readonly string[], entry: Entry): void {
    for (const resource of resources) {
      const entries = this.#entries.get(resource);
      entries?.delete(entry);
      if (entries?.size === 0) this.#entries.delete(resource);
    }
  }
}

/** @throws the signal's reason */
async function untilAborted(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const settled = new AbortController();
  const aborted = new Promise<never>((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { signal: settled.signal });
  });
  try {
    signal.throwIfAborted();
    await Promise.race([promise, aborted]);
  } finally {
    settled.abort();
  }
}
