/**
 * The wake queue over BullMQ, which does nothing here but deliver: the ledger is the truth, so an entry may be lost
 * (the sweeper adds it again) or doubled (the ledger's claim refuses the second).
 */
import { randomUUID } from "node:crypto";
import { connectRedis, KEY_PREFIX, patiently, type Redis, type RedisAddress, redisUnavailable } from "@gannet/redis";
import type { Logger } from "@gannet/telemetry";
import { Queue, Worker } from "bullmq";
import type { JobId } from "./job.ts";
import type { DeliveryOptions, ReadyJob, WakeQueue } from "./job-ledger-contract.ts";

export interface BullWakeQueueOptions {
  readonly address: RedisAddress;
  /** Of its connections: `master` becomes `master:wake` and `master:deliveries`. */
  readonly name: string;
  /** What the ledger says is owed a delivery; compared with what is queued here. */
  readonly readyJobs: () => Promise<readonly ReadyJob[]>;
  readonly sweepIntervalMs?: number;
  readonly logger: Logger;
}

interface Wakeup {
  readonly id: JobId;
}

/** A term of deliveries, from `start` to `stop`. */
interface Deliveries {
  readonly worker: Worker<Wakeup>;
  readonly redis: Redis;
  readonly sweeper: NodeJS.Timeout;
  readonly underWay: Map<Promise<void>, JobId>;
  readonly isHeld: (id: JobId) => boolean;
  stopping: boolean;
}

/** `gannet:wake:*` in Redis. */
const QUEUE = "wake";
const PREFIX = KEY_PREFIX.replace(/:$/, "");
const SWEEP_INTERVAL_MS = 60_000;
/** BullMQ treats 0 as "before all priorities" and takes 1..2^21, smaller first; ours are -20..19. */
const PRIORITY_OFFSET = 21;
/** After so long without renewal an entry in delivery counts as lost, and is dropped by the next worker's check. */
const ENTRY_LOCK_MS = 60_000;
/** BullMQ cannot close in order while Redis is away. */
const CLOSE_TIMEOUT_MS = 2_000;
/** Its event stream, which nothing here reads. */
const EVENTS_KEPT = 100;

export class BullWakeQueue implements WakeQueue {
  readonly #options: BullWakeQueueOptions;
  readonly #redis: Redis;
  readonly #queue: Queue<Wakeup>;
  readonly #closing = new AbortController();
  readonly #background = new Set<Promise<void>>();
  /**
   * Each entry has an id of its own, `job-<n>-<k>`. BullMQ ignores an add whose id it knows, and it knows one until
   * its delivery is over: a job woken in the last moments of an earlier delivery, or whose earlier delivery died
   * with another leader, would not be delivered again.
   */
  readonly #series = randomUUID().slice(0, 8);
  #entries = 0;
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

  async wake(id: JobId, priority: number): Promise<void> {
    try {
      await this.#add(id, priority);
    } catch (error) {
      this.#options.logger.warn({ err: error, job: id }, "a wake-up is kept until Redis is back");
      this.#detach(patiently(() => this.#add(id, priority), { forMs: Infinity, signal: this.#closing.signal }));
    }
  }

  async reprioritize(id: JobId, priority: number): Promise<void> {
    const entries = await this.#queue.getRanges(["prioritized"], 0, -1);
    for (const entry of entries.filter((name) => jobIdOf(name) === id)) {
      const job = await this.#queue.getJob(entry);
      // Delivered meanwhile: there is nothing to move.
      await job?.changePriority({ priority: priority + PRIORITY_OFFSET }).catch((error: unknown) => this.#note(error));
    }
  }

  start(handler: (id: JobId) => Promise<void>, { concurrency, isHeld = () => false }: DeliveryOptions): void {
    if (this.#deliveries !== undefined) throw new Error("deliveries have been started already");
    const { address, name, logger, sweepIntervalMs = SWEEP_INTERVAL_MS } = this.#options;
    const redis = connectRedis(address, { name: `${name}:deliveries`, blocking: true, logger });
    const worker = new Worker<Wakeup>(QUEUE, (job) => this.#deliver(job.data.id, handler), {
      connection: redis,
      prefix: PREFIX,
      concurrency,
      lockDuration: ENTRY_LOCK_MS,
      maxStalledCount: 0,
      runRetryDelay: 1_000,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
    });
    worker.on("error", (error) => this.#note(error));
    const sweeper = setInterval(() => this.#detach(this.#sweep()), sweepIntervalMs);
    this.#deliveries = { worker, redis, sweeper, underWay: new Map(), isHeld, stopping: false };
    this.#detach(patiently(() => this.#sweep(), { forMs: sweepIntervalMs, signal: this.#closing.signal }));
  }

  setConcurrency(concurrency: number): void {
    const worker = this.#deliveries?.worker;
    if (worker === undefined || worker.concurrency === concurrency) return;
    worker.concurrency = concurrency;
    // The worker looks at its concurrency when a delivery ends. This makes it look now; nothing else happens in
    // between, because neither call yields.
    for (const step of [worker.pause(true), worker.resume()]) this.#detach(step);
  }

  async stop(): Promise<void> {
    const deliveries = this.#deliveries;
    if (deliveries === undefined) return;
    const { worker, redis, sweeper, underWay } = deliveries;
    clearInterval(sweeper);
    deliveries.stopping = true;
    this.#detach(worker.pause(true));
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

  async #add(id: JobId, priority: number): Promise<void> {
    this.#entries += 1;
    try {
      await this.#queue.add(
        QUEUE,
        { id },
        { jobId: `job-${id}-${this.#series}-${this.#entries}`, priority: priority + PRIORITY_OFFSET },
      );
    } catch (error) {
      throw redisUnavailable(error);
    }
  }

  async #deliver(id: JobId, handler: (id: JobId) => Promise<void>): Promise<void> {
    const deliveries = this.#deliveries;
    // Fetched while it was being stopped: the next worker's sweep finds the job still ready.
    if (deliveries === undefined || deliveries.stopping) return;
    const delivery = handler(id).catch((error: unknown) => {
      this.#options.logger.error({ err: error, job: id }, "a delivery failed");
    });
    deliveries.underWay.set(delivery, id);
    await delivery;
    deliveries.underWay.delete(delivery);
  }

  /**
   * Add what is ready in the ledger and neither held, queued nor being delivered here. Entries in delivery elsewhere
   * do not count: only the leader delivers, so theirs is a worker that is dead.
   */
  async #sweep(): Promise<void> {
    const deliveries = this.#deliveries;
    const ready = await this.#options.readyJobs();
    if (ready.length === 0) return;
    const queued = new Set<JobId>(deliveries?.underWay.values());
    for (const entry of await this.#queue.getRanges(["prioritized", "wait"], 0, -1)) queued.add(jobIdOf(entry));
    const missing = ready.filter(({ id }) => !queued.has(id) && deliveries?.isHeld(id) !== true);
    if (missing.length > 0) this.#options.logger.info({ jobs: missing.length }, "waking jobs that were not queued");
    await Promise.all(missing.map(({ id, priority }) => this.wake(id, priority)));
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

/** From an entry's id, `job-<n>-<k>`. */
function jobIdOf(entry: string): JobId {
  return Number(entry.split("-")[1]);
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
