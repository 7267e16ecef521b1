/** The job ledger in Redis. Each verb that writes is one Lua script (lua/), atomic and on disk when it answers. */
import { randomUUID } from "node:crypto";
import { type EncodedError, OpPrereqError } from "@gannet/errors";
import { type LockRequest, lockRequestArguments } from "@gannet/locking";
import {
  type ChainableCommander,
  confirmed,
  connectRedis,
  patiently,
  type Redis,
  type RedisAddress,
  RedisUnreachable,
  redisReady,
  redisUnavailable,
} from "@gannet/redis";
import type { Logger } from "@gannet/telemetry";
import { ChangeFeed, newestChange } from "./change-feed.ts";
import { dependencyLines } from "./dependencies.ts";
import type { FollowUps, Job, JobChange, JobId, JobStatus, LogEntryType, NewJob, UndoStep } from "./job.ts";
import type {
  Beginning,
  Fence,
  JobLedger,
  JobQuery,
  Leftover,
  ReadyJob,
  SubmissionKey,
  Verdict,
  WakeQueue,
} from "./job-ledger-contract.ts";
import { type JobRecord, jobOf } from "./job-record.ts";
import { jobKey, jobsKey, logKey, scripts } from "./scripts.ts";

export interface RedisJobLedgerOptions {
  readonly address: RedisAddress;
  /** Of its connections: `master` becomes `master:ledger` and `master:ledger-changes`. */
  readonly name: string;
  /**
   * Told of each job that can be begun: submitted ones, and those whose dependency ended. It needs this ledger's
   * `readyJobs` in its turn, for what it was told and lost.
   */
  readonly wakeQueue: Pick<WakeQueue, "wake" | "reprioritize">;
  /** Most jobs that may be unfinished; more are refused with JobQueueFull. */
  readonly maxUnfinishedJobs?: number;
  readonly logger: Logger;
}

/** About 2 KiB of Redis' memory each. */
const DEFAULT_MAX_UNFINISHED_JOBS = 50_000;
/** One script call makes them all, and Redis does nothing else meanwhile: about a quarter of a second. */
const MAX_JOBS_PER_SUBMISSION = 5_000;
/** How long a client waits for a Redis that is away; restarting one takes less. */
const SUBMIT_PATIENCE_MS = 5_000;
/**
 * The work of the executor waits for it as long as it takes, also when it is there and takes nothing (its memory is
 * full): giving up would leave a job that nobody ends before the next leader.
 */
const EXECUTOR_PATIENCE_MS = Number.POSITIVE_INFINITY;
/** Longer than any answer can be late. */
const SUBMISSION_TOKEN_LIFETIME_S = 600;
/** How long a client may repeat a request that had a key. */
const SUBMISSION_KEY_LIFETIME_S = 86_400;
/** Jobs read in one round trip, scripts' pages: some milliseconds of Redis' time. */
const PAGE = 500;
/** Ganeti's values (spec/jobs.json, `change_priority.valid`). */
const VALID_PRIORITIES: readonly number[] = [-10, 0, 10];

export class RedisJobLedger implements JobLedger {
  readonly #options: RedisJobLedgerOptions;
  readonly #redis: Redis;
  readonly #feed: ChangeFeed;
  /** The tokens with which this client began what it has in hand: by them a `park` is known that comes a second time. */
  readonly #claims = new Map<JobId, string>();
  readonly #closing = new AbortController();
  readonly #background = new Set<Promise<void>>();

  constructor(options: RedisJobLedgerOptions) {
    const { address, name, logger } = options;
    this.#options = options;
    this.#redis = connectRedis(address, { name: `${name}:ledger`, logger });
    this.#feed = new ChangeFeed({
      redis: connectRedis(address, { name: `${name}:ledger-changes`, blocking: true, logger }),
      stream: jobsKey("changes"),
      survey: () => this.#survey(),
      anotherMayFollow: address.kind === "sentinel",
      logger,
    });
  }

  /** Wait until Redis answers. @throws Unavailable */
  async connected(timeoutMs: number): Promise<void> {
    await redisReady(this.#redis, { timeoutMs });
  }

  async submit(jobs: readonly NewJob[], key?: SubmissionKey): Promise<readonly JobId[]> {
    if (jobs.length === 0) return [];
    checkNumber(jobs);
    const token = randomUUID();
    const limit = this.#options.maxUnfinishedJobs ?? DEFAULT_MAX_UNFINISHED_JOBS;
    const terms = [token, SUBMISSION_TOKEN_LIFETIME_S, limit, jobs.length];
    const keyTerms = [key?.id ?? "", key?.digest ?? "", SUBMISSION_KEY_LIFETIME_S];
    const args = [...terms, ...keyTerms, ...jobs.flatMap(submission)];
    try {
      const reply = await patiently(() => scripts.submit(this.#redis, ...args), {
        forMs: SUBMIT_PATIENCE_MS,
        worthRetrying: (error) => error instanceof RedisUnreachable,
        signal: this.#closing.signal,
      });
      const [first, ready] = reply as [number, string[]];
      this.#wake(ready);
      return jobs.map((_, position) => first + position);
    } catch (error) {
      if (error instanceof RedisUnreachable) this.#abandon(token, key);
      throw error;
    }
  }

  async get(id: JobId): Promise<Job | undefined> {
    const both = this.#redis.pipeline().hgetall(jobKey(id)).lrange(logKey(id), 0, -1);
    const [record = {}, log = []] = await this.#exec<[JobRecord, string[]]>(both);
    return record.status === undefined ? undefined : jobOf(id, record, log);
  }

  async getMany(ids: readonly JobId[]): Promise<readonly (Job | undefined)[]> {
    const jobs: (Job | undefined)[] = [];
    for (const page of chunks(ids, PAGE)) jobs.push(...(await this.#readPage(page)));
    return jobs;
  }

  async list(query: JobQuery): Promise<readonly Job[]> {
    const jobs = await this.getMany(await this.ids(query));
    return jobs.filter((job) => job !== undefined);
  }

  async ids({ archived = false, after = 0, limit }: JobQuery): Promise<readonly JobId[]> {
    const key = jobsKey(archived ? "archived" : "live");
    const ids = await this.#ask(() => this.#redis.zrange(key, `(${after}`, "+inf", "BYSCORE", "LIMIT", 0, limit ?? -1));
    return ids.map(Number);
  }

  async lastId(): Promise<JobId> {
    return Number((await this.#ask(() => this.#redis.get(jobsKey("serial")))) ?? 0);
  }

  async begin(
    id: JobId,
    opcodeIndex: number,
    fence: Fence,
    locks?: Pick<LockRequest, "wishes" | "candidates">,
  ): Promise<Beginning> {
    const token = randomUUID();
    // The ledger itself knows the priority.
    const [, , , ...request] =
      locks === undefined ? [] : lockRequestArguments({ owner: id, priority: 0, ...locks }, fence);
    const args = [fence.epoch, id, opcodeIndex, token, ...request];
    const [outcome, woken] = (await this.#persist(() => scripts.begin(this.#redis, ...args))) as [Beginning, string[]];
    if (outcome === "running") this.#claims.set(id, token);
    this.#wake(woken);
    return outcome;
  }

  async park(id: JobId, opcodeIndex: number, fence: Fence): Promise<void> {
    const claim = this.#claims.get(id);
    const woken = await this.#persist(() => scripts.park(this.#redis, fence.epoch, id, opcodeIndex, claim ?? ""));
    this.#letGo(id, claim);
    this.#wake(woken as string[]);
  }

  async succeed(id: JobId, opcodeIndex: number, result: unknown, fence: Fence): Promise<void> {
    await this.#succeed(id, opcodeIndex, { pieces: [JSON.stringify(result ?? null)], jobs: [] }, fence);
  }

  async succeedSubmitting(
    id: JobId,
    opcodeIndex: number,
    followUps: FollowUps,
    fence: Fence,
  ): Promise<readonly JobId[]> {
    const jobs = followUps.jobs.filter((job) => "opcodes" in job);
    checkNumber(jobs);
    const first = await this.#succeed(id, opcodeIndex, { pieces: followUpPieces(followUps), jobs }, fence);
    return first === 0 ? [] : jobs.map((_, position) => first + position);
  }

  /** @returns the id of the first of the jobs; 0 when the opcode has not made any */
  async #succeed(
    id: JobId,
    opcodeIndex: number,
    { pieces, jobs }: { readonly pieces: readonly string[]; readonly jobs: readonly NewJob[] },
    fence: Fence,
  ): Promise<JobId> {
    const claim = this.#claims.get(id);
    const limit = this.#options.maxUnfinishedJobs ?? DEFAULT_MAX_UNFINISHED_JOBS;
    const args = [fence.epoch, id, opcodeIndex, jobs.length, limit, ...pieces, ...jobs.flatMap(submission)];
    const [first, woken] = (await this.#persist(() => scripts.succeed(this.#redis, ...args))) as [number, string[]];
    this.#letGo(id, claim);
    this.#wake(woken);
    return first;
  }

  async fail(id: JobId, opcodeIndex: number, error: EncodedError, fence: Fence): Promise<void> {
    const json = JSON.stringify(error);
    const claim = this.#claims.get(id);
    const woken = await this.#persist(() => scripts.fail(this.#redis, fence.epoch, id, opcodeIndex, json));
    this.#letGo(id, claim);
    this.#wake(woken as string[]);
  }

  async finishCancel(id: JobId, fence: Fence): Promise<void> {
    const claim = this.#claims.get(id);
    const woken = await this.#persist(() => scripts.finishCancel(this.#redis, fence.epoch, id));
    this.#letGo(id, claim);
    this.#wake(woken as string[]);
  }

  async log(id: JobId, opcodeIndex: number, type: LogEntryType, payload: unknown, fence: Fence): Promise<void> {
    const entry = [JSON.stringify(type), JSON.stringify(payload ?? null)];
    await this.#persist(() => scripts.log(this.#redis, fence.epoch, id, opcodeIndex, ...entry));
  }

  async pushUndo(id: JobId, opcodeIndex: number, step: UndoStep, fence: Fence): Promise<void> {
    const json = JSON.stringify(step);
    await this.#persist(() => scripts.pushUndo(this.#redis, fence.epoch, id, opcodeIndex, json));
  }

  async clearUndo(id: JobId, opcodeIndex: number, fence: Fence): Promise<void> {
    await this.#persist(() => scripts.clearUndo(this.#redis, fence.epoch, id, opcodeIndex));
  }

  async cancel(id: JobId): Promise<Verdict> {
    const [accepted, text, woken] = (await scripts.cancel(this.#redis, id)) as [number, string, string[]];
    this.#wake(woken);
    return [accepted === 1, text];
  }

  async changePriority(id: JobId, priority: number): Promise<Verdict> {
    if (!VALID_PRIORITIES.includes(priority))
      throw new OpPrereqError(
        `A job's priority is one of ${VALID_PRIORITIES.join(", ")}, not ${priority}`,
        "wrong_input",
      );
    const reply = await scripts.changePriority(this.#redis, id, priority);
    const [accepted, text, ready, woken] = reply as [number, string, number, string[]];
    this.#wake(woken);
    if (ready === 1) this.#detach(this.#options.wakeQueue.reprioritize(id, priority));
    return [accepted === 1, text];
  }

  async archive(id: JobId): Promise<boolean> {
    return (await scripts.archive(this.#redis, id)) === 1;
  }

  async autoArchive(
    ageSeconds: number,
    timeoutMs: number,
  ): Promise<{ readonly archived: number; readonly left: number }> {
    const deadline = performance.now() + timeoutMs;
    for (let archived = 0; ; ) {
      const [now, left] = (await scripts.autoArchive(this.#redis, ageSeconds, PAGE)) as [number, number];
      archived += now;
      if (left === 0 || performance.now() > deadline) return { archived, left };
    }
  }

  async setDrained(drained: boolean): Promise<void> {
    const key = jobsKey("drained");
    await this.#ask<unknown>(() => (drained ? this.#redis.set(key, "1") : this.#redis.del(key)));
    await confirmed(this.#redis);
  }

  async isDrained(): Promise<boolean> {
    return (await this.#ask(() => this.#redis.exists(jobsKey("drained")))) === 1;
  }

  async counts(): Promise<Readonly<Record<JobStatus, number>>> {
    const active = jobsKey("active");
    const transaction = this.#redis
      .multi()
      .zcard(jobsKey("live"))
      .zcard(jobsKey("ended"))
      .zcount(active, ...rankOf("waiting"))
      .zcount(active, ...rankOf("canceling"))
      .zcount(active, ...rankOf("running"))
      .hmget(jobsKey("ends"), "canceled", "success", "error");
    type Counts = [number, number, number, number, number, (string | null)[]];
    const [live = 0, ended = 0, waiting = 0, canceling = 0, running = 0, ends = []] =
      await this.#exec<Counts>(transaction);
    const [canceled = 0, success = 0, error = 0] = ends.map(Number);
    const queued = live - ended - waiting - canceling - running;
    return { queued, waiting, canceling, running, canceled, success, error };
  }

  async readyJobs(): Promise<readonly ReadyJob[]> {
    const [waitForNothing, granted] = (await scripts.readyJobs(this.#redis)) as [string[], string[]];
    const byId = new Map([...readyJobsOf(waitForNothing), ...readyJobsOf(granted)].map((job) => [job.id, job]));
    // Redis puts members of one score in the order of their letters.
    return [...byId.values()].sort((a, b) => a.priority - b.priority || a.id - b.id);
  }

  async takeOver(fence: Fence): Promise<readonly Leftover[]> {
    const running = chunks(await this.#runningAfterTakeOver(fence), 2);
    const undoOf = new Map(running.map(([id, undo]) => [Number(id), undo as string[]]));
    const jobs = await this.getMany([...undoOf.keys()].sort((a, b) => a - b));
    return jobs
      .filter((job) => job !== undefined)
      .map((job) => ({
        job,
        opcodeIndex: job.opcodes.findIndex((opcode) => opcode.status === "running"),
        undo: (undoOf.get(job.id) ?? []).map((step): UndoStep => JSON.parse(step)),
      }));
  }

  onChange(listener: (change: JobChange) => void, onGap: () => void = () => {}): () => void {
    return this.#feed.subscribe({ onChange: listener, onGap });
  }

  async caughtUp(): Promise<void> {
    await this.#feed.reached(await this.#ask(() => newestChange(this.#redis, jobsKey("changes"))));
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#feed.close();
    await Promise.allSettled(this.#background);
    this.#redis.disconnect();
  }

  /** Most jobs have no log, and asking for one costs as much as asking for the job. */
  async #readPage(ids: readonly JobId[]): Promise<readonly (Job | undefined)[]> {
    const hashes = this.#redis.pipeline();
    for (const id of ids) hashes.hgetall(jobKey(id));
    const records = await this.#exec<JobRecord[]>(hashes);
    const logged = ids.filter((_, position) => records[position]?.logs !== undefined);
    const lists = this.#redis.pipeline();
    for (const id of logged) lists.lrange(logKey(id), 0, -1);
    const entries = logged.length === 0 ? [] : await this.#exec<string[][]>(lists);
    const logs = new Map(logged.map((id, position) => [id, entries[position] ?? []]));
    return ids.map((id, position) => {
      const record = records[position] ?? {};
      return record.status === undefined ? undefined : jobOf(id, record, logs.get(id) ?? []);
    });
  }

  async #runningAfterTakeOver(fence: Fence): Promise<readonly (string | string[])[]> {
    for (;;) {
      const reply = await this.#persist(() => scripts.takeOver(this.#redis, fence.epoch, PAGE));
      if (reply !== null) return reply as (string | string[])[];
    }
  }

  async *#survey(): AsyncIterable<JobChange> {
    for (const page of chunks(await this.ids({}), PAGE)) {
      const pipeline = this.#redis.pipeline();
      for (const id of page) pipeline.hget(jobKey(id), "status");
      const statuses = await this.#exec<JobStatus[]>(pipeline);
      for (const [position, id] of page.entries()) {
        const status = statuses[position];
        if (status !== undefined) yield { id, status };
      }
    }
  }

  /** The job is not in hand any more, unless this client has begun it again since. */
  #letGo(id: JobId, claim: string | undefined): void {
    if (this.#claims.get(id) === claim) this.#claims.delete(id);
  }

  /** Plain commands, with their failures told as ours. */
  async #ask<T>(command: () => Promise<T>): Promise<T> {
    try {
      return await command();
    } catch (error) {
      throw redisUnavailable(error);
    }
  }

  /** The answers of a pipeline or transaction, in order. */
  async #exec<Replies extends unknown[]>(commands: ChainableCommander): Promise<Partial<Replies>> {
    const replies = (await this.#ask(() => commands.exec())) ?? [];
    return replies.map(([error, reply]) => {
      if (error !== null) throw redisUnavailable(error);
      return reply;
    }) as Partial<Replies>;
  }

  /** The executor's writes: each script may run twice, and the fence ends the trying of one who is not leader any more. */
  #persist<T>(write: () => Promise<T>): Promise<T> {
    return patiently(write, { forMs: EXECUTOR_PATIENCE_MS, signal: this.#closing.signal });
  }

  #wake(flat: readonly string[]): void {
    for (const { id, priority } of readyJobsOf(flat)) this.#detach(this.#options.wakeQueue.wake(id, priority));
  }

  /** The client was told that its submission failed. Whether it did is not known: make it so. */
  #abandon(token: string, key: SubmissionKey | undefined): void {
    const args = [token, SUBMISSION_TOKEN_LIFETIME_S, key?.id ?? ""];
    const abandoned = patiently(() => scripts.abandonSubmission(this.#redis, ...args), {
      forMs: SUBMISSION_TOKEN_LIFETIME_S * 1000,
      signal: this.#closing.signal,
    });
    this.#detach(
      abandoned.then((reply) => {
        const [begun, woken] = reply as [string[], string[]];
        if (begun.length > 0)
          this.#options.logger.error({ jobs: begun }, "jobs run although their submission was answered as failed");
        this.#wake(woken);
      }),
    );
  }

  #detach(work: Promise<void>): void {
    const settled = work.catch((error: unknown) => {
      if (!this.#closing.signal.aborted)
        this.#options.logger.error({ err: error }, "background work of the ledger failed");
    });
    this.#background.add(settled);
    void settled.finally(() => this.#background.delete(settled));
  }
}

/** The scores of `active` in lua/ledger.lua, as the bounds of a range. */
function rankOf(status: "waiting" | "canceling" | "running"): [number, number] {
  const rank = { waiting: 1, canceling: 2, running: 3 }[status];
  return [rank, rank];
}

function checkNumber(jobs: readonly NewJob[]): void {
  if (jobs.length > MAX_JOBS_PER_SUBMISSION)
    throw new OpPrereqError(`At most ${MAX_JOBS_PER_SUBMISSION} jobs can be submitted at once`, "wrong_input");
}

/** The text of a result, cut where the ids of its jobs come: one piece more than there are jobs. */
function followUpPieces({ jobs, other }: FollowUps): readonly string[] {
  const pieces = ['{"jobs":['];
  const append = (text: string) => pieces.push(`${pieces.pop() ?? ""}${text}`);
  for (const [position, job] of jobs.entries()) {
    if (position > 0) append(",");
    if ("refused" in job) append(JSON.stringify([false, job.refused]));
    else {
      append("[true,");
      pieces.push("]");
    }
  }
  append("]");
  for (const [name, value] of Object.entries(other)) append(`,${JSON.stringify(name)}:${JSON.stringify(value)}`);
  append("}");
  return pieces;
}

/** A job's arguments of lua/intake.lua. */
function submission({ opcodes, requester }: NewJob): (string | number)[] {
  if (opcodes.length === 0) throw new OpPrereqError("A job needs at least one opcode", "wrong_input");
  const inputs = opcodes.map(({ input }) => input);
  return [
    inputs.length,
    JSON.stringify(inputs),
    JSON.stringify(opcodes.map(({ summary }) => summary)),
    requester,
    inputs.map(({ priority }) => (Number.isInteger(priority) ? String(priority) : "0")).join(" "),
    dependencyLines(inputs),
  ];
}

/** From `[id, priority, id, priority, …]`. */
function readyJobsOf(flat: readonly string[]): readonly ReadyJob[] {
  return chunks(flat, 2).map(([id, priority]) => ({ id: Number(id), priority: Number(priority) }));
}

function chunks<T>(items: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, n) => items.slice(n * size, (n + 1) * size));
}
