/** Names of keys: every key of this project begins with one prefix. */

export const KEY_PREFIX = "gannet:";

/** `redisKey("jobs", "queued")` is `gannet:jobs:queued`. */
export function redisKey(...parts: readonly [string, ...(string | number)[]]): string {
  return KEY_PREFIX + parts.join(":");
}

/** String: the cluster's present leader epoch. It only grows; only the leader election of libs/locking writes it. */
export const EPOCH_KEY = redisKey("epoch");
