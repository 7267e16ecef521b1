/** Which configuration a Redis holds and how far it has come, without reading it. */
import { type Redis, redisKey, redisUnavailable } from "@gannet/redis";

export interface ConfigurationMark {
  /** The cluster's UUID; undefined when there is no cluster. */
  readonly cluster: string | undefined;
  /** Grows by one with each commit; 0 when there is no cluster. */
  readonly serial: number;
}

/** @throws Unavailable */
export async function readConfigurationMark(redis: Redis): Promise<ConfigurationMark> {
  try {
    const [serial, [cluster]] = await Promise.all([
      redis.get(redisKey("config", "serial")),
      redis.hkeys(redisKey("config", "cluster")),
    ]);
    return { cluster, serial: Number(serial ?? 0) };
  } catch (error) {
    throw redisUnavailable(error);
  }
}
