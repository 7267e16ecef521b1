/** Connections to Redis, the only ones in this project: over a unix socket, by URL, or through Sentinel. */
import { OpPrereqError } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";
import { type RedisOptions as AllRedisOptions, Redis } from "ioredis";
import { patiently } from "./patience.ts";
import { redisUnavailable } from "./unavailable.ts";

/** Where Redis is. `ca` is a PEM text and makes the connection TLS; passwords never stand in `url`. */
export type RedisAddress =
  | { readonly kind: "socket"; readonly path: string; readonly password?: string }
  | { readonly kind: "url"; readonly url: string; readonly password?: string; readonly ca?: string }
  | {
      readonly kind: "sentinel";
      readonly sentinels: readonly { readonly host: string; readonly port: number }[];
      /** The name by which the sentinels know the Redis they watch. */
      readonly name: string;
      readonly password?: string;
      readonly ca?: string;
    };

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
  const redis = new Redis({ ...endpointOptions(address), ...behaviour(options, address.kind) });
  logTransitions(redis, options);
  return redis;
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
export function parseRedisAddress(
  text: string,
  secrets: { readonly password?: string; readonly ca?: string } = {},
): RedisAddress {
  const password = secrets.password === undefined ? {} : { password: secrets.password };
  const ca = secrets.ca === undefined ? {} : { ca: secrets.ca };
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    if (!path.startsWith("/")) throw badAddress("a socket's path must be absolute: unix:/run/gannet/redis.sock");
    return { kind: "socket", path, ...password };
  }
  if (text.startsWith("sentinel://")) return { kind: "sentinel", ...parseSentinels(text), ...password, ...ca };
  const url = URL.parse(text);
  if (url === null || !/^rediss?:$/.test(url.protocol))
    throw badAddress("it must begin with unix:/, redis://, rediss:// or sentinel://");
  if (url.hostname === "") throw badAddress("it names no host");
  if (url.password !== "") throw badAddress("it holds a password; put the password into the password file");
  if (!/^\/?\d*$/.test(url.pathname) || url.search !== "" || url.hash !== "")
    throw badAddress("after the host only a database number may follow: redis://host:6379/0");
  return { kind: "url", url: text, ...password, ...ca };
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
        ...(secure ? { tls: tlsOptions(address.ca) } : {}),
        ...password,
      };
    }
    case "sentinel":
      return {
        sentinels: [...address.sentinels],
        name: address.name,
        sentinelRetryStrategy: reconnectDelay,
        sentinelCommandTimeout: CONNECT_TIMEOUT_MS,
        failoverDetector: true,
        ...(address.ca === undefined
          ? {}
          : { tls: tlsOptions(address.ca), sentinelTLS: tlsOptions(address.ca), enableTLSForSentinelMode: true }),
        ...password,
      };
  }
}

function tlsOptions(ca: string | undefined): NonNullable<RedisOptions["tls"]> {
  return { minVersion: "TLSv1.2", ...(ca === undefined ? {} : { ca }) };
}

function behaviour(options: ConnectionOptions, kind: RedisAddress["kind"]): RedisOptions {
  return {
    connectionName: options.name,
    connectTimeout: CONNECT_TIMEOUT_MS,
    retryStrategy: reconnectDelay,
    disableClientInfo: true,
    // A replica answers READONLY: after a failover the address leads to the new one, so ask for it again.
    reconnectOnError: (error) => error.message.startsWith("READONLY"),
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
