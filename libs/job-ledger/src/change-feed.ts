/** Follows the ledger's stream of changes: one reader for a whole process, however many listen. */
import { setTimeout as delay } from "node:timers/promises";
import { Unavailable } from "@gannet/errors";
import { confirmed, type Redis, redisUnavailable } from "@gannet/redis";
import type { Logger } from "@gannet/telemetry";
import type { JobChange, JobStatus } from "./job.ts";

export interface ChangeFeedOptions {
  /** A connection of its own, on which reads wait (`blocking: true`). The feed closes it. */
  readonly redis: Redis;
  readonly stream: string;
  /**
   * After a lost connection another server may answer, which need not have had the last changes: then its changes of
   * the same numbers are other ones. True where there are replicas.
   */
  readonly anotherMayFollow: boolean;
  /** The present status of every job that is not archived. */
  readonly survey: () => AsyncIterable<JobChange>;
  readonly logger: Logger;
}

export interface ChangeListener {
  onChange(change: JobChange): void;
  /** Changes were missed; the calls that follow tell of every job that is not archived. */
  onGap(): void;
}

const PAGE = 1_000;
/** After so long without a change the reader checks that the stream is still the one it follows. */
const BLOCK_MS = 5_000;
const PAUSE_AFTER_TROUBLE_MS = 200;
/** How long somebody waits for the reader to catch up; it takes a millisecond where nothing is wrong. */
const REACH_TIMEOUT_MS = 5_000;

/**
 * Change n of the ledger is entry `0-n` of the stream, so that a gap is seen: when the reader starts, when entries
 * were trimmed before it read them, or when Redis lost data, every job that is not archived is reported once.
 */
export class ChangeFeed {
  readonly #options: ChangeFeedOptions;
  readonly #listeners = new Set<ChangeListener>();
  /** Who waits for the reader to reach a change. */
  readonly #expecting = new Set<{ readonly serial: number; readonly resolve: () => void }>();
  /** The last change delivered; undefined before the first survey and after a gap. */
  #last: number | undefined;
  /** How often the connection was lost. */
  #losses = 0;
  #reading: Promise<void> | undefined;
  readonly #closing = Promise.withResolvers<undefined>();
  #closed = false;

  constructor(options: ChangeFeedOptions) {
    this.#options = options;
    options.redis.on("close", () => {
      if (options.anotherMayFollow) this.#losses += 1;
    });
  }

  subscribe(listener: ChangeListener): () => void {
    // An object of its own: the same listener may subscribe twice.
    const entry: ChangeListener = { ...listener };
    this.#listeners.add(entry);
    this.#reading ??= this.#read();
    return () => this.#listeners.delete(entry);
  }

  /** Wait until this change and all before it have been delivered. @throws Unavailable when that takes too long */
  async reached(serial: number): Promise<void> {
    this.#reading ??= this.#read();
    if (this.#last !== undefined && this.#last >= serial) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const expected = { serial, resolve };
    this.#expecting.add(expected);
    const timer = setTimeout(() => reject(new Unavailable("Changes of jobs cannot be read now")), REACH_TIMEOUT_MS);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#expecting.delete(expected);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#closing.resolve(undefined);
    this.#options.redis.disconnect();
    await this.#reading;
  }

  async #read(): Promise<void> {
    while (!this.#closed) {
      try {
        // A read that waits while its connection is down is never answered after `disconnect`.
        this.#last = await Promise.race([this.#advance(this.#last), this.#closing.promise]);
        this.#tellReached();
      } catch (cause) {
        if (this.#closed) return;
        this.#options.logger.warn({ err: redisUnavailable(cause) }, "reading changes of jobs failed; trying again");
        await delay(PAUSE_AFTER_TROUBLE_MS);
      }
    }
  }

  /** Deliver the changes after number `last`, waiting for some. @returns the last one delivered; undefined after a gap */
  async #advance(last: number | undefined): Promise<number | undefined> {
    const losses = this.#losses;
    if (last === undefined) {
      const newest = await this.#newest();
      this.#tell((listener) => listener.onGap());
      for await (const change of this.#options.survey()) this.#deliver(change);
      return losses === this.#losses ? newest : undefined;
    }
    const { redis, stream } = this.#options;
    const reply = await redis.xread("COUNT", PAGE, "BLOCK", BLOCK_MS, "STREAMS", stream, `0-${last}`);
    const entries = reply?.[0]?.[1] ?? [];
    // Nobody is told of what a failover could take back.
    if (entries.length > 0 && losses === this.#losses) await confirmed(redis);
    if (losses !== this.#losses) return this.#gap(last);
    if (entries.length === 0) return (await this.#newest()) < last ? this.#gap(last) : last;
    if (serialOf(entries[0]) !== last + 1) return this.#gap(last);
    for (const [, [id, status]] of entries) this.#deliver({ id: Number(id), status: status as JobStatus });
    return serialOf(entries.at(-1));
  }

  #gap(last: number): undefined {
    this.#options.logger.warn({ after: last }, "changes of jobs were missed; reporting every job");
  }

  #newest(): Promise<number> {
    return newestChange(this.#options.redis, this.#options.stream);
  }

  #tellReached(): void {
    for (const { serial, resolve } of this.#expecting) if (this.#last !== undefined && this.#last >= serial) resolve();
  }

  #deliver(change: JobChange): void {
    this.#tell((listener) => listener.onChange(change), { job: change.id });
  }

  #tell(call: (listener: ChangeListener) => void, about: object = {}): void {
    if (this.#closed) return;
    for (const listener of this.#listeners) {
      try {
        call(listener);
      } catch (error) {
        this.#options.logger.error({ err: error, ...about }, "a listener to changes of jobs failed");
      }
    }
  }
}

/** The number of the ledger's last change; 0 before the first. */
export async function newestChange(redis: Redis, stream: string): Promise<number> {
  const [entry] = await redis.xrevrange(stream, "+", "-", "COUNT", 1);
  return entry === undefined ? 0 : serialOf(entry);
}

function serialOf(entry: readonly [id: string, fields: readonly string[]] | undefined): number {
  return Number(entry?.[0].split("-")[1]);
}
