/** The cluster's epoch beside the election: read, and put right after Redis has lost it. */
import { defineScript, EPOCH_KEY, luaFile, type Redis, redisUnavailable } from "@gannet/redis";

const raise = defineScript({
  name: "locking/leader-raise-epoch",
  lua: luaFile(import.meta.dirname, "lua/leader-raise-epoch.lua"),
  keys: 1,
  confirmed: true,
});

/** Of the present leader, or the last one; 0 when there has been none. @throws Unavailable */
export async function presentEpoch(redis: Redis): Promise<number> {
  const epoch = await redis.get(EPOCH_KEY).catch((error: unknown) => {
    throw redisUnavailable(error);
  });
  return Number(epoch ?? 0);
}

/**
 * See to it that the next leader's epoch is above `epoch`: nodes refuse lower ones than they have seen, and a Redis
 * that lost its data would begin again at 1. @throws Unavailable
 */
export async function raiseEpoch(redis: Redis, epoch: number): Promise<void> {
  await raise.run(redis, [EPOCH_KEY], [epoch]);
}
