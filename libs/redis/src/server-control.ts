/**
 * What one Redis or one Sentinel is told when masters come and go, over the wire. Both keep it in their own files. Each
 * function looks first, so that a server which is as it should be is left alone.
 * Commands: https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/
 */
import type { Redis } from "ioredis";
import { connectRedis, parseRedisAddress, type RedisSecrets, redisReady } from "./connection.ts";
import { replicaPriority } from "./server-configuration.ts";
import { redisUnavailable } from "./unavailable.ts";

export interface RedisSettings {
  readonly minReplicasToWrite: number;
  /** Whether it may follow a primary that dies. */
  readonly promotable: boolean;
}

/** How a server stands in the replication. */
export interface ReplicationState {
  /** Of the history that the server has: all that follow one primary have the same. */
  readonly history: string;
  /** It follows no other. */
  readonly leads: boolean;
  /** It leads, or is in touch with the one that does and has received all that was there when it began. */
  readonly isInStep: boolean;
}

/** Long enough for a busy machine; a dead one keeps nothing else waiting. */
const ANSWER_MS = 2_000;
/** Sentinels that watch the same name greet each other every two seconds. */
const HELLO_LIMIT_MS = 10_000;

/**
 * Straight to one server or sentinel, for as long as `use` takes.
 * @param place - `host:port`
 * @throws Unavailable
 */
export async function atServer<T>(
  place: string,
  secrets: RedisSecrets,
  use: (server: Redis) => Promise<T>,
): Promise<T> {
  const scheme = secrets.ca === undefined ? "redis" : "rediss";
  const server = connectRedis(parseRedisAddress(`${scheme}://${place}`, secrets), { name: "settings" });
  try {
    await redisReady(server, { timeoutMs: ANSWER_MS });
    return await use(server);
  } catch (error) {
    throw redisUnavailable(error);
  } finally {
    server.disconnect();
  }
}

export async function replicationStateOf(server: Redis): Promise<ReplicationState> {
  const info = await server.info("replication");
  const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1] ?? "";
  const leads = field("role") === "master";
  return { history: field("master_replid"), leads, isInStep: leads || field("master_link_status") === "up" };
}

/** @returns whether anything was to be changed */
export async function settleRedis(server: Redis, { minReplicasToWrite, promotable }: RedisSettings): Promise<boolean> {
  const wanted = {
    "min-replicas-to-write": String(minReplicasToWrite),
    "replica-priority": String(replicaPriority({ promotable })),
  };
  const present = pairs(await server.call("CONFIG", "GET", ...Object.keys(wanted)));
  const changed = Object.entries(wanted).filter(([name, value]) => present.get(name) !== value);
  if (changed.length === 0) return false;
  await server.call("CONFIG", "SET", ...changed.flat());
  await server.call("CONFIG", "REWRITE");
  return true;
}

/** @returns whether anything was to be changed */
export async function settleSentinel(sentinel: Redis, name: string, quorum: number): Promise<boolean> {
  const present = pairs(await sentinel.call("SENTINEL", "MASTER", name));
  if (present.get("quorum") === String(quorum)) return false;
  await sentinel.call("SENTINEL", "SET", name, "quorum", String(quorum));
  return true;
}

/**
 * Whether a sentinel knows a Redis as the primary or one of its replicas. It asks the primary for these every ten
 * seconds; one that it does not know yet it leaves behind in a failover, looking for the primary that is gone.
 * @param redis - `host:port`
 */
export async function knowsRedis(sentinel: Redis, name: string, redis: string): Promise<boolean> {
  const primary = pairs(await sentinel.call("SENTINEL", "MASTER", name));
  const replicas = ((await sentinel.call("SENTINEL", "REPLICAS", name)) as readonly unknown[]).map(pairs);
  return [primary, ...replicas].some((server) => placeOf(server) === redis);
}

/**
 * Lead a server to the primary that a sentinel watches, when it leads by itself or looks for another one in vain, and the
 * sentinel does not know it: those that it knows it leads itself.
 * @param redis - `host:port` of the server
 * @returns whether it was led
 * @throws what Redis or the sentinel refuses
 */
export async function leadBack(
  server: Redis,
  sentinel: Redis,
  { name, redis }: { readonly name: string; readonly redis: string },
): Promise<boolean> {
  const { leads, isInStep } = await replicationStateOf(server);
  if ((isInStep && !leads) || (await knowsRedis(sentinel, name, redis))) return false;
  const primary = pairs(await sentinel.call("SENTINEL", "MASTER", name));
  // Any other flag: it is down, or just being followed by another.
  if (primary.get("flags") !== "master") return false;
  await server.call("REPLICAOF", primary.get("ip") ?? "", primary.get("port") ?? "");
  await server.call("CONFIG", "REWRITE");
  return true;
}

/**
 * A sentinel counts all others that it has ever met when it looks for a majority. Those that are gone for good, and
 * greet it no more, are forgotten: it meets the others again within seconds.
 * @param others - `host:port` of the sentinels that there are
 * @returns whether it knows others than these: no; not any more; or yet, because it has just been greeted by them, or is
 *   in the middle of a failover
 */
export async function forgetSentinels(
  sentinel: Redis,
  name: string,
  others: ReadonlySet<string>,
): Promise<"none" | "forgotten" | "yet"> {
  const peers = ((await sentinel.call("SENTINEL", "SENTINELS", name)) as readonly unknown[]).map(pairs);
  const strangers = peers.filter((peer) => !others.has(placeOf(peer)));
  if (strangers.length === 0) return "none";
  const areSilent = strangers.every((peer) => Number(peer.get("last-hello-message")) > HELLO_LIMIT_MS);
  const isQuiet = pairs(await sentinel.call("SENTINEL", "MASTER", name)).get("flags") === "master";
  if (!areSilent || !isQuiet) return "yet";
  await sentinel.call("SENTINEL", "RESET", name);
  return "forgotten";
}

/** A sentinel that is none of the cluster's any more watches nothing, and has no vote. */
export async function dismissSentinel(sentinel: Redis, name: string): Promise<void> {
  await sentinel.call("SENTINEL", "REMOVE", name);
}

/** `host:port` of what a sentinel tells of. */
function placeOf(told: ReadonlyMap<string, string>): string {
  const [ip = "", port = ""] = [told.get("ip"), told.get("port")];
  return `${ip.includes(":") ? `[${ip}]` : ip}:${port}`;
}

function pairs(reply: unknown): ReadonlyMap<string, string> {
  const texts = (reply as readonly unknown[]).map(String);
  return new Map(texts.flatMap((text, index) => (index % 2 === 0 ? [[text, texts[index + 1] ?? ""] as const] : [])));
}
