/** Connections to Redis, the only ones in this project: over a unix socket, by URL, or through Sentinel. */
import { OpPrereqError } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";
import { type RedisOptions as AllRedisOptions, Redis, SentinelConnector, SentinelIterator } from "ioredis";
import { FailoverWatch } from "./failover-watch.ts";
import { patiently } from "./patience.ts";
import { confirmBy, type ReplicationRule } from "./replication.ts";
import { redisUnavailable } from "./unavailable.ts";

/** How a daemon proves who it is, and knows that it speaks with the cluster's own servers. Passwords never stand in an address. */
export interface RedisSecrets {
  readonly password?: string;
  /** PEM text of the authority that signed the servers' certificates; it makes the connection TLS. */
  readonly ca?: string;
  /** PEM texts that the client shows to servers which ask for a certificate. */
  readonly certificate?: { readonly cert: string; readonly key: string };
  /** Asked for at each new connection, where authority and certificate may change while the process runs. */
  readonly current?: () => RedisTls;
}

/** Both sides of a TLS connection: whom the client trusts, and what it shows. */
export type RedisTls = Pick<RedisSecrets, "ca" | "certificate">;

export interface SentinelPlace {
  readonly host: string;
  readonly port: number;
}

/** Where Redis is. */
export type RedisAddress = (
  | { readonly kind: "socket"; readonly path: string }
  | { readonly kind: "url"; readonly url: string }
  | {
      readonly kind: "sentinel";
      /** Grows when {@link learnSentinels} is told of more. */
      readonly sentinels: SentinelPlace[];
      /** The name by which the sentinels know the Redis they watch. */
      readonly name: string;
    }
) &
  RedisSecrets & {
    /** Scripts that are declared `confirmed` wait accordingly; without it they wait for nothing but the server's disk. */
    readonly replication?: ReplicationRule;
  };

export type SentinelAddress = RedisAddress & { readonly kind: "sentinel" };

export interface ConnectionOptions {
  /** Shown by `CLIENT LIST` and in logs: `master:ledger`. */
  readonly name: string;
  /**
   * For connections that wait inside a command (`XREAD BLOCK`, BullMQ's workers): commands queue until Redis is
   * back and unanswered ones are sent again, so only use it for commands that may run twice.
   */
  readonly blocking?: boolean;
  /** Told once when the connection is lost, and once when it is back. */
  readonly logger?: Logger;
}

/** Without the one option that would change the shape of replies. */
type RedisOptions = Omit<AllRedisOptions, "replyMapping">;

const CONNECT_TIMEOUT_MS = 5_000;
/** Longest pause between two attempts to reconnect; attempts never end. */
const MAX_RECONNECT_DELAY_MS = 1_000;
/**
 * A server that owes an answer and sends nothing for so long is given up and connected to anew. It covers a peer
 * that vanished without closing (TCP alone takes a quarter of an hour to notice) and a stopped process.
 */
const SILENCE_LIMIT_MS = 10_000;
/** Blocking commands are asked to wait less than this (see the ledger's stream reader, and BullMQ's 10 s). */
const BLOCKING_SILENCE_LIMIT_MS = 30_000;
const SENTINEL_PORT = 26_379;
/** Of several servers one may be switched off, and the way to the others must not take as long as a leader's lease. */
const SENTINEL_CONNECT_TIMEOUT_MS = 1_500;
/** What a server says that is a replica, loads its data, or has just changed sides. */
const NOT_THE_PRIMARY = /^(READONLY|LOADING|MASTERDOWN|UNBLOCKED) /;

/**
 * Open a connection that reconnects for ever with a bounded pause. It is usable at once.
 *
 * While there is no connection a command waits for the next attempt and is refused when that fails, so it waits
 * for some seconds at most. A command whose connection breaks before its answer came is refused and never sent
 * a second time: whether it ran is unknown. Through Sentinel commands are refused at once while there is no
 * connection, because one endless attempt goes round all sentinels: wait with {@link redisReady} at start.
 *
 * The caller closes it with `quit()` or `disconnect()`.
 */
export function connectRedis(address: RedisAddress, options: ConnectionOptions): Redis {
  const redis = new SteadyRedis({ ...endpointOptions(address), ...behaviour(options, address.kind) }, watchOf(address));
  const { replication } = address;
  if (replication !== undefined) confirmBy(redis, replication);
  logTransitions(redis, options);
  return redis;
}

/**
 * From now on the process asks these sentinels, too: each connection with this address when it looks for the primary
 * the next time, and at once whoever listens for failovers. The address keeps those that it has.
 */
export function learnSentinels(address: SentinelAddress, sentinels: readonly SentinelPlace[]): void {
  const known = new Set(address.sentinels.map(({ host, port }) => `${host} ${port}`));
  const added = sentinels.filter(({ host, port }) => !known.has(`${host} ${port}`));
  address.sentinels.push(...added);
  FailoverWatch.learn(address, added);
}

/** Goes round the address's own list, which grows; a round may last until there is a sentinel that answers. */
class LearningIterator extends SentinelIterator {
  readonly #known: readonly SentinelPlace[];

  constructor(known: SentinelPlace[]) {
    super(known);
    this.#known = known;
  }

  override next(): ReturnType<SentinelIterator["next"]> {
    for (const place of this.#known) this.add(place);
    return super.next();
  }
}

class LearningConnector extends SentinelConnector {
  constructor(options: ConstructorParameters<typeof SentinelConnector>[0]) {
    super(options);
    this.sentinelIterator = new LearningIterator(options.sentinels as SentinelPlace[]);
  }
}

/** A connection that goes on until its owner closes it, whatever happens while it connects. */
class SteadyRedis extends Redis {
  readonly #watch: FailoverWatch | undefined;
  #isClosed = false;

  constructor(options: RedisOptions, watch: FailoverWatch | undefined) {
    super(options);
    this.#watch = watch;
    watch?.add(this);
    // ioredis gives it up for good when it is told to reconnect while it asks the sentinels (tried with 6.0).
    this.on("end", () => {
      if (!this.#isClosed) setTimeout(() => this.#connectAgain(), reconnectDelay(1)).unref();
    });
  }

  override disconnect(reconnect = false): void {
    if (!reconnect) this.#close();
    super.disconnect(reconnect);
  }

  override quit(...args: Parameters<Redis["quit"]>): ReturnType<Redis["quit"]> {
    this.#close();
    return super.quit(...args);
  }

  /** BullMQ makes the connections that wait by this. */
  override duplicate(override: Partial<RedisOptions> = {}): Redis {
    return new SteadyRedis({ ...this.options, ...override }, this.#watch);
  }

  #close(): void {
    this.#isClosed = true;
    this.#watch?.remove(this);
  }

  #connectAgain(): void {
    if (!this.#isClosed && this.status === "end") this.connect().catch(() => undefined);
  }
}

function watchOf(address: RedisAddress): FailoverWatch | undefined {
  if (address.kind !== "sentinel") return undefined;
  const secrets = secretsOf(address);
  const scheme = address.ca === undefined ? "redis" : "rediss";
  return FailoverWatch.of(address, ({ host, port }) => {
    const url = `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
    const options = { name: "sentinel-watch", blocking: true };
    const sentinel = new Redis({ ...endpointOptions({ kind: "url", url, ...secrets }), ...behaviour(options, "url") });
    // A listener must exist: ioredis writes to the console otherwise. The connections themselves tell of trouble.
    sentinel.on("error", () => undefined);
    return sentinel;
  });
}

/** Wait until Redis answers (it has loaded its data, too). @throws Unavailable after `timeoutMs` */
export async function redisReady(redis: Redis, { timeoutMs }: { readonly timeoutMs: number }): Promise<void> {
  const ping = async () => {
    await redis.ping().catch((error: unknown) => {
      throw redisUnavailable(error);
    });
  };
  await patiently(ping, { forMs: timeoutMs });
}

/**
 * Read an address from configuration: `unix:/path`, `redis://[user@]host[:port][/db]`, `rediss://…` (TLS) or
 * `sentinel://host[:port][,host[:port]…]/name`. The password comes apart, from a file that only the daemon reads.
 * @throws OpPrereqError (wrong_input) naming what is wrong, without repeating a password
 */
export function parseRedisAddress(text: string, known: RedisSecrets = {}): RedisAddress {
  const secrets = secretsOf(known);
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    if (!path.startsWith("/")) throw badAddress("a socket's path must be absolute: unix:/run/gannet/redis.sock");
    return { kind: "socket", path, ...secrets };
  }
  if (text.startsWith("sentinel://")) return { kind: "sentinel", ...parseSentinels(text), ...secrets };
  const url = URL.parse(text);
  if (url === null || !/^rediss?:$/.test(url.protocol))
    throw badAddress("it must begin with unix:/, redis://, rediss:// or sentinel://");
  if (url.hostname === "") throw badAddress("it names no host");
  if (url.password !== "") throw badAddress("it holds a password; put the password into the password file");
  if (!/^\/?\d*$/.test(url.pathname) || url.search !== "" || url.hash !== "")
    throw badAddress("after the host only a database number may follow: redis://host:6379/0");
  return { kind: "url", url: text, ...secrets };
}

/** Nothing else of what holds them, such as another address. */
function secretsOf({ password, ca, certificate, current }: RedisSecrets): RedisSecrets {
  return {
    ...(password === undefined ? {} : { password }),
    ...(ca === undefined ? {} : { ca }),
    ...(certificate === undefined ? {} : { certificate }),
    ...(current === undefined ? {} : { current }),
  };
}

function parseSentinels(text: string): Pick<Extract<RedisAddress, { kind: "sentinel" }>, "sentinels" | "name"> {
  const match = /^sentinel:\/\/([^/@?#]+)\/([\w.-]+)$/.exec(text);
  const [, hosts, name] = match ?? [];
  if (hosts === undefined || name === undefined)
    throw badAddress("the form is sentinel://host1:26379,host2:26379/name");
  const sentinels = hosts.split(",").map((host) => {
    const url = URL.parse(`redis://${host}`);
    if (url === null || url.hostname === "") throw badAddress(`"${host}" is no host or host:port`);
    return { host: bareHost(url.hostname), port: url.port === "" ? SENTINEL_PORT : Number(url.port) };
  });
  return { sentinels, name };
}

function badAddress(reason: string): OpPrereqError {
  return new OpPrereqError(`The address of Redis is not usable: ${reason}`, "wrong_input");
}

/** IPv6 addresses stand in brackets in a URL and without them everywhere else. */
function bareHost(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, "$1");
}

function endpointOptions(address: RedisAddress): RedisOptions {
  const password = address.password === undefined ? {} : { password: address.password };
  switch (address.kind) {
    case "socket":
      return { path: address.path, ...password };
    case "url": {
      const url = new URL(address.url);
      const secure = url.protocol === "rediss:" || address.ca !== undefined;
      return {
        host: bareHost(url.hostname),
        port: url.port === "" ? 6379 : Number(url.port),
        db: Number(url.pathname.slice(1)),
        ...(url.username === "" ? {} : { username: decodeURIComponent(url.username) }),
        ...(secure ? { tls: tlsOptions(address) } : {}),
        ...password,
      };
    }
    case "sentinel":
      return {
        sentinels: address.sentinels,
        name: address.name,
        Connector: LearningConnector as NonNullable<RedisOptions["Connector"]>,
        sentinelRetryStrategy: reconnectDelay,
        sentinelCommandTimeout: SENTINEL_CONNECT_TIMEOUT_MS,
        ...(address.ca === undefined
          ? {}
          : { tls: tlsOptions(address), sentinelTLS: tlsOptions(address), enableTLSForSentinelMode: true }),
        // The sentinels have the password of the servers that they watch.
        ...(address.password === undefined ? {} : { sentinelPassword: address.password }),
        ...password,
      };
  }
}

function tlsOptions({ ca, certificate, current }: RedisSecrets): NonNullable<RedisOptions["tls"]> {
  const now = current ?? (() => ({ ca, certificate }));
  // ioredis keeps this object, and copies what it holds for each connection that it makes (tried with 6.0).
  return {
    minVersion: "TLSv1.2",
    get ca() {
      return now().ca;
    },
    get cert() {
      return now().certificate?.cert;
    },
    get key() {
      return now().certificate?.key;
    },
  };
}

function behaviour(options: ConnectionOptions, kind: RedisAddress["kind"]): RedisOptions {
  return {
    connectionName: options.name,
    connectTimeout: kind === "sentinel" ? SENTINEL_CONNECT_TIMEOUT_MS : CONNECT_TIMEOUT_MS,
    retryStrategy: reconnectDelay,
    disableClientInfo: true,
    // After a failover the address leads to another server: ask for it again.
    reconnectOnError: (error) => (kind === "sentinel" ? NOT_THE_PRIMARY : /^READONLY/).test(error.message),
    ...(options.blocking === true
      ? { maxRetriesPerRequest: null, socketTimeout: BLOCKING_SILENCE_LIMIT_MS }
      : {
          // 0: unanswered and queued commands are refused whenever a connection or an attempt ends.
          maxRetriesPerRequest: 0,
          autoResendUnfulfilledCommands: false,
          socketTimeout: SILENCE_LIMIT_MS,
          enableOfflineQueue: kind !== "sentinel",
          // Sentinel needs the check to see that it reached the primary. Elsewhere a loading server says so in
          // each answer, which is better than holding commands back for as long as it loads.
          enableReadyCheck: kind === "sentinel",
        }),
  };
}

function reconnectDelay(attempt: number): number {
  const delay = Math.min(25 * 2 ** Math.min(attempt, 16), MAX_RECONNECT_DELAY_MS);
  return Math.round(delay * (0.8 + 0.4 * Math.random()));
}

function logTransitions(redis: Redis, { name, logger }: ConnectionOptions): void {
  let down = false;
  const lost = (reason: string) => {
    if (!down) logger?.warn({ connection: name, reason }, "Redis is not reachable; reconnecting");
    down = true;
  };
  // A listener must exist: ioredis writes to the console otherwise.
  redis.on("error", (error: Error) => lost(error.message));
  redis.on("reconnecting", () => lost("the connection ended"));
  redis.on("ready", () => {
    if (down) logger?.info({ connection: name }, "Redis is reachable again");
    down = false;
  });
}
