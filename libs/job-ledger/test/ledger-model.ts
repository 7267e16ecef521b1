/**
 * The ledger as spec/jobs.json has it, without a thought for how: one call for each time that a verb is carried out,
 * also when it is carried out again because its answer was lost.
 */
import { LockError } from "@gannet/errors";
import type { FinalStatus, JobId, JobStatus } from "@gannet/job-ledger";
import { type LockCandidates, LockModel, type LockWish } from "@gannet/locking";

export interface ModelOpcode {
  priority: number;
  /** Absolute ids. */
  readonly depends: readonly (readonly [id: JobId, statuses: readonly FinalStatus[]])[];
}

export interface ModelJob {
  status: JobStatus;
  /** Index of the first opcode that has not succeeded. */
  at: number;
  readonly opcodes: readonly ModelOpcode[];
  /** Of the call that began the opcode that is running. */
  claim: number | undefined;
  /** In status waiting: what for. */
  parked: "for locks" | "for nothing" | undefined;
  /** The job whose end it waits for, as far as the submission, or whoever was to begin it, found out. */
  blocked: JobId | undefined;
  archived: boolean;
  undo: number;
}

export interface ModelLocks {
  readonly wishes: readonly LockWish[];
  readonly candidates?: LockCandidates;
}

/** What a verb answers, and whom it wakes. */
export interface Outcome<Answer> {
  readonly answer: Answer;
  readonly woken: readonly JobId[];
}

/** `wrong`: refused as a defect. `locks`: refused because of the locks that the job has or waits for. */
export type Refusal = "wrong" | "locks";

const FINAL: readonly JobStatus[] = ["canceled", "success", "error"];

export function isFinal({ status }: Pick<ModelJob, "status">): boolean {
  return FINAL.includes(status);
}

export class LedgerModel {
  readonly jobs = new Map<JobId, ModelJob>();
  readonly locks = new LockModel();
  epoch = 1;
  readonly #submissions = new Map<number, readonly JobId[]>();
  /** Jobs that an opcode submitted when it succeeded, by `job/opcode`. */
  readonly #followUps = new Map<string, readonly JobId[]>();
  /** Granted while they waited, and have not asked again since. */
  readonly #unclaimed = new Set<JobId>();

  job(id: JobId): ModelJob {
    const job = this.jobs.get(id);
    if (job === undefined) throw new Error(`the model has no job ${id}`);
    return job;
  }

  get nextId(): JobId {
    return this.jobs.size + 1;
  }

  submit(token: number, jobs: readonly (readonly ModelOpcode[])[]): Outcome<readonly JobId[] | "refused"> {
    const before = this.#submissions.get(token);
    if (before !== undefined)
      return outcome(
        before,
        before.filter((id) => this.isReady(id)),
      );
    if (jobs.flat().some(({ depends }) => depends.some(([id]) => id < 1))) return outcome("refused");
    const ids = this.#make(jobs);
    this.#submissions.set(token, ids);
    return outcome(
      ids,
      ids.filter((id) => this.isReady(id)),
    );
  }

  #make(jobs: readonly (readonly ModelOpcode[])[]): readonly JobId[] {
    return jobs.map((opcodes) => {
      const id = this.nextId;
      this.jobs.set(id, {
        status: "queued",
        at: 0,
        opcodes: opcodes.map((opcode) => ({ ...opcode })),
        claim: undefined,
        parked: undefined,
        blocked: undefined,
        archived: false,
        undo: 0,
      });
      this.job(id).blocked = this.#waitsFor(id);
      return id;
    });
  }

  begin(
    id: JobId,
    index: number,
    token: number,
    locks: ModelLocks | undefined,
  ): Outcome<"running" | "parked" | "not taken" | Refusal> {
    const job = this.job(id);
    if (job.at !== index) return outcome("not taken");
    if (job.status === "running" && job.claim === token) return outcome("running");
    if (job.status !== "queued" && job.status !== "waiting") return outcome("not taken");
    if (job.status === "queued") {
      const outlook = this.outlook(id);
      if (outlook === "cancel") return outcome("not taken", this.#end(id, "canceled"));
      if (outlook === "error") return outcome("not taken", this.#end(id, "error"));
      job.blocked = this.#waitsFor(id);
      if (outlook === "wait") return outcome("not taken");
    }
    try {
      if (locks !== undefined && this.locks.request(this.#request(id, locks)) === "waiting") {
        Object.assign(job, { status: "waiting", parked: "for locks", claim: undefined });
        return outcome("parked");
      }
    } catch (error) {
      if (error instanceof LockError) return outcome("locks");
      throw error;
    }
    if (locks !== undefined) this.#unclaimed.delete(id);
    Object.assign(job, { status: "running", parked: undefined, claim: token });
    return outcome("running");
  }

  park(id: JobId, index: number, claim: number | undefined): Outcome<"done" | Refusal> {
    const job = this.job(id);
    if (job.status === "canceling" || job.status === "canceled") return outcome("done");
    if (claim !== undefined && claim !== job.claim) return outcome("done", [id, ...this.#grants()]);
    if (claim === undefined || job.at !== index || job.status !== "running" || job.undo > 0) return outcome("wrong");
    job.status = "waiting";
    job.parked = "for nothing";
    job.claim = undefined;
    return outcome("done", [id, ...this.#releaseLocks(id)]);
  }

  succeed(id: JobId, index: number): Outcome<"done" | Refusal> {
    const job = this.job(id);
    if (index < job.at) return outcome("done", this.#grants());
    if (job.status !== "running" || job.at !== index) return outcome("wrong");
    job.at += 1;
    job.undo = 0;
    if (job.at === job.opcodes.length) return outcome("done", [...this.#end(id, "success"), ...this.#releaseLocks(id)]);
    job.status = "queued";
    return outcome("done", this.#releaseLocks(id));
  }

  /** @param jobs - ids below 0 count back from the job's own */
  succeedSubmitting(
    id: JobId,
    index: number,
    jobs: readonly (readonly ModelOpcode[])[],
  ): Outcome<readonly JobId[] | Refusal> {
    const job = this.job(id);
    const key = `${id}/${index}`;
    const before = this.#followUps.get(key) ?? [];
    if (index < job.at) {
      const ready = before.filter((each) => this.isReady(each));
      return outcome(before, [...ready, ...this.#grants()]);
    }
    if (job.status !== "running" || job.at !== index) return outcome("wrong");
    const first = this.nextId;
    const absolute = jobs.map((opcodes, position) =>
      opcodes.map((opcode) => ({
        ...opcode,
        depends: opcode.depends.map(([on, statuses]) => [on < 0 ? first + position + on : on, statuses] as const),
      })),
    );
    const ids = this.#make(absolute);
    this.#followUps.set(key, ids);
    const ready = ids.filter((each) => this.isReady(each));
    return outcome(ids, [...ready, ...this.succeed(id, index).woken]);
  }

  fail(id: JobId, index: number): Outcome<"done" | Refusal> {
    const job = this.job(id);
    if (job.at === index && job.status === "error") return outcome("done", this.#grants());
    if (job.at !== index || job.status !== "running") return outcome("wrong");
    return outcome("done", [...this.#end(id, "error"), ...this.#releaseLocks(id)]);
  }

  finishCancel(id: JobId): Outcome<"done" | Refusal> {
    const job = this.job(id);
    if (isFinal(job)) return outcome("done", this.#grants());
    if (job.status !== "canceling") return outcome("wrong");
    return outcome("done", [...this.#end(id, "canceled"), ...this.#releaseLocks(id)]);
  }

  pushUndo(id: JobId, index: number, step: number): Outcome<"done" | Refusal> {
    const job = this.job(id);
    if (job.status !== "running" || job.at !== index) return outcome("wrong");
    job.undo = step;
    return outcome("done");
  }

  cancel(id: JobId): Outcome<boolean> {
    const job = this.job(id);
    if (job.status === "queued") return outcome(true, this.#end(id, "canceled"));
    if (job.status === "waiting") job.status = "canceling";
    return outcome(job.status === "canceling");
  }

  changePriority(id: JobId, priority: number): Outcome<boolean> {
    const job = this.job(id);
    const from = job.status === "running" ? job.at + 1 : job.at;
    if (isFinal(job) || job.status === "canceling" || from >= job.opcodes.length) return outcome(false);
    for (const opcode of job.opcodes.slice(from)) opcode.priority = priority;
    return outcome(true, job.status === "waiting" ? this.#granted(this.locks.reprioritize(id, priority)) : []);
  }

  archive(id: JobId): Outcome<boolean> {
    const job = this.job(id);
    if (!isFinal(job) || job.archived) return outcome(false);
    job.archived = true;
    return outcome(true);
  }

  autoArchive(): Outcome<number> {
    const over = [...this.jobs.values()].filter((job) => isFinal(job) && !job.archived);
    for (const job of over) job.archived = true;
    return outcome(over.length);
  }

  /** By a new leader, which is told of the jobs that were running. */
  takeOver(): Outcome<readonly JobId[]> {
    for (const [id, job] of this.jobs) {
      if (job.status === "canceling") this.#end(id, "canceled");
      if (job.status !== "waiting") continue;
      job.status = "queued";
      job.parked = undefined;
    }
    return outcome([...this.jobs].filter(([, { status }]) => status === "running").map(([id]) => id));
  }

  /** A verb of the lock manager; whom it grants is its answer. */
  retainOwners(owners: readonly JobId[]): Outcome<readonly JobId[]> {
    for (const id of this.#unclaimed) if (!owners.includes(id)) this.#unclaimed.delete(id);
    return outcome(this.#granted(this.locks.retainOwners(owners)));
  }

  /** The same. Repeated, it answers all who may not have been told. */
  release(id: JobId, what: readonly LockWish[] | "all", repeated: boolean): Outcome<readonly JobId[]> {
    const granted = what === "all" ? this.#releaseLocks(id) : this.#granted(this.locks.release(id, what));
    return outcome(repeated ? [...this.#unclaimed].sort((a, b) => a - b) : granted);
  }

  /** Can be begun, and nothing stands in the way. */
  isReady(id: JobId): boolean {
    const { status, parked, blocked } = this.job(id);
    if (status === "queued") return blocked === undefined;
    return status === "waiting" && (parked === "for nothing" || (parked !== undefined && this.#unclaimed.has(id)));
  }

  /** What the current opcode of a queued job would find in its dependencies. */
  outlook(id: JobId): "go" | "wait" | "cancel" | "error" {
    const job = this.job(id);
    for (const [dependency, accepted] of job.opcodes[job.at]?.depends ?? []) {
      const other = dependency < id ? this.jobs.get(dependency) : undefined;
      if (other === undefined) return "error";
      if (!isFinal(other)) return "wait";
      const accepts = accepted.length === 0 ? other.status !== "canceled" : accepted.some((s) => s === other.status);
      if (!accepts) return other.status === "canceled" ? "cancel" : "error";
    }
    return "go";
  }

  /** The dependency that a queued job waits for now. */
  #waitsFor(id: JobId): JobId | undefined {
    if (this.outlook(id) !== "wait") return undefined;
    const job = this.job(id);
    return job.opcodes[job.at]?.depends.map(([dependency]) => dependency).find((other) => !isFinal(this.job(other)));
  }

  /** @returns the jobs that were waiting for its end */
  #end(id: JobId, status: FinalStatus): readonly JobId[] {
    Object.assign(this.job(id), { status, parked: undefined, blocked: undefined, undo: 0 });
    const dependants = [...this.jobs].filter(([, { blocked }]) => blocked === id);
    for (const [, dependant] of dependants) dependant.blocked = undefined;
    return dependants.map(([dependant]) => dependant);
  }

  #request(id: JobId, locks: ModelLocks) {
    const job = this.job(id);
    return { owner: id, priority: job.opcodes[job.at]?.priority ?? 0, ...locks };
  }

  #releaseLocks(id: JobId): readonly JobId[] {
    this.#unclaimed.delete(id);
    return this.#granted(this.locks.release(id, "all"));
  }

  #granted(owners: readonly JobId[]): readonly JobId[] {
    for (const owner of owners) this.#unclaimed.add(owner);
    return owners;
  }

  /** Those of whose grant somebody has to be told. */
  #grants(): readonly JobId[] {
    return [...this.#unclaimed].filter((id) => this.isReady(id));
  }
}

function outcome<Answer>(answer: Answer, woken: readonly JobId[] = []): Outcome<Answer> {
  return { answer, woken };
}
