/**
 * The files of a machine that was one of several masters', for one that is alone: the others are joined again
 * afterwards. Pure.
 */
import { SENTINEL_NAME, sentinelConfiguration } from "@gannet/redis";

/** Whom a server copies, and without whom it takes no writes. */
const OF_SEVERAL = /^(replicaof|slaveof|min-replicas-to-write|min-slaves-to-write|replica-priority|slave-priority)\s/;

/** redis.conf of a server that copies no other, and takes writes without replicas. */
export function singleRedisConfiguration(text: string): string {
  return text
    .split("\n")
    .filter((line) => !OF_SEVERAL.test(line))
    .join("\n");
}

/** The cluster's Redis as clients find it: by the Sentinel of this machine alone. */
export interface SingleSentinel {
  readonly address: string;
  readonly port: number;
}

/**
 * Where this machine's Sentinel listens; undefined when the master's Redis is not found by sentinels.
 * @param master - master.json
 * @param redis - redis.conf, which knows the machine's address
 */
export function ownSentinel(master: string, redis: string): SingleSentinel | undefined {
  const { redis: address } = JSON.parse(master) as { readonly redis?: unknown };
  const hosts = typeof address === "string" ? /^sentinel:\/\/([^/]+)\//.exec(address)?.[1]?.split(",") : undefined;
  const own = directive(redis, "replica-announce-ip");
  if (hosts === undefined || own === undefined) return undefined;
  const host = urlHost(own);
  const port = (hosts.find((each) => each.startsWith(`${host}:`)) ?? hosts[0])?.match(/:(\d+)$/)?.[1];
  return port === undefined ? undefined : { address: own, port: Number(port) };
}

/** master.json with this machine's Sentinel only. */
export function singleMasterConfiguration(text: string, { address, port }: SingleSentinel): string {
  const { redisReplicasToWait: _, ...kept } = JSON.parse(text) as Record<string, unknown>;
  const redis = `sentinel://${urlHost(address)}:${port}/${SENTINEL_NAME}`;
  return `${JSON.stringify({ ...kept, redis }, null, 2)}\n`;
}

/**
 * sentinel.conf for a Sentinel that watches the Redis beside it, and decides alone. The one that was backed up would
 * follow the machines that there were.
 * @param redis - redis.conf
 * @returns undefined when redis.conf is not as `gannet-admin init` makes it
 */
export function singleSentinelConfiguration(
  redis: string,
  { address, port }: SingleSentinel,
  { directory, password }: { readonly directory: string; readonly password: string },
): string | undefined {
  const [certificateFile, keyFile, caFile, redisPort] = [
    directive(redis, "tls-cert-file"),
    directive(redis, "tls-key-file"),
    directive(redis, "tls-ca-cert-file"),
    directive(redis, "tls-port"),
  ];
  if (certificateFile === undefined || keyFile === undefined || caFile === undefined || redisPort === undefined)
    return undefined;
  return sentinelConfiguration({
    directory,
    listen: { address, port },
    password,
    tls: { certificateFile, keyFile, caFile },
    name: SENTINEL_NAME,
    primary: { address, port: Number(redisPort) },
    quorum: 1,
  });
}

/** A value, with or without quotes: the server that rewrites its file leaves them out. */
function directive(text: string, name: string): string | undefined {
  return new RegExp(`^${name} +"?([^"\\n]*?)"? *$`, "m").exec(text)?.[1];
}

function urlHost(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}
