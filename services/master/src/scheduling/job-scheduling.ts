/**
 * Which delivered jobs the executor gets to run: job filters and rate limits, as the configuration has them
 * (spec/jobs.json, `filters`, `ad_hoc_rate_limit`). One lives for one term of leadership, like its executor.
 *
 * A job that is held back stays queued in the ledger and is not delivered: it costs some memory here and nothing
 * else. It is woken when its turn comes, or when a change of the rules lets it go. Jobs that have been begun are
 * not held back any more; a rule that rejects cancels those, too, that still wait for locks.
 */
import type { ConfigStore } from "@gannet/config-store";
import type { Fence, Job, JobId, JobLedger, JobStatus, WakeQueue } from "@gannet/job-ledger";
import type { FilterRule } from "@gannet/objects";
import { patiently } from "@gannet/redis";
import type { Logger } from "@gannet/telemetry";
import { Admission, type Candidate } from "./admission.ts";
import { applyingRule, type JobRule, orderedRules } from "./decision.ts";

export interface JobSchedulingOptions {
  readonly ledger: Pick<JobLedger, "getMany" | "list" | "cancel" | "onChange">;
  readonly queue: Pick<WakeQueue, "wake">;
  readonly configStore: Pick<ConfigStore, "view" | "onChange">;
  readonly fence: Fence;
  readonly logger: Logger;
}

/** A job that may be run as far as filters and limits are concerned. */
export interface AdmittedJob {
  /** As it was when it was let in; by the time it is to begin it may be in other hands, or over. */
  readonly job: Job;
  /** Let in by this delivery, which says `leave` when the job turns out not to be had. */
  readonly isNew: boolean;
}

const FINAL: ReadonlySet<JobStatus> = new Set(["canceled", "error", "success"]);
/** Jobs read in one go while others are decided on. */
const PAGE = 500;

export class JobScheduling {
  readonly #options: JobSchedulingOptions;
  readonly #admission: Admission;
  readonly #stopping = new AbortController();
  readonly #background = new Set<Promise<void>>();
  readonly #unsubscribe: (() => void)[] = [];
  #rules: readonly JobRule[] = [];
  /** While the places of running jobs are counted anew under changed rules, nothing is decided. */
  #counting: Promise<void> | undefined;
  #rulesAreStale = false;
  /** Waiting jobs of which something changed, perhaps their priority. */
  #changed = new Set<JobId>();

  constructor(options: JobSchedulingOptions) {
    this.#options = options;
    this.#admission = new Admission(({ id, priority }) => this.#detach(options.queue.wake(id, priority)));
  }

  /**
   * Follow the rules and the jobs, before the first delivery.
   * @param running jobs whose opcode an older leader has left running; each counts until it is over
   */
  start(running: readonly Job[]): void {
    const { ledger, configStore } = this.#options;
    this.#admission.setRules([], running);
    this.#unsubscribe.push(
      ledger.onChange(({ id, status }) => {
        if (FINAL.has(status)) this.#admission.leave(id);
        else if (status === "queued" && this.#admission.isWaiting(id)) this.#lookAgain(id);
        // An end may have been missed: count who runs anew.
      }, this.#takeRules),
      configStore.onChange((_view, changes) => {
        if (changes.some(({ kind }) => kind === "filter")) this.#takeRules();
      }),
    );
    this.#takeRules();
  }

  /** Decide on nothing more. Deliveries that wait for a decision get none. */
  async stop(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#stopping.abort();
    await Promise.allSettled(this.#background);
  }

  /** It is queued and not to be delivered now: the wake queue's sweeper leaves it alone. */
  isHeld(id: JobId): boolean {
    return this.#admission.isHeld(id);
  }

  /**
   * Let a delivered job in, if filters and limits do; otherwise it is held back, or canceled by a filter.
   * @returns undefined when it is not to be run now
   */
  async admit(id: JobId): Promise<AdmittedJob | undefined> {
    const [job] = (await this.#patiently(() => this.#options.ledger.getMany([id]))) ?? [];
    while (this.#counting !== undefined) await this.#counting;
    if (this.#stopping.signal.aborted) return undefined;
    if (job === undefined || FINAL.has(job.status)) {
      this.#admission.leave(id);
      return undefined;
    }
    // It was parked, or another delivery of it was faster.
    if (job.status !== "queued" || this.#admission.isAdmitted(id)) return { job, isNew: false };

    const decision = this.#admission.consider(candidate(job));
    if (decision.action === "reject") await this.#patiently(() => this.#reject(id, decision.rule));
    return decision.action === "run" ? { job, isNew: true } : undefined;
  }

  /** The job is not to be had, or waits for another one before its next opcode: it gives up its places. */
  leave(id: JobId): void {
    this.#admission.leave(id);
  }

  async #reject(id: JobId, rule: string): Promise<void> {
    const [canceled] = await this.#options.ledger.cancel(id);
    if (canceled) this.#options.logger.info({ job: id, filter: rule }, "a filter rejects the job: canceled");
  }

  readonly #takeRules = (): void => {
    this.#rulesAreStale = true;
    if (this.#counting !== undefined) return;
    this.#counting = this.#count().finally(() => {
      this.#counting = undefined;
      this.#detach(this.#applyToKnownJobs());
      // Changed again in the very moment in which the counting ended.
      if (this.#rulesAreStale) this.#takeRules();
    });
    this.#detach(this.#counting);
  };

  /** Give every running job its places under the newest rules. */
  async #count(): Promise<void> {
    while (this.#rulesAreStale) {
      this.#rulesAreStale = false;
      this.#rules = orderedRules(this.#options.configStore.view.filters.values(), this.#unusable);
      const running: Job[] = [];
      for await (const page of this.#unfinished(this.#admission.admitted)) running.push(...page);
      this.#admission.setRules(this.#rules, running);
    }
  }

  /** What changed rules mean for jobs that were not just delivered. */
  async #applyToKnownJobs(): Promise<void> {
    for await (const page of this.#unfinished(this.#admission.held))
      for (const job of page) this.#admission.reconsider(candidate(job));
    if (this.#rules.some(({ effect }) => effect === "reject")) await this.#rejectQueued();
  }

  /** Jobs are canceled at once, not only when they are delivered, and those too that wait for locks or other jobs. */
  async #rejectQueued(): Promise<void> {
    const { ledger } = this.#options;
    for (let after = 0; ; ) {
      const page = await this.#patiently(() => ledger.list({ after, limit: PAGE }));
      const last = page?.at(-1);
      if (page === undefined || last === undefined) return;
      for (const job of page) {
        const rule = FINAL.has(job.status) ? undefined : applyingRule(this.#rules, job);
        if (rule?.effect === "reject") await this.#patiently(() => this.#reject(job.id, rule.uuid));
      }
      after = last.id;
    }
  }

  async *#unfinished(ids: readonly JobId[]): AsyncIterable<readonly Job[]> {
    for (let start = 0; start < ids.length; start += PAGE) {
      const page = ids.slice(start, start + PAGE);
      const jobs = await this.#patiently(() => this.#options.ledger.getMany(page));
      if (jobs === undefined) return;
      yield jobs.filter((job) => job !== undefined).filter(({ status }) => !FINAL.has(status));
    }
  }

  /** Repeat while Redis is away. @returns undefined when the term is over */
  async #patiently<T>(attempt: () => Promise<T>): Promise<T | undefined> {
    const { signal } = this.#stopping;
    try {
      return await patiently(attempt, { forMs: Number.POSITIVE_INFINITY, signal });
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    }
  }

  /** Read the priorities of waiting jobs, as many at once as have changed. */
  #lookAgain(id: JobId): void {
    const isFirst = this.#changed.size === 0;
    this.#changed.add(id);
    if (isFirst) this.#detach(this.#readPriorities());
  }

  async #readPriorities(): Promise<void> {
    // What else changes in this turn of the event loop is read with it.
    await Promise.resolve();
    const ids = [...this.#changed];
    this.#changed = new Set();
    for await (const page of this.#unfinished(ids))
      for (const job of page) this.#admission.reprioritize(candidate(job));
  }

  readonly #unusable = ({ uuid }: FilterRule, error: unknown): void => {
    this.#options.logger.error({ filter: uuid, err: error }, "a filter rule cannot be read; it applies to no job");
  };

  #detach(work: Promise<void>): void {
    const settled = work.catch((error: unknown) => {
      this.#options.logger.error({ err: error }, "scheduling jobs failed");
    });
    this.#background.add(settled);
    void settled.finally(() => this.#background.delete(settled));
  }
}

/** A job with the smallest priority of its opcodes that have not ended. */
function candidate({ id, opcodes }: Job): Candidate {
  const open = opcodes.filter(({ status }) => !FINAL.has(status)).map(({ priority }) => priority);
  return { id, opcodes, priority: Math.min(...open) };
}
