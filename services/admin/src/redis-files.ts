/** What the Redis and the Sentinel of a master's machine are started with. Pure. */
import path from "node:path";
import { replicationOf, SYSTEM_LAYOUT, type SYSTEM_PORTS } from "@gannet/objects";
import { IDENTITY_FILES } from "@gannet/pki";
import { type Endpoint, redisConfiguration, SENTINEL_NAME, sentinelConfiguration } from "@gannet/redis";

export interface RedisFacts {
  /** Of this machine. */
  readonly address: string;
  readonly ports: Readonly<Record<keyof Pick<typeof SYSTEM_PORTS, "redis" | "sentinel">, number>>;
  readonly password: string;
  /** With this machine's; the leader keeps what follows from it in step afterwards. */
  readonly masters: number;
  /** The server that takes writes now; absent for the first one of a cluster. */
  readonly primary?: Endpoint;
}

/** @returns their texts, by their files' names in the layout */
export function redisFiles(places: { at(name: string): string }, facts: RedisFacts): Readonly<Record<string, string>> {
  const { address, ports, password, masters, primary } = facts;
  const identity = (file: keyof typeof IDENTITY_FILES) =>
    path.join(places.at(SYSTEM_LAYOUT.redisTlsDir), IDENTITY_FILES[file]);
  const tls = { caFile: identity("ca"), certificateFile: identity("cert"), keyFile: identity("key") };
  const { quorum, replicasToWrite } = replicationOf(masters);
  const redis = {
    ...{ directory: places.at(SYSTEM_LAYOUT.redisDir), listen: { address, port: ports.redis }, password, tls },
    minReplicasToWrite: replicasToWrite,
    ...(primary === undefined ? {} : { primary, promotable: false }),
  };
  const sentinel = {
    ...{ directory: places.at(SYSTEM_LAYOUT.sentinelDir), listen: { address, port: ports.sentinel }, password, tls },
    ...{ name: SENTINEL_NAME, primary: primary ?? { address, port: ports.redis }, quorum },
  };
  return {
    [SYSTEM_LAYOUT.redisConfigFile]: redisConfiguration(redis),
    [SYSTEM_LAYOUT.sentinelConfigFile]: sentinelConfiguration(sentinel),
  };
}
