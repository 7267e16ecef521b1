/**
 * The files that a Redis of a master candidate and the Sentinel beside it are started with; pure text.
 *
 * Both servers rewrite their file themselves (a failover changes who copies whom), so each is written once, when the
 * machine is set up, and belongs to the server's user from then on. They hold passwords: write them with mode 0600.
 * What the directives mean: https://redis.io/docs/latest/operate/oss_and_stack/management/config/ and
 * https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/
 */
import { isIP } from "node:net";
import { OpPrereqError } from "@gannet/errors";

/** Absolute paths of PEM files. Whoever connects has to show a certificate of the same authority. */
export interface ServerTlsFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

/** An address of IPv4 or IPv6, never a name: a cluster's own store must not depend on a name server. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

interface ServerOptions {
  /** Where it keeps its data: absolute, its user's own. */
  readonly directory: string;
  /** This machine's address in the cluster, and the port. It listens there and on 127.0.0.1, nowhere else. */
  readonly listen: Endpoint;
  /** The same on all machines. */
  readonly password: string;
  readonly tls: ServerTlsFiles;
}

export interface RedisServerOptions extends ServerOptions {
  /** The server that it copies at first; absent for the first one of a cluster. */
  readonly primary?: Endpoint;
  /**
   * How many replicas must be in touch, or writes are refused: half of the other servers, rounded up, so that the
   * primary and those make a majority; 0 for a single server.
   */
  readonly minReplicasToWrite: number;
  /** False for one that has not shown yet that it has everything: it is not promoted. */
  readonly promotable?: boolean;
  /** Beyond it writes are refused; data are never evicted. Without a limit the machine's memory is one. */
  readonly maxMemoryMib?: number;
}

export interface SentinelOptions extends ServerOptions {
  /** By which clients ask for it: the path of `sentinel://…/name`. */
  readonly name: string;
  /** The server that leads at this moment. */
  readonly primary: Endpoint;
  /** How many sentinels must find the primary gone: a majority of all. */
  readonly quorum: number;
  /** For how long the primary must be silent. */
  readonly downAfterMs?: number;
}

/** By which sentinels and clients know the Redis of a cluster. */
export const SENTINEL_NAME = "gannet";

/** A replica that has not been heard of for so long does not count for `min-replicas-to-write`. */
const REPLICA_LAG_S = 5;
/** A broken link between servers is noticed after so long. */
const REPLICATION_TIMEOUT_S = 10;
/** A replica that was away for less than this many changes need not copy everything anew. */
const BACKLOG = "64mb";
/** Each master has about ten connections, and each waiting client none of its own. */
const MAX_CLIENTS = 1_000;
/** Time enough for a machine that is merely busy; the lease of a leader lasts as long. */
const DOWN_AFTER_MS = 5_000;
/** A failover that came to nothing is tried again after twice this time. */
const FAILOVER_TIMEOUT_MS = 15_000;

/** `redis.conf` of a master candidate. @throws OpPrereqError (wrong_input) naming what cannot stand in it */
export function redisConfiguration(options: RedisServerOptions): string {
  const { primary, minReplicasToWrite, maxMemoryMib, password, listen, promotable = true } = options;
  return text([
    ...serverLines(options),
    `masterauth ${quoted(password)}`,
    "appendonly yes",
    // What was answered is on disk; when the disk takes no more the server ends, and a replica takes its place.
    "appendfsync always",
    // The append-only file is the only record; snapshots beside it would only cost disk writes.
    'save ""',
    "maxmemory-policy noeviction",
    ...(maxMemoryMib === undefined ? [] : [`maxmemory ${whole(maxMemoryMib, "maxMemoryMib")}mb`]),
    `maxclients ${MAX_CLIENTS}`,
    `min-replicas-to-write ${whole(minReplicasToWrite, "minReplicasToWrite")}`,
    `min-replicas-max-lag ${REPLICA_LAG_S}`,
    `repl-timeout ${REPLICATION_TIMEOUT_S}`,
    "repl-ping-replica-period 2",
    `repl-backlog-size ${BACKLOG}`,
    "repl-diskless-sync yes",
    "repl-diskless-sync-delay 0",
    "replica-read-only yes",
    `replica-priority ${replicaPriority({ promotable })}`,
    `replica-announce-ip ${listen.address}`,
    `replica-announce-port ${whole(listen.port, "port")}`,
    ...(primary === undefined ? [] : [`replicaof ${endpoint(primary)}`]),
  ]);
}

/** `sentinel.conf` of a master candidate. @throws OpPrereqError (wrong_input) naming what cannot stand in it */
export function sentinelConfiguration(options: SentinelOptions): string {
  const { name, primary, quorum, password, listen, downAfterMs = DOWN_AFTER_MS } = options;
  if (!/^[\w.-]+$/.test(name)) throw unusable("name", name);
  return text([
    ...serverLines(options),
    `sentinel announce-ip ${listen.address}`,
    `sentinel announce-port ${whole(listen.port, "port")}`,
    `sentinel sentinel-pass ${quoted(password)}`,
    `sentinel monitor ${name} ${endpoint(primary)} ${whole(quorum, "quorum")}`,
    `sentinel auth-pass ${name} ${quoted(password)}`,
    `sentinel down-after-milliseconds ${name} ${whole(downAfterMs, "downAfterMs")}`,
    `sentinel failover-timeout ${name} ${FAILOVER_TIMEOUT_MS}`,
    `sentinel parallel-syncs ${name} 1`,
    // Nobody who reaches it over the network can make it run a program.
    "sentinel deny-scripts-reconfig yes",
  ]);
}

/** Redis' own two: one that may be promoted has its default, and 0 stands for never. */
export function replicaPriority({ promotable }: { readonly promotable: boolean }): number {
  return promotable ? 100 : 0;
}

function serverLines({ directory, listen, password, tls }: ServerOptions): readonly string[] {
  return [
    `bind ${[...new Set(["127.0.0.1", address(listen)])].join(" ")}`,
    "protected-mode yes",
    "port 0",
    `tls-port ${whole(listen.port, "port")}`,
    `tls-cert-file ${quoted(absolute(tls.certificateFile))}`,
    `tls-key-file ${quoted(absolute(tls.keyFile))}`,
    `tls-ca-cert-file ${quoted(absolute(tls.caFile))}`,
    "tls-auth-clients yes",
    "tls-replication yes",
    'tls-protocols "TLSv1.3"',
    `requirepass ${quoted(password)}`,
    `dir ${quoted(absolute(directory))}`,
    "daemonize no",
    "supervised auto",
    "tcp-keepalive 15",
    // An empty name is the standard output, which the service's supervisor keeps.
    'logfile ""',
  ];
}

function text(lines: readonly string[]): string {
  return `# Written when this machine was set up; the server itself keeps it from then on.\n${lines.join("\n")}\n`;
}

function endpoint(place: Endpoint): string {
  return `${address(place)} ${whole(place.port, "port")}`;
}

function address(place: Endpoint): string {
  if (isIP(place.address) === 0) throw unusable("address", place.address);
  return place.address;
}

function absolute(path: string): string {
  if (!path.startsWith("/")) throw unusable("path", path);
  return path;
}

function whole(value: number, what: string): number {
  if (!Number.isSafeInteger(value) || value < 0) throw unusable(what, String(value));
  return value;
}

/** Redis reads backslashes and quotes inside quotes; nothing that is used here needs either. */
function quoted(value: string): string {
  // Its own value is not repeated: it may be a password.
  if (value === "" || /[\p{Cc}"\\]/u.test(value))
    throw new OpPrereqError(
      "A value for Redis' configuration is empty or holds quotes or control characters",
      "wrong_input",
    );
  return `"${value}"`;
}

function unusable(what: string, value: string): OpPrereqError {
  return new OpPrereqError(`Not usable in Redis' configuration as ${what}: ${JSON.stringify(value)}`, "wrong_input");
}
