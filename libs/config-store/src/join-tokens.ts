/**
 * One-time tokens by which nodes and masters join the cluster. They are no part of the configuration: each is gone by
 * itself soon. Of its secret only a digest is kept.
 */
import { timingSafeEqual } from "node:crypto";
import { FENCE_PRELUDE } from "@gannet/locking";
import { defineScript, EPOCH_KEY, luaFile, type Redis, redisKey, redisUnavailable } from "@gannet/redis";
import type { Fence } from "./config-store-contract.ts";

export type JoinRole = "node" | "master";

/** What a token stands for. */
export interface JoinToken {
  readonly id: string;
  readonly role: JoinRole;
  readonly nodeName: string;
  /** Parameters of OP_NODE_ADD beside the name. */
  readonly options: Readonly<Record<string, unknown>>;
  /** The user who has made it. */
  readonly maker: string;
  /** Seconds since 1970. */
  readonly expires: number;
}

/** How the taking of a token ended. */
export type TakenToken =
  | { readonly outcome: "taken"; readonly token: JoinToken }
  | { readonly outcome: "unknown" | "wrong" | "used" }
  | { readonly outcome: "other"; readonly nodeName: string };

const PREFIX = redisKey("join-token", "");
/** How long what follows the joining may take: the agent's start, and the node's way into the configuration. */
const AFTERWARDS_S = 3_600;
const SCAN_COUNT = 100;

const script = (name: string) =>
  defineScript({
    name: `config-store/${name}`,
    lua: FENCE_PRELUDE + luaFile(import.meta.dirname, `lua/${name}.lua`),
    keys: 2,
  });
const addToken = script("join-token-add");
const takeToken = script("join-token-take");
const revokeToken = script("join-token-revoke");

/** The connection stays the caller's to close. Each of its methods throws Unavailable when Redis is in trouble. */
export class RedisJoinTokens {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** @param digest - of its secret @throws StaleEpoch */
  async add(token: JoinToken, digest: string, lifetimeS: number, { epoch }: Fence): Promise<void> {
    const args = [epoch, digest, JSON.stringify(token), token.nodeName.toLowerCase(), lifetimeS];
    await addToken.run(this.#redis, [EPOCH_KEY, PREFIX + token.id], args);
  }

  /** Those that nobody has used yet, oldest first. */
  async open(): Promise<readonly JoinToken[]> {
    const tokens: JoinToken[] = [];
    for (const key of await this.#keys()) {
      const [text, state] = await this.#fields(key, "token", "state");
      if (text && state === "open") tokens.push(JSON.parse(text));
    }
    return tokens.sort((a, b) => a.expires - b.expires);
  }

  /**
   * Use a token: exactly one call of all gets it.
   * @param nodeName - which the node that joins calls itself: its whole name, or the first label of it
   * @throws StaleEpoch
   */
  async take(id: string, digest: string, nodeName: string, { epoch }: Fence): Promise<TakenToken> {
    const args = [epoch, digest, nodeName.toLowerCase(), AFTERWARDS_S];
    const reply = (await takeToken.run(this.#redis, [EPOCH_KEY, PREFIX + id], args)) as readonly string[];
    const [outcome, detail = ""] = reply;
    switch (outcome) {
      case "taken":
        return { outcome, token: JSON.parse(detail) };
      case "other":
        return { outcome, nodeName: detail };
      default:
        return { outcome: outcome as "unknown" | "wrong" | "used" };
    }
  }

  /** A token that was taken, for whoever has its secret. */
  async taken(id: string, digest: string): Promise<JoinToken | undefined> {
    const [kept, text, state] = await this.#fields(PREFIX + id, "digest", "token", "state");
    if (!kept || !text || state !== "taken") return undefined;
    const [known, shown] = [Buffer.from(kept), Buffer.from(digest)];
    return known.length === shown.length && timingSafeEqual(known, shown) ? JSON.parse(text) : undefined;
  }

  /** @returns whether there was one @throws StaleEpoch */
  async revoke(id: string, { epoch }: Fence): Promise<boolean> {
    return (await revokeToken.run(this.#redis, [EPOCH_KEY, PREFIX + id], [epoch])) === 1;
  }

  async #keys(): Promise<readonly string[]> {
    const keys = new Set<string>();
    let cursor = "0";
    do {
      const [next, found] = await this.#redis
        .scan(cursor, "MATCH", `${PREFIX}*`, "COUNT", SCAN_COUNT)
        .catch((error: unknown) => {
          throw redisUnavailable(error);
        });
      for (const key of found) keys.add(key);
      cursor = next;
    } while (cursor !== "0");
    return [...keys];
  }

  async #fields(key: string, ...names: readonly string[]): Promise<readonly (string | null)[]> {
    return await this.#redis.hmget(key, ...names).catch((error: unknown) => {
      throw redisUnavailable(error);
    });
  }
}
