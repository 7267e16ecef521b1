/** Changes of all that Redis holds, which no master may see halfway. */
import { OpPrereqError } from "@gannet/errors";
import { RedisLeaderElection, raiseEpoch } from "@gannet/locking";
import { connectRedis, type Redis, type RedisAddress, redisReady, redisUnavailable } from "@gannet/redis";

const READY_TIMEOUT_MS = 10_000;
/** Longer than a lease that a master left behind without resigning. */
const LEASE_TIMEOUT_MS = 15_000;

/**
 * Lead, for as long as `work` takes, where no master runs.
 * @param work - is given a connection and the epoch to write with
 * @param aboveEpoch - a Redis that has lost its data would begin again at 1, and nodes refuse what they have left behind
 * @throws OpPrereqError (wrong_state) while a master is connected or leads; Unavailable; whatever `work` throws
 */
export async function withoutMasters<T>(
  address: RedisAddress,
  work: (redis: Redis, fence: { readonly epoch: number }) => Promise<T>,
  { aboveEpoch = 0 }: { readonly aboveEpoch?: number } = {},
): Promise<T> {
  const redis = connectRedis(address, { name: "admin" });
  try {
    await redisReady(redis, { timeoutMs: READY_TIMEOUT_MS });
    await refuseMasters(redis);
    await raiseEpoch(redis, aboveEpoch);
    const leadership = await new RedisLeaderElection(redis, { holder: "gannet-admin" })
      .campaign(AbortSignal.timeout(LEASE_TIMEOUT_MS))
      .catch((cause: unknown) => {
        throw running("a master has led only just now, or leads from elsewhere", cause);
      });
    try {
      return await work(redis, { epoch: leadership.epoch });
    } finally {
      await leadership.resign();
    }
  } finally {
    redis.disconnect();
  }
}

/** Masters name their connections `master:…`. */
async function refuseMasters(redis: Redis): Promise<void> {
  const clients = await redis.client("LIST").catch((error: unknown) => {
    throw redisUnavailable(error);
  });
  const master = /addr=(\S+).* name=master:/.exec(String(clients));
  if (master !== null) throw running(`a master is connected from ${master[1]}`);
}

function running(what: string, cause?: unknown): OpPrereqError {
  return new OpPrereqError(
    `Not while masters run: ${what}. Stop gannet-master on all machines first (systemctl stop gannet-master)`,
    "wrong_state",
    { cause },
  );
}
