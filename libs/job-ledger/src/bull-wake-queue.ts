/**
 * The wake queue. Jobs to be delivered stand in a line in the memory of the process that delivers, the leader's. Its
 * own wake-ups go there at once; BullMQ brings those of other processes, many in one entry when they come in a burst.
 *
 * Nothing here has to last. The ledger is the truth, so a wake-up may be lost (the sweeper finds the job) or doubled
 * (the ledger lets an opcode begin once). It does not pay to keep wake-ups better: with an entry of BullMQ for each
 * one, two of the six writes to disk that a single job waited for, and a third of Redis' time in a burst, were its.
 */
import { randomUUID } from "node:crypto";
import { connectRedis, KEY_PREFIX, patiently, type Redis, type RedisAddress, redisUnavailable } from "@gannet/redis";
import type { Logger } from "@gannet/telemetry";
import { Queue, Worker } from "bullmq";
import { DeliveryLine } from "./delivery-line.ts";
import type { JobId } from "./job.ts";
import type { DeliveryOptions, ReadyJob, WakeQueue } from "./job-ledger-contract.ts";

export interface BullWakeQueueOptions {
  readonly address: RedisAddress;
  /** Of its connections: `master` becomes `master:wake` and `master:deliveries`. */
  readonly name: string;
  /** What the ledger says is owed a delivery; compared with what stands in line here. */
  readonly readyJobs: () => Promise<readonly ReadyJob[]>;
  readonly sweepIntervalMs?: number;
  readonly logger: Logger;
}

/** What an entry of BullMQ carries. */
interface Wakeups {
  readonly jobs: readonly ReadyJob[];
}

/** A term of deliveries, from `start` to `stop`. */
interface Deliveries {
  readonly handler: (id: JobId) => Promise<void>;
  readonly isHeld: (id: JobId) => boolean;
  readonly worker: Worker<Wakeups>;
  readonly redis: Redis;
  readonly sweeper: NodeJS.Timeout;
  readonly line: DeliveryLine;
  readonly underWay: Map<Promise<void>, JobId>;
  concurrency: number;
  stopping: boolean;
}

/** `gannet:wake:*` in Redis. */
const QUEUE = "wake";
const PREFIX = KEY_PREFIX.replace(/:$/, "");
/** One short script; the longest that a job waits whose wake-up was lost with the process that was to send it. */
const SWEEP_INTERVAL_MS = 15_000;
/** Some 15 KiB. */
const MAX_JOBS_PER_ENTRY = 500;
/** After so long without renewal an entry in delivery counts as lost, and is dropped by the next worker's check. */
const ENTRY_LOCK_MS = 60_000;
/**
 * An idle worker looks again after so long, in seconds. That is how long a frozen leader delays the first job of the
 * next one: Redis tells one waiting worker of it, and that may be the frozen one's. BullMQ's own 5 s are too long.
 */
const IDLE_LOOK_S = 1;
/** BullMQ cannot close in order while Redis is away. */
const CLOSE_TIMEOUT_MS = 2_000;
/** Its event stream, which nothing here reads. */
const EVENTS_KEPT = 100;

export class BullWakeQueue implements WakeQueue {
  readonly #options: BullWakeQueueOptions;
  readonly #redis: Redis;
  readonly #queue: Queue<Wakeups>;
  readonly #closing = new AbortController();
  readonly #background = new Set<Promise<void>>();
  /** For the process that delivers: what comes while an entry is on its way goes into the next one together. */
  readonly #outbox: ReadyJob[] = [];
  #sending = Promise.resolve();
  #deliveries: Deliveries | undefined;

  constructor(options: BullWakeQueueOptions) {
    this.#options = options;
    this.#redis = connectRedis(options.address, { name: `${options.name}:wake`, logger: options.logger });
    this.#queue = new Queue(QUEUE, {
      connection: this.#redis,
      prefix: PREFIX,
      streams: { events: { maxLen: EVENTS_KEPT } },
      defaultJobOptions: { attempts: 1, removeOnComplete: true, removeOnFail: true },
    });
    this.#queue.on("error", (error) => this.#note(error));
  }

  /** Jobs that are to be delivered by this process and are not yet, in order; for metrics and tests. */
  get line(): readonly JobId[] {
    return this.#deliveries?.line.ids ?? [];
  }

  async wake(id: JobId, priority: number): Promise<void> {
    await this.#wakeAll([{ id, priority }]);
  }

  async reprioritize(id: JobId, priority: number): Promise<void> {
    const deliveries = this.#deliveries;
    if (deliveries === undefined) await this.wake(id, priority);
    else deliveries.line.move(id, priority);
  }

  start(handler: (id: JobId) => Promise<void>, { concurrency, isHeld = () => false }: DeliveryOptions): void {
    if (this.#deliveries !== undefined) throw new Error("deliveries have been started already");
    const { address, name, logger, sweepIntervalMs = SWEEP_INTERVAL_MS } = this.#options;
    const redis = connectRedis(address, { name: `${name}:deliveries`, blocking: true, logger });
    const worker = new Worker<Wakeups>(QUEUE, ({ data }) => this.#wakeAll(data.jobs), {
      connection: redis,
      prefix: PREFIX,
      lockDuration: ENTRY_LOCK_MS,
      maxStalledCount: 0,
      runRetryDelay: 1_000,
      drainDelay: IDLE_LOOK_S,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
    });
    worker.on("error", (error) => this.#note(error));
    let away = false;
    redis.on("close", () => {
      away = true;
    });
    redis.on("ready", () => {
      if (away) this.#sweepPatiently(sweepIntervalMs);
      away = false;
    });
    const sweeper = setInterval(() => this.#detach(this.#sweep()), sweepIntervalMs);
    const line = new DeliveryLine();
    const underWay = new Map<Promise<void>, JobId>();
    this.#deliveries = { handler, isHeld, worker, redis, sweeper, line, underWay, concurrency, stopping: false };
    this.#sweepPatiently(sweepIntervalMs);
  }

  setConcurrency(concurrency: number): void {
    const deliveries = this.#deliveries;
    if (deliveries === undefined) return;
    deliveries.concurrency = concurrency;
    this.#deliver(deliveries);
  }

  async stop(): Promise<void> {
    const deliveries = this.#deliveries;
    if (deliveries === undefined) return;
    const { worker, redis, sweeper, underWay, line } = deliveries;
    clearInterval(sweeper);
    deliveries.stopping = true;
    this.#detach(worker.pause(true));
    // Another leader may have looked at the ledger before these were woken here.
    this.#detach(this.#wakeAll(line.takeAll()));
    await Promise.allSettled(underWay.keys());
    await Promise.race([worker.close(), after(CLOSE_TIMEOUT_MS)]);
    redis.disconnect();
    this.#deliveries = undefined;
  }

  async close(): Promise<void> {
    await this.stop();
    this.#closing.abort();
    await Promise.allSettled(this.#background);
    await Promise.race([this.#queue.close(), after(CLOSE_TIMEOUT_MS)]);
    this.#redis.disconnect();
  }

  async #wakeAll(jobs: readonly ReadyJob[]): Promise<void> {
    const deliveries = this.#deliveries;
    if (deliveries === undefined || deliveries.stopping) {
      this.#outbox.push(...jobs);
      this.#sending = this.#sending.then(() => this.#send());
      await this.#sending;
      return;
    }
    for (const { id, priority } of jobs) deliveries.line.add(id, priority);
    this.#deliver(deliveries);
  }

  /** Send what has gathered in the outbox, if an earlier call has not. */
  async #send(): Promise<void> {
    while (this.#outbox.length > 0) {
      const jobs = this.#outbox.splice(0, MAX_JOBS_PER_ENTRY);
      await this.#add(jobs).catch((error: unknown) => {
        this.#options.logger.warn({ err: error, jobs: jobs.length }, "wake-ups are kept until Redis is back");
        this.#detach(patiently(() => this.#add(jobs), { forMs: Infinity, signal: this.#closing.signal }));
      });
    }
  }

  async #add(jobs: readonly ReadyJob[]): Promise<void> {
    try {
      // BullMQ ignores an add whose id it knows: each entry has one of its own.
      await this.#queue.add(QUEUE, { jobs }, { jobId: `jobs-${randomUUID()}` });
    } catch (error) {
      throw redisUnavailable(error);
    }
  }

  /** Begin as many deliveries as may be under way. */
  #deliver(deliveries: Deliveries): void {
    const { line, underWay, handler } = deliveries;
    while (underWay.size < deliveries.concurrency && !deliveries.stopping) {
      const id = line.take();
      if (id === undefined) return;
      const delivery = handler(id).catch((error: unknown) => {
        this.#options.logger.error({ err: error, job: id }, "a delivery failed");
      });
      underWay.set(delivery, id);
      void delivery.finally(() => {
        underWay.delete(delivery);
        this.#deliver(deliveries);
      });
    }
  }

  /**
   * At the start, and when Redis is back: an entry that was fetched as the connection broke counts as taken, and
   * nobody has it.
   */
  #sweepPatiently(forMs: number): void {
    this.#detach(patiently(() => this.#sweep(), { forMs, signal: this.#closing.signal }));
  }

  /** Put into the line what is ready in the ledger and neither held nor being delivered. */
  async #sweep(): Promise<void> {
    const ready = await this.#options.readyJobs();
    const deliveries = this.#deliveries;
    if (deliveries === undefined || deliveries.stopping) return;
    const { line, underWay, isHeld } = deliveries;
    const known = new Set(underWay.values());
    const missing = ready.filter(({ id }) => !line.has(id) && !known.has(id) && !isHeld(id));
    if (missing.length > 0) this.#options.logger.info({ jobs: missing.length }, "waking jobs that were not queued");
    await this.#wakeAll(missing);
  }

  #detach(work: Promise<void>): void {
    const settled = work.catch((error: unknown) => {
      if (!this.#closing.signal.aborted) this.#note(error);
    });
    this.#background.add(settled);
    void settled.finally(() => this.#background.delete(settled));
  }

  /** BullMQ tells each connection's each failure; the connections themselves log loss and return once. */
  #note(error: unknown): void {
    this.#options.logger.debug({ err: error }, "trouble in the wake queue");
  }
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
