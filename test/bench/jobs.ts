/** Jobs that do nothing, from submit to finished: ours by the remote API and by the ledger, and BullMQ's own. */
import path from "node:path";
import { BullWakeQueue, type FinalStatus, type JobId, type NewJob, RedisJobLedger } from "@gannet/job-ledger";
import { parseOpcode, summaryOf } from "@gannet/opcodes";
import { silentLogger } from "@gannet/telemetry";
import { Queue, QueueEvents, Worker } from "bullmq";
import { Redis } from "ioredis";
import type { OneMachineCluster } from "../one-machine-cluster.ts";

/** The cluster's max_running_jobs: BullMQ's worker runs as many at a time. */
const CONCURRENCY = 20;

/** What jobs are submitted to; each promise is kept when all of its jobs have finished. */
export interface JobSource extends AsyncDisposable {
  one(): Promise<void>;
  /** In one submission. */
  batch(count: number): Promise<void>;
}

export function redisSocket(cluster: OneMachineCluster): string {
  return path.join(cluster.stateDir, "redis/redis.sock");
}

/** Each job in a submission of its own, none of which waits for another. @returns finished jobs per second */
export async function submitApart(source: JobSource, count: number): Promise<number> {
  return await perSecond(count, Promise.all(Array.from({ length: count }, () => source.one())));
}

/** @param finished - kept when that many jobs, which are being submitted now, have finished */
export async function perSecond(count: number, finished: Promise<unknown>): Promise<number> {
  const start = performance.now();
  await finished;
  return count / ((performance.now() - start) / 1000);
}

/** BullMQ as it is: a queue, a worker that does nothing, and the event by which the submitter learns of the end. */
export async function rawBullMq(cluster: OneMachineCluster): Promise<JobSource> {
  const name = "bench-raw";
  const options = { removeOnComplete: true, removeOnFail: true, attempts: 1 };
  const connection = () => new Redis({ path: redisSocket(cluster), maxRetriesPerRequest: null });
  const connections = [connection(), connection(), connection()] as const;
  const queue = new Queue(name, { connection: connections[0], defaultJobOptions: options });
  const worker = new Worker(name, () => Promise.resolve(null), {
    connection: connections[1],
    concurrency: CONCURRENCY,
  });
  const events = new QueueEvents(name, { connection: connections[2] });
  await Promise.all([worker.waitUntilReady(), events.waitUntilReady()]);
  const ends = new Ends<string>();
  events.on("completed", ({ jobId }) => ends.tell(jobId, "success"));
  const ended = async ({ id }: { id?: string }) => {
    if (id !== undefined) await ends.of(id);
  };
  return {
    one: async () => ended(await queue.add("noop", {})),
    async batch(count) {
      const jobs = await queue.addBulk(Array.from({ length: count }, () => ({ name: "noop", data: {} })));
      await Promise.all(jobs.map(ended));
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([worker.close(), events.close(), queue.close()]);
      for (const open of connections) open.disconnect();
    },
  };
}

/** A job of one opcode, given by the parameters that are not their default. */
export function jobOf(input: { readonly OP_ID: string } & Readonly<Record<string, unknown>>): NewJob {
  const { declaration, op } = parseOpcode(input);
  return {
    opcodes: [{ input: { OP_ID: declaration.id, ...op }, summary: summaryOf(declaration, op) }],
    requester: "bench",
  };
}

export const NOOP = jobOf({ OP_ID: "OP_TEST_DELAY", duration: 0 });

/** The running master's executor, fed through the ledger as its remote API feeds it. */
export class LedgerJobs implements JobSource {
  readonly ledger: RedisJobLedger;
  readonly #queue: BullWakeQueue;
  readonly #ends = new Ends<JobId>();

  constructor(cluster: OneMachineCluster, { maxUnfinishedJobs = 50_000 } = {}) {
    const address = { kind: "socket", path: redisSocket(cluster) } as const;
    const logger = silentLogger();
    this.#queue = new BullWakeQueue({ address, name: "bench", readyJobs: () => this.ledger.readyJobs(), logger });
    this.ledger = new RedisJobLedger({ address, name: "bench", wakeQueue: this.#queue, maxUnfinishedJobs, logger });
    this.ledger.onChange(({ id, status }) => {
      if (status === "success" || status === "error" || status === "canceled") this.#ends.tell(id, status);
    });
  }

  async one(): Promise<void> {
    await this.succeed([NOOP]);
  }

  async batch(count: number): Promise<void> {
    await this.succeed(Array.from({ length: count }, () => NOOP));
  }

  /** Submit, and wait until all have finished. @throws Error when one has not succeeded */
  async succeed(jobs: readonly NewJob[]): Promise<void> {
    await this.succeeded(await this.ledger.submit(jobs));
  }

  /** Wait for the end of some jobs. @throws Error when one has not succeeded */
  async succeeded(ids: readonly JobId[]): Promise<void> {
    const statuses = await this.ended(ids);
    const failed = statuses.findIndex((status) => status !== "success");
    if (failed >= 0) throw new Error(`job ${ids[failed]} ended as ${statuses[failed]}`);
  }

  /** Wait for the end of some jobs. */
  async ended(ids: readonly JobId[]): Promise<readonly FinalStatus[]> {
    return await Promise.all(ids.map((id) => this.#ends.of(id)));
  }

  async cancel(ids: readonly JobId[]): Promise<void> {
    // There is no job 0. Thousands of calls of a script that Redis does not know yet would each bring its whole text.
    await this.ledger.cancel(0);
    await Promise.all(ids.map((id) => this.ledger.cancel(id)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.ledger.close();
    await this.#queue.close();
  }
}

/**
 * Submit by the remote API and wait there for the end, by the resource that is made for it: asked for the one field
 * that changes only then, it answers once.
 */
export async function rapiJob(cluster: OneMachineCluster, method: string, resource: string): Promise<JobId> {
  const submitted = await cluster.rapi(method, resource);
  if (submitted.status !== 200) throw new Error(`${method} ${resource}: ${JSON.stringify(submitted.body)}`);
  const id = submitted.body as JobId;
  const wait = { fields: ["end_ts"], previous_job_info: [null], previous_log_serial: 0 };
  for (;;) {
    const { status, body } = await cluster.rapi("GET", `/2/jobs/${id}/wait`, { body: wait });
    if (status !== 200) throw new Error(`waiting for job ${id}: ${JSON.stringify(body)}`);
    const news = body as { readonly job_info: readonly unknown[] } | null;
    if (news !== null && news.job_info[0] !== null) return id;
  }
}

/** Ends of jobs, which may be told before anybody asks: the submitter learns a job's id after the fact. */
class Ends<Id> {
  readonly #waiting = new Map<Id, (status: FinalStatus) => void>();
  readonly #early = new Map<Id, FinalStatus>();

  tell(id: Id, status: FinalStatus): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) this.#early.set(id, status);
    else waiting(status);
    this.#waiting.delete(id);
  }

  async of(id: Id): Promise<FinalStatus> {
    const early = this.#early.get(id);
    if (early === undefined) return await new Promise((resolve) => this.#waiting.set(id, resolve));
    this.#early.delete(id);
    return early;
  }
}
