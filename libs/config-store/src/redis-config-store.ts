/** The configuration store over Redis: a complete typed copy in memory, and commits that compare before they set. */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { ConfigurationConflict, ConfigurationError } from "@gannet/errors";
import { FENCE_PRELUDE } from "@gannet/locking";
import type { ConfigView } from "@gannet/objects";
import {
  confirmed,
  connectRedis,
  defineScript,
  EPOCH_KEY,
  luaFile,
  patiently,
  type Redis,
  type RedisAddress,
  redisReady,
  redisUnavailable,
} from "@gannet/redis";
import type { Logger } from "@gannet/telemetry";
import { changesBetween, rowOf, storedRow } from "./config-rows.ts";
import type { ConfigChange, ConfigStore, Fence } from "./config-store-contract.ts";
import { configViewOf, type MemoryConfigView } from "./config-view.ts";
import { CONFIG_PREFIX, readConfiguration } from "./redis-configuration.ts";
import { parseChanges, stamped } from "./stored-rows.ts";
import { valueMoves, valueTaken } from "./unique-values.ts";

export interface RedisConfigStoreOptions {
  readonly address: RedisAddress;
  /** Of its connections: `master` becomes `master:config` and `master:config-changes`. */
  readonly name: string;
  readonly logger: Logger;
  /** How long to wait for Redis, and for a cluster in it. */
  readonly waitMs?: number;
  /** Milliseconds since 1970, for `mtime`. */
  readonly clock?: () => number;
}

type Change = (view: ConfigView) => readonly ConfigChange[];
type Listener = (view: ConfigView, changed: readonly ConfigChange[]) => void;
/** Of the stream: `<serial>-0`, and one field with the rows of that commit. */
type StreamEntry = readonly [id: string, fields: readonly string[]];
/** A reply of config-commit.lua. */
type CommitReply =
  | readonly ["done" | "moved", serial: number, missed: readonly StreamEntry[]]
  | readonly ["taken", serial: number, missed: readonly StreamEntry[], value: string, owner: string];

const DEFAULT_WAIT_MS = 10_000;
const WAIT_PAUSE_MS = 50;
/** Only other processes' commits make one try again, and there is but one leader. */
const COMMIT_ATTEMPTS = 20;
const LONGEST_RETRY_PAUSE_MS = 250;
/** How long a commit waits for a Redis that is away, unless its caller says otherwise. */
const COMMIT_PATIENCE_MS = 60_000;
/** Longer than any answer can be late. */
const TOKEN_LIFETIME_S = 600;
/** A standby that was away for longer reads everything anew. */
const STREAM_LENGTH = 10_000;
const STREAM_KEY = `${CONFIG_PREFIX}changes`;
const PAGE = 500;
/** Below the silence that a blocking connection tolerates. */
const BLOCK_MS = 5_000;
const PAUSE_AFTER_TROUBLE_MS = 500;

const commitChanges = defineScript({
  name: "config-store/commit",
  lua: FENCE_PRELUDE + luaFile(import.meta.dirname, "lua/config-commit.lua"),
  keys: 2,
  confirmed: true,
});

export class RedisConfigStore implements ConfigStore {
  readonly #options: RedisConfigStoreOptions;
  readonly #redis: Redis;
  /** Waits inside XREAD for what other processes commit. */
  readonly #feed: Redis;
  readonly #listeners = new Set<Listener>();
  readonly #following: Promise<void>;
  #view: MemoryConfigView;
  /** The end of the last commit asked for: they run one after another. */
  #turn: Promise<unknown> = Promise.resolve();
  /** How often the feed's connection was lost. After that Redis may hold other data, even an older state. */
  #losses = 0;
  /** After how many of the losses everything was read anew. */
  #lossesMadeGood = 0;
  readonly #closing = Promise.withResolvers<void>();
  #closed = false;

  private constructor(options: RedisConfigStoreOptions, redis: Redis, view: MemoryConfigView) {
    this.#options = options;
    this.#redis = redis;
    this.#view = view;
    this.#feed = connectRedis(options.address, {
      name: `${options.name}:config-changes`,
      blocking: true,
      logger: options.logger,
    });
    this.#feed.on("close", () => {
      this.#losses += 1;
    });
    this.#feed.on("ready", () => {
      if (this.#losses > 0) void this.#recover();
    });
    this.#following = this.#follow();
  }

  /**
   * Connect and load the configuration.
   * @throws ConfigurationError when there is no cluster, or a row is not valid; Unavailable when Redis does not answer
   */
  static async open(options: RedisConfigStoreOptions): Promise<RedisConfigStore> {
    const redis = connectRedis(options.address, { name: `${options.name}:config`, logger: options.logger });
    try {
      return new RedisConfigStore(options, redis, await firstView(redis, options.waitMs ?? DEFAULT_WAIT_MS));
    } catch (error) {
      redis.disconnect();
      throw error;
    }
  }

  get view(): ConfigView {
    return this.#view;
  }

  commit(
    change: Change,
    fence: Fence,
    { patienceMs = COMMIT_PATIENCE_MS }: { readonly patienceMs?: number } = {},
  ): Promise<ConfigView> {
    const deadlineMs = performance.now() + patienceMs;
    const commit = this.#turn.then(() => this.#commit(change, fence, deadlineMs));
    this.#turn = commit.catch(() => undefined);
    return commit;
  }

  onChange(listener: Listener): () => void {
    // A closure of its own: the same function may subscribe twice.
    const entry: Listener = (view, changed) => listener(view, changed);
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  /** Commits asked for before are still carried out, if Redis is there. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#turn;
    this.#closing.resolve();
    this.#feed.disconnect();
    this.#redis.disconnect();
    await this.#following;
  }

  async #commit(change: Change, fence: Fence, deadlineMs: number): Promise<ConfigView> {
    const token = randomUUID();
    for (let attempt = 1; attempt <= COMMIT_ATTEMPTS; attempt++) {
      const base = this.#view;
      const changes = stamped(change(base), (this.#options.clock ?? Date.now)() / 1000);
      if (changes.length === 0) return base;
      const reply = await this.#send(commitArguments(base, changes, fence, token), deadlineMs);
      const [outcome, serial, missed] = reply;
      if (outcome === "done" && serial === this.#view.serial + 1) this.#advance(changes, serial);
      else await this.#catchUp(base, serial, missed);
      if (outcome === "done") return this.#view;
      if (this.#view !== base) {
        // Two processes that retry without a pause can keep in step, and one of them never come first.
        await delay(Math.random() * Math.min(2 ** attempt, LONGEST_RETRY_PAUSE_MS));
        continue;
      }
      // The same function on the same picture would only do the same again.
      if (outcome === "taken") throw valueTaken(reply[3], reply[4]);
      throw new ConfigurationConflict("The change was worked out from rows that are no longer there");
    }
    throw new ConfigurationConflict(`Other changes came first ${COMMIT_ATTEMPTS} times; try again`);
  }

  /** Sent again when Redis was away: with its token, a commit whose answer was lost is not made twice. */
  async #send(args: readonly (string | number)[], deadlineMs: number): Promise<CommitReply> {
    const send = () => commitChanges.run(this.#redis, [EPOCH_KEY, CONFIG_PREFIX], args);
    const forMs = deadlineMs - performance.now();
    return (await patiently(send, { forMs, worthRetrying: () => !this.#closed })) as CommitReply;
  }

  /** Take in what was committed up to `serial`, the newest that was seen when `base` was the view. */
  async #catchUp(base: ConfigView, serial: number, missed: readonly StreamEntry[]): Promise<void> {
    if (serial < base.serial || !this.#takeIn(missed) || this.#view.serial < serial) await this.#reload();
  }

  /** Follow the other processes' commits until closed. */
  async #follow(): Promise<void> {
    while (!this.#closed) {
      try {
        // A read that waits while its connection is down is never answered after `disconnect`.
        await Promise.race([this.#followOnce(), this.#closing.promise]);
      } catch (error) {
        if (this.#closed) return;
        this.#complain(error);
        await delay(PAUSE_AFTER_TROUBLE_MS);
      }
    }
  }

  async #followOnce(): Promise<void> {
    const from = `${this.#view.serial}-0`;
    const reply = await this.#feed.xread("COUNT", PAGE, "BLOCK", BLOCK_MS, "STREAMS", STREAM_KEY, from);
    // Nobody is told of what a failover could take back.
    if (reply !== null) await confirmed(this.#feed);
    const trusted = this.#losses === this.#lossesMadeGood;
    if (!trusted || !this.#takeIn(reply?.[0]?.[1] ?? [])) await this.#reload();
  }

  /** At once when the connection is back; when it fails, the follower does it after its next read. */
  async #recover(): Promise<void> {
    await this.#reload().catch((error: unknown) => {
      if (!this.#closed) this.#complain(error);
    });
  }

  #complain(error: unknown): void {
    this.#options.logger.error(
      { err: redisUnavailable(error) },
      "the configuration could not be followed; trying again",
    );
  }

  /** @returns false when there is a gap before or among the entries of the stream */
  #takeIn(entries: readonly StreamEntry[]): boolean {
    for (const [id, [, rows = ""]] of entries) {
      const serial = Number(id.split("-")[0]);
      // This process' own commits come by the stream, too.
      if (serial <= this.#view.serial) continue;
      if (serial !== this.#view.serial + 1) return false;
      this.#advance(parseChanges(this.#view, rows), serial);
    }
    return true;
  }

  async #reload(): Promise<void> {
    const losses = this.#losses;
    const before = this.#view.serial;
    const configuration = await readConfiguration(this.#redis);
    if (configuration === undefined) throw noCluster();
    this.#lossesMadeGood = losses;
    const { serial, rows } = configuration;
    // Newer commits were taken in while this was read; but what was older to begin with is what Redis holds now.
    if (serial < this.#view.serial && serial >= before) return;
    if (serial < before) this.#options.logger.error({ serial, before }, "Redis went back to an older configuration");
    const changes = changesBetween(this.#view, rows);
    if (changes.length > 0 || serial !== this.#view.serial) this.#advance(changes, serial);
  }

  #advance(changes: readonly ConfigChange[], serial: number): void {
    this.#view = this.#view.with(changes, serial);
    for (const listener of this.#listeners) {
      try {
        listener(this.#view, changes);
      } catch (error) {
        this.#options.logger.error({ err: error, serial }, "a listener to changes of the configuration failed");
      }
    }
  }
}

async function firstView(redis: Redis, waitMs: number): Promise<MemoryConfigView> {
  const deadline = performance.now() + waitMs;
  await redisReady(redis, { timeoutMs: waitMs });
  for (;;) {
    const configuration = await readConfiguration(redis);
    if (configuration !== undefined) return configViewOf(configuration.rows, configuration.serial);
    if (performance.now() > deadline) throw noCluster();
    await delay(WAIT_PAUSE_MS);
  }
}

function noCluster(): ConfigurationError {
  return new ConfigurationError(
    "There is no cluster in this Redis; initialise one, or look whether this is the right Redis",
  );
}

/** As config-commit.lua takes them. */
function commitArguments(
  view: MemoryConfigView,
  changes: readonly ConfigChange[],
  { epoch }: Fence,
  token: string,
): readonly (string | number)[] {
  const moves = valueMoves((kind, uuid) => storedRow(view, kind, uuid), changes);
  const rows = changes.flatMap((change) => {
    const { uuid, serialNo } = rowOf(change);
    const stored = "put" in change ? [serialNo - 1, JSON.stringify(change.put)] : [serialNo, ""];
    return [change.kind, uuid, ...stored];
  });
  return [epoch, token, TOKEN_LIFETIME_S, STREAM_LENGTH, view.serial, JSON.stringify(moves), ...rows];
}
