/** Follows the ledger's stream of changes: one reader for a whole process, however many listen. */
import { setTimeout as delay } from "node:timers/promises";
import { type Redis, redisUnavailable } from "@gannet/redis";
import type { Logger } from "@gannet/telemetry";
import type { JobChange, JobStatus } from "./job.ts";

export interface ChangeFeedOptions {
  /** A connection of its own, on which reads wait (`blocking: true`). The feed closes it. */
  readonly redis: Redis;
  readonly stream: string;
  /** The present status of every job that is not archived. */
  readonly survey: () => AsyncIterable<JobChange>;
  readonly logger: Logger;
}

type Listener = (change: JobChange) => void;

const PAGE = 1_000;
/** After so long without a change the reader checks that the stream is still the one it follows. */
const BLOCK_MS = 5_000;
const PAUSE_AFTER_TROUBLE_MS = 200;

/**
 * Change n of the ledger is entry `0-n` of the stream, so that a gap is seen: when the reader starts, when entries
 * were trimmed before it read them, or when Redis lost data, every job that is not archived is reported once.
 */
export class ChangeFeed {
  readonly #options: ChangeFeedOptions;
  readonly #listeners = new Set<Listener>();
  #reading: Promise<void> | undefined;
  #closed = false;

  constructor(options: ChangeFeedOptions) {
    this.#options = options;
  }

  subscribe(listener: Listener): () => void {
    // A closure of its own: the same function may subscribe twice.
    const entry: Listener = (change) => listener(change);
    this.#listeners.add(entry);
    this.#reading ??= this.#read();
    return () => this.#listeners.delete(entry);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#options.redis.disconnect();
    await this.#reading;
  }

  async #read(): Promise<void> {
    let last: number | undefined;
    while (!this.#closed) {
      try {
        last = await this.#advance(last);
      } catch (cause) {
        if (this.#closed) return;
        this.#options.logger.warn({ err: redisUnavailable(cause) }, "reading changes of jobs failed; trying again");
        await delay(PAUSE_AFTER_TROUBLE_MS);
      }
    }
  }

  /** Deliver the changes after number `last`, waiting for some. @returns the last one delivered; undefined after a gap */
  async #advance(last: number | undefined): Promise<number | undefined> {
    if (last === undefined) {
      const newest = await this.#newest();
      for await (const change of this.#options.survey()) this.#deliver(change);
      return newest;
    }
    const { redis, stream } = this.#options;
    const reply = await redis.xread("COUNT", PAGE, "BLOCK", BLOCK_MS, "STREAMS", stream, `0-${last}`);
    const entries = reply?.[0]?.[1] ?? [];
    if (entries.length === 0) return (await this.#newest()) < last ? this.#gap(last) : last;
    if (serialOf(entries[0]) !== last + 1) return this.#gap(last);
    for (const [, [id, status]] of entries) this.#deliver({ id: Number(id), status: status as JobStatus });
    return serialOf(entries.at(-1));
  }

  #gap(last: number): undefined {
    this.#options.logger.warn({ after: last }, "changes of jobs were missed; reporting every job");
  }

  async #newest(): Promise<number> {
    const { redis, stream } = this.#options;
    const [entry] = await redis.xrevrange(stream, "+", "-", "COUNT", 1);
    return entry === undefined ? 0 : serialOf(entry);
  }

  #deliver(change: JobChange): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        this.#options.logger.error({ err: error, job: change.id }, "a listener to changes of jobs failed");
      }
    }
  }
}

function serialOf(entry: readonly [id: string, fields: readonly string[]] | undefined): number {
  return Number(entry?.[0].split("-")[1]);
}
