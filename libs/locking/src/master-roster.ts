/** Which masters there are, the leader and those that stand by: each says so now and then. For people and for planning. */
import { defineScript, luaFile, type Redis, redisKey, redisUnavailable } from "@gannet/redis";

/** A master that has been heard of. */
export interface KnownMaster {
  /** Its node's name. */
  readonly name: string;
  /** How long ago it was last heard of, by Redis' clock. */
  readonly silentMs: number;
  /** What it told of itself, as JSON has it. */
  readonly told: unknown;
}

const ROSTER_KEY = redisKey("masters");
/** Who has been silent for so long is gone. */
const KEPT_MS = 24 * 3_600_000;

const announce = defineScript({
  name: "locking/roster-announce",
  lua: luaFile(import.meta.dirname, "lua/roster-announce.lua"),
  keys: 1,
});

/** The connection stays the caller's to close. */
export class MasterRoster {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** @param told - anything that JSON can hold @throws Unavailable */
  async announce(name: string, told: unknown): Promise<void> {
    await announce.run(this.#redis, [ROSTER_KEY], [name, JSON.stringify(told), KEPT_MS]);
  }

  /** By name. @throws Unavailable */
  async list(): Promise<readonly KnownMaster[]> {
    try {
      const [entries, [seconds, microseconds]] = await Promise.all([
        this.#redis.hgetall(ROSTER_KEY),
        this.#redis.time() as unknown as Promise<readonly [string, string]>,
      ]);
      const nowMs = Number(seconds) * 1000 + Number(microseconds) / 1000;
      return Object.entries(entries)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, text]) => {
          const { seenMs, told } = JSON.parse(text) as { readonly seenMs: number; readonly told: unknown };
          return { name, silentMs: Math.max(0, Math.round(nowMs - seenMs)), told };
        });
    } catch (error) {
      throw redisUnavailable(error);
    }
  }
}
