/**
 * Which jobs may be begun: the leader's books of the jobs that run, of those that wait for a place under a limit,
 * and of those that a rule pauses. They live for one term: at its beginning no job runs but what an older leader left.
 *
 * A job that waits is not overtaken under any of its limits by one that comes later in the queue, even where that
 * leaves a place empty for a while; like this a job with several limits has its turn, too.
 */
import type { JobId } from "@gannet/job-ledger";
import { applyingRule, type Decision, decide, type JobRule, limitsOf } from "./decision.ts";
import type { FilteredJob } from "./filtered-job.ts";
import type { Limit } from "./limits.ts";
import { inQueueOrder, type Queued, WaitingLine } from "./waiting-line.ts";

/** A job that can be begun, as far as decisions look at it. */
export interface Candidate extends FilteredJob, Queued {}

interface Waiting extends Queued {
  readonly limits: readonly Limit[];
  /** Its turn has come, and it is about to be delivered: then it is decided on again. */
  called: boolean;
}

export class Admission {
  readonly #call: (job: Queued) => void;
  #rules: readonly JobRule[] = [];
  /** Jobs that were let in, and the limits in which they have a place. */
  readonly #admitted = new Map<JobId, readonly Limit[]>();
  readonly #taken = new Map<string, number>();
  readonly #waiting = new Map<JobId, Waiting>();
  readonly #lines = new Map<string, WaitingLine<Waiting>>();
  readonly #paused = new Set<JobId>();

  /** @param call a job is to be delivered, because it may be let in now; it is considered again then */
  constructor(call: (job: Queued) => void) {
    this.#call = call;
  }

  get admitted(): readonly JobId[] {
    return [...this.#admitted.keys()];
  }

  /** Jobs that are not to be delivered, in no particular order. */
  get held(): readonly JobId[] {
    return [...this.#paused, ...[...this.#waiting.values()].filter(({ called }) => !called).map(({ id }) => id)];
  }

  isAdmitted(id: JobId): boolean {
    return this.#admitted.has(id);
  }

  /** It stays queued on purpose, and is called when that changes. */
  isHeld(id: JobId): boolean {
    return this.#paused.has(id) || this.#waiting.get(id)?.called === false;
  }

  isWaiting(id: JobId): boolean {
    return this.#waiting.has(id);
  }

  /** Decide on a job that was delivered, and remember it as admitted or held. A rejected one is not remembered. */
  consider(job: Candidate): Decision {
    const decision = this.#decide(job);
    const left = this.#unhold(job.id);
    if (decision.action === "run") this.#admit(job.id, decision.limits);
    if (decision.action === "wait") this.#wait({ ...queued(job), limits: decision.limits, called: false });
    if (decision.action === "pause") this.#paused.add(job.id);
    // Other rules may have come since it was called: then it does not take the places it stood for.
    this.#callThoseDue(left);
    return decision;
  }

  /** Decide anew on a held job after the rules changed; it is called when it would not be held any more. */
  reconsider(job: Candidate): void {
    if (!this.isHeld(job.id)) return;
    const left = this.#unhold(job.id);
    const decision = this.#decide(job);
    const called = decision.action === "run" || decision.action === "reject";
    if (decision.action === "pause") this.#paused.add(job.id);
    else this.#wait({ ...queued(job), limits: "limits" in decision ? decision.limits : [], called });
    if (called) this.#call(queued(job));
    this.#callThoseDue(left);
  }

  /** The job is over, or is not to be had after all. */
  leave(id: JobId): void {
    const limits = this.#admitted.get(id) ?? [];
    this.#admitted.delete(id);
    for (const { key } of limits) this.#count(key, -1);
    this.#callThoseDue([...limits, ...this.#unhold(id)]);
  }

  /** A waiting job has another priority now. */
  reprioritize({ id, priority }: Queued): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined || waiting.priority === priority) return;
    this.#unhold(id);
    this.#wait({ ...waiting, priority });
    this.#callThoseDue(waiting.limits);
  }

  /**
   * Other rules hold from now on. Held jobs are then to be reconsidered, in any order: those called are decided on
   * again in the order of their deliveries.
   * @param admitted all admitted jobs; those that are missing leave
   */
  setRules(rules: readonly JobRule[], admitted: readonly FilteredJob[]): void {
    this.#rules = rules;
    this.#admitted.clear();
    this.#taken.clear();
    for (const job of admitted) this.#admit(job.id, limitsOf(applyingRule(rules, job), job));
  }

  #decide(job: Candidate): Decision {
    return decide(this.#rules, job, ({ key }) => this.#placesTaken(key) + (this.#lines.get(key)?.before(job) ?? 0));
  }

  #admit(id: JobId, limits: readonly Limit[]): void {
    this.#admitted.set(id, limits);
    for (const { key } of limits) this.#count(key, +1);
  }

  #wait(waiting: Waiting): void {
    this.#waiting.set(waiting.id, waiting);
    for (const { key } of waiting.limits) {
      const line = this.#lines.get(key) ?? new WaitingLine();
      this.#lines.set(key, line);
      line.add(waiting);
    }
  }

  /** @returns the limits in whose lines it stood */
  #unhold(id: JobId): readonly Limit[] {
    this.#paused.delete(id);
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return [];
    this.#waiting.delete(id);
    for (const { key } of waiting.limits) {
      const line = this.#lines.get(key);
      line?.remove(waiting);
      if (line?.length === 0) this.#lines.delete(key);
    }
    return waiting.limits;
  }

  /** Places were given back, or the order has changed: call those who would be let in now. */
  #callThoseDue(limits: readonly Limit[]): void {
    const due = new Set<Waiting>();
    for (const { key, capacity } of limits)
      for (const waiting of this.#lines.get(key)?.first(capacity - this.#placesTaken(key)) ?? []) due.add(waiting);
    for (const waiting of [...due].sort(inQueueOrder)) {
      if (waiting.called || !waiting.limits.every((limit) => this.#hasPlaceFor(waiting, limit))) continue;
      waiting.called = true;
      this.#call(queued(waiting));
    }
  }

  #hasPlaceFor(waiting: Waiting, { key, capacity }: Limit): boolean {
    return this.#placesTaken(key) + (this.#lines.get(key)?.before(waiting) ?? 0) < capacity;
  }

  #placesTaken(key: string): number {
    return this.#taken.get(key) ?? 0;
  }

  #count(key: string, change: 1 | -1): void {
    const count = this.#placesTaken(key) + change;
    if (count === 0) this.#taken.delete(key);
    else this.#taken.set(key, count);
  }
}

function queued({ id, priority }: Queued): Queued {
  return { id, priority };
}
