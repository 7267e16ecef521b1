/**
 * What a leader writes down for the next one, beside the configuration: it changes too often to be a part of it, is in
 * no snapshot, and a cluster goes on without it.
 */
import { FENCE_PRELUDE } from "@gannet/locking";
import { defineScript, EPOCH_KEY, luaFile, type Redis, redisKey, redisUnavailable } from "@gannet/redis";
import type { Fence } from "./config-store-contract.ts";

export interface LeaderNotes {
  /** The note as JSON has it; undefined when there is none, or what is there is no JSON. @throws Unavailable */
  read(name: string): Promise<unknown>;
  /** Replace the note; on disk, and on enough replicas, before it returns. @throws StaleEpoch, Unavailable */
  write(name: string, note: unknown, fence: Fence): Promise<void>;
}

/** Of the masters' Redis servers and sentinels, by the master's node. It tells of machines: a restored cluster begins without. */
export const MASTER_SERVERS_NOTE = "master-servers";

const NOTES_KEY = redisKey("notes");
const writeNote = defineScript({
  name: "config-store/leader-note",
  lua: FENCE_PRELUDE + luaFile(import.meta.dirname, "lua/leader-note.lua"),
  keys: 2,
  confirmed: true,
});

/** Without a leader: for a cluster that is put on other machines. */
export async function forgetMasterServers(redis: Redis): Promise<void> {
  await redis.hdel(NOTES_KEY, MASTER_SERVERS_NOTE);
}

/** The connection stays the caller's to close. */
export class RedisLeaderNotes implements LeaderNotes {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async read(name: string): Promise<unknown> {
    const text = await this.#redis.hget(NOTES_KEY, name).catch((error: unknown) => {
      throw redisUnavailable(error);
    });
    if (text === null) return undefined;
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  }

  async write(name: string, note: unknown, { epoch }: Fence): Promise<void> {
    await writeNote.run(this.#redis, [EPOCH_KEY, NOTES_KEY], [epoch, name, JSON.stringify(note)]);
  }
}
