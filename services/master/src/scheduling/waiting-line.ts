/** Jobs that wait for one thing, in the order of the queue: by priority, then by id (spec/jobs.json, `queue_order`). */
import type { JobId } from "@gannet/job-ledger";

export interface Queued {
  readonly id: JobId;
  /** Smaller is first. */
  readonly priority: number;
}

export function inQueueOrder(a: Queued, b: Queued): number {
  return a.priority - b.priority || a.id - b.id;
}

export class WaitingLine<Entry extends Queued> {
  readonly #entries: Entry[] = [];

  get length(): number {
    return this.#entries.length;
  }

  /** The first ones, in order. */
  first(count: number): readonly Entry[] {
    return this.#entries.slice(0, Math.max(count, 0));
  }

  /** How many come before this one, which need not be in the line itself. */
  before(one: Queued): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const entry = this.#entries[middle];
      if (entry !== undefined && inQueueOrder(entry, one) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  add(entry: Entry): void {
    this.#entries.splice(this.before(entry), 0, entry);
  }

  /** It must be in the line, at the place that its priority gives it. */
  remove(entry: Entry): void {
    const place = this.before(entry);
    if (this.#entries[place] === entry) this.#entries.splice(place, 1);
  }
}
