/** Jobs that are to be delivered, each once: the most urgent first, and among equals the earliest. */
import type { JobId } from "./job.ts";
import type { ReadyJob } from "./job-ledger-contract.ts";

export class DeliveryLine {
  readonly #priorities = new Map<JobId, number>();
  readonly #byPriority = new Map<number, Set<JobId>>();

  /** In order. */
  get ids(): readonly JobId[] {
    return [...this.#byPriority].sort(([a], [b]) => a - b).flatMap(([, ids]) => [...ids]);
  }

  has(id: JobId): boolean {
    return this.#priorities.has(id);
  }

  /** A job that is in the line already stays at its place, unless the new one is before it. */
  add(id: JobId, priority: number): void {
    const present = this.#priorities.get(id);
    if (present === undefined || priority < present) this.#place(id, priority);
  }

  /** Give a job another priority, if it is in the line. */
  move(id: JobId, priority: number): void {
    if (this.#priorities.has(id)) this.#place(id, priority);
  }

  /** Take the first one out. */
  take(): JobId | undefined {
    // There are forty priorities at most.
    const [id] = this.#byPriority.get(Math.min(...this.#byPriority.keys())) ?? [];
    if (id !== undefined) this.#remove(id);
    return id;
  }

  /** Take all out, in no particular order. */
  takeAll(): readonly ReadyJob[] {
    const all = [...this.#priorities].map(([id, priority]) => ({ id, priority }));
    this.#priorities.clear();
    this.#byPriority.clear();
    return all;
  }

  #place(id: JobId, priority: number): void {
    this.#remove(id);
    this.#priorities.set(id, priority);
    const equals = this.#byPriority.get(priority);
    if (equals === undefined) this.#byPriority.set(priority, new Set([id]));
    else equals.add(id);
  }

  #remove(id: JobId): void {
    const priority = this.#priorities.get(id);
    if (priority === undefined) return;
    this.#priorities.delete(id);
    const equals = this.#byPriority.get(priority);
    equals?.delete(id);
    if (equals?.size === 0) this.#byPriority.delete(priority);
  }
}
