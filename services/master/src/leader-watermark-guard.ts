/**
 * Compares Redis with this master's watermark, all the time and anew after each lost connection. While Redis holds
 * less than it did, this master does not lead and answers nobody, until the data are back or an operator accepts.
 *
 * After a failover another server answers. It need not have what its predecessor alone had, so the watermark is moved
 * only to what enough replicas have: a server that has all of that is as good as the one before, another is refused.
 */
import { isDeepStrictEqual } from "node:util";
import { Unavailable } from "@gannet/errors";
import { skipJobIds } from "@gannet/job-ledger";
import { raiseEpoch } from "@gannet/locking";
import { confirmed, connectRedis, type Redis, type RedisAddress } from "@gannet/redis";
import type { Logger } from "@gannet/telemetry";
import { furthest, type Marks, missing, readMarks, type Watermark, WatermarkFile } from "./leader-watermark.ts";

export interface RedisGuardOptions {
  readonly address: RedisAddress;
  /** The master's own folder, which holds the watermark. */
  readonly stateDir: string;
  readonly logger: Logger;
  /** Between two looks, and so between two writes of the file. */
  readonly lookIntervalMs?: number;
}

/** What is noticed later than this can only be a loss of what was written meanwhile. */
const LOOK_INTERVAL_MS = 1_000;
/** How long a client waits for a Redis that is away. */
const ADMISSION_PATIENCE_MS = 5_000;
/**
 * Left out when a loss is accepted: other masters may have led, and jobs been submitted, after this master last
 * looked.
 */
const EPOCHS_SKIPPED = 1_000;
const JOBS_SKIPPED = 10_000;

export class RedisGuard {
  readonly #redis: Redis;
  readonly #file: WatermarkFile;
  readonly #logger: Logger;
  readonly #lookIntervalMs: number;
  readonly #watching: Promise<void>;
  /** The furthest that this master knows of. */
  #known: Marks | undefined;
  /** What is in the file. */
  #stored: Watermark | undefined;
  /** How often the connection was lost: a look that began before says nothing of the server that came after. */
  #disconnections = 0;
  /** Redis was looked at since the connection was last lost. */
  #looked = false;
  #refusal: Unavailable | undefined;
  /** Aborted when Redis turns out to have lost data; another one begins when they are back. */
  #trust = new AbortController();
  /** Settled, and replaced, when trust is gained or lost. */
  #changed = Promise.withResolvers<void>();
  /** Looks happen one after another. */
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;
  #wake: () => void = () => {};

  private constructor(options: RedisGuardOptions, file: WatermarkFile, stored: Watermark | undefined) {
    this.#logger = options.logger;
    this.#file = file;
    this.#lookIntervalMs = options.lookIntervalMs ?? LOOK_INTERVAL_MS;
    this.#stored = stored;
    if (stored !== undefined) this.#known = marksOf(stored);
    this.#redis = connectRedis(options.address, { name: "master:guard", logger: options.logger });
    this.#redis.on("close", () => {
      this.#disconnections += 1;
      this.#looked = false;
    });
    this.#redis.on("ready", () => this.#wake());
    this.#watching = this.#watch();
  }

  /** @throws ConfigurationError when the watermark is damaged */
  static async open(options: RedisGuardOptions): Promise<RedisGuard> {
    const file = await WatermarkFile.below(options.stateDir);
    return new RedisGuard(options, file, await file.read());
  }

  /** Whether Redis is there and has all its data. */
  get isTrusted(): boolean {
    return this.#isTrusted();
  }

  /** Why nobody is answered now: Redis has lost data. */
  get refusal(): Unavailable | undefined {
    return this.#refusal;
  }

  /**
   * Wait until Redis is there and has all its data. @returns a signal that is aborted when it turns out to have lost some
   * @throws the given signal's reason when that ends the wait
   */
  async trusted(signal: AbortSignal): Promise<AbortSignal> {
    const aborted = Promise.withResolvers<never>();
    const abort = () => aborted.reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    try {
      signal.throwIfAborted();
      while (!this.#isTrusted()) await Promise.race([this.#changed.promise, aborted.promise]);
      return this.#trust.signal;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /** Before a client's job is taken. @throws Unavailable when Redis has lost data, or is not there for some seconds */
  async admit(): Promise<void> {
    if (this.#isTrusted()) return;
    if (this.#refusal !== undefined) throw this.#refusal;
    try {
      await this.trusted(AbortSignal.timeout(ADMISSION_PATIENCE_MS));
    } catch (cause) {
      throw this.#refusal ?? new Unavailable("Not possible now: Redis is not reachable", { cause });
    }
  }

  /** Look now. @returns whether Redis has all its data, and the watermark, on disk, has come as far as this epoch */
  async confirm(epoch = 0): Promise<boolean> {
    await this.#look();
    return this.#isTrusted() && (this.#stored?.epoch ?? 0) >= epoch;
  }

  /** What Redis has answered and its replicas confirmed: if it does not know that any more, it has lost it. */
  saw(seen: Partial<Pick<Marks, "lastJob" | "configurationSerial">>): void {
    if (this.#known !== undefined) this.#known = furthest(this.#known, { ...this.#known, ...seen });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    this.#redis.disconnect();
    await this.#watching;
  }

  #isTrusted(): boolean {
    return this.#looked && this.#refusal === undefined;
  }

  async #watch(): Promise<void> {
    while (!this.#closed) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await this.#look().catch((error: unknown) => {
        if (this.#closed || error instanceof Unavailable) return;
        this.#logger.error({ err: error }, "Redis could not be compared with the watermark; trying again");
      });
      const timer = Promise.withResolvers<void>();
      const timeout = setTimeout(timer.resolve, this.#lookIntervalMs);
      await Promise.race([timer.promise, woken]);
      clearTimeout(timeout);
    }
  }

  #look(): Promise<void> {
    const turn = this.#turn.then(() => this.#lookOnce());
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #lookOnce(): Promise<void> {
    const disconnections = this.#disconnections;
    // Taken first: what grows while Redis is asked is not missing.
    const before = await this.#before();
    const held = await readMarks(this.#redis);
    const unconfirmed = await confirmed(this.#redis).catch((error: unknown) => error);
    const lacks = before === undefined ? [] : missing(before, held);
    if (before !== undefined && lacks.length > 0) {
      if (before.loss?.accepted !== true) await this.#refuse(before, held, lacks);
      else await this.#accept(before);
    } else if (unconfirmed === undefined) await this.#trustIn(held, disconnections);
    else await this.#trustIn(before === undefined ? nothing(held) : marksOf(before), disconnections);
  }

  /** While data are lost the file has the word, which an operator may have changed. */
  async #before(): Promise<Watermark | undefined> {
    if (this.#refusal === undefined && this.#stored?.loss === undefined) return this.#known;
    this.#stored = await this.#file.read();
    return this.#stored;
  }

  async #trustIn(held: Marks, disconnections: number): Promise<void> {
    this.#known = this.#known === undefined || this.#refusal !== undefined ? held : furthest(this.#known, held);
    await this.#store(this.#known);
    if (disconnections !== this.#disconnections) return;
    if (this.#refusal !== undefined) {
      this.#logger.warn({ ...held }, "Redis has its data again; this master goes on");
      this.#refusal = undefined;
      this.#trust = new AbortController();
    }
    this.#looked = true;
    this.#tell();
  }

  async #refuse(before: Watermark, held: Marks, lacks: readonly string[]): Promise<void> {
    if (this.#refusal !== undefined) return;
    this.#refusal = new Unavailable(
      `Redis has lost data: ${lacks.join(", ")}. Restore them, or accept the loss with --accept-redis-loss`,
    );
    this.#trust.abort(this.#refusal);
    this.#logger.fatal({ before: marksOf(before), held, file: this.#file.path }, this.#refusal.message);
    this.#tell();
    await this.#store({ ...marksOf(before), loss: { held, accepted: false } });
  }

  /**
   * Nodes have seen higher epochs, and know jobs by ids that would be given out again: both go on from where they were.
   */
  async #accept(before: Watermark): Promise<void> {
    await raiseEpoch(this.#redis, before.epoch + EPOCHS_SKIPPED);
    await skipJobIds(this.#redis, before.lastJob + JOBS_SKIPPED);
    this.#logger.warn({ before: marksOf(before) }, "the loss of data was accepted by an operator");
    this.#known = await readMarks(this.#redis);
    await this.#store(this.#known);
    this.#wake();
  }

  async #store(content: Watermark): Promise<void> {
    if (isDeepStrictEqual(content, this.#stored)) return;
    await this.#file.write(content);
    this.#stored = content;
  }

  #tell(): void {
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers<void>();
    resolve();
  }
}

/** What is known of a Redis that is seen for the first time and whose replicas confirm nothing. */
function nothing({ runId }: Marks): Marks {
  return { runId, epoch: 0, configurationSerial: 0, lastJob: 0, jobChanges: 0 };
}

function marksOf({ loss: _, ...marks }: Watermark): Marks {
  return marks;
}
