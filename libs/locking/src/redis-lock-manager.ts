/** The lock manager over Redis: each verb is one atomic script. The rules are in lock-model.ts and lua/lock-rules.lua. */
import { setTimeout as delay } from "node:timers/promises";
import { Unavailable } from "@gannet/errors";
import { defineScript, type Redis, redisKey, redisUnavailable, type Script } from "@gannet/redis";
import type { LockInfo, LockMode, LockRequest, LockWish } from "./lock.ts";
import type { Fence, LockManager } from "./lock-manager-contract.ts";
import { compareLockNames, lockName, parseLockName } from "./lock-name.ts";
import { checkPriority } from "./lock-request.ts";
import { LOCK_KEYS, lockLua, lockRequestArguments, type StoredMode } from "./lock-scripts.ts";

const MODES = { S: "shared", X: "exclusive" } as const satisfies Record<StoredMode, LockMode>;
/** What an owner holds, as lock-rules.lua writes it. */
type StoredLocks = Readonly<Record<string, StoredMode>>;

/** A waiting request as lock-rules.lua writes it. */
interface StoredRequest {
  readonly wishes: StoredLocks;
  readonly priority: number;
  readonly sequence: number;
  readonly growing: boolean;
  readonly since: number;
}

/** How long the work of jobs waits for a Redis that is away, instead of failing a job that has done its work. */
const DEFAULT_PATIENCE_MS = 60_000;
const RETRY_PAUSE_MS = 100;

const HELD_KEY = redisKey("lock", "held");
const UNCLAIMED_KEY = redisKey("lock", "unclaimed");

const requestLocks = lockScript("request");
const releaseLocks = lockScript("release");
const downgradeLocks = lockScript("downgrade");
const reprioritizeRequest = lockScript("reprioritize");
const retainLockOwners = lockScript("retain-owners");
const explainRequest = lockScript("explain");
const listLocks = lockScript("list");

/**
 * The connection stays the caller's to close. Verbs that write wait while Redis is away; all of them can be
 * repeated when their answer was lost.
 */
export class RedisLockManager implements LockManager {
  readonly #redis: Redis;
  readonly #patienceMs: number;

  constructor(redis: Redis, { patienceMs = DEFAULT_PATIENCE_MS }: { readonly patienceMs?: number } = {}) {
    this.#redis = redis;
    this.#patienceMs = patienceMs;
  }

  async request(request: LockRequest, fence: Fence): Promise<"granted" | "waiting"> {
    const args = lockRequestArguments(request, fence);
    const { reply } = await this.#patiently(() => requestLocks.run(this.#redis, LOCK_KEYS, args));
    return reply === 1 ? "granted" : "waiting";
  }

  async release(owner: number, what: readonly LockWish[] | "all", fence: Fence): Promise<readonly number[]> {
    const locks = what === "all" ? what : JSON.stringify(what.map(lockName));
    return await this.#grants(releaseLocks, [fence.epoch, owner, locks]);
  }

  async downgrade(owner: number, wishes: readonly LockWish[], fence: Fence): Promise<readonly number[]> {
    return await this.#grants(downgradeLocks, [fence.epoch, owner, JSON.stringify(wishes.map(lockName))]);
  }

  async reprioritize(owner: number, priority: number, fence: Fence): Promise<readonly number[]> {
    checkPriority(priority);
    return await this.#grants(reprioritizeRequest, [fence.epoch, owner, priority]);
  }

  async retainOwners(owners: readonly number[], fence: Fence): Promise<readonly number[]> {
    return await this.#grants(retainLockOwners, [fence.epoch, JSON.stringify(owners)]);
  }

  async held(owner: number): Promise<readonly LockWish[]> {
    const text = await this.#redis.hget(HELD_KEY, String(owner)).catch(fail);
    const locks = Object.entries(text === null ? {} : (JSON.parse(text) as StoredLocks));
    return locks
      .sort(([a], [b]) => compareLockNames(a, b))
      .map(([lock, mode]) => ({ ...parseLockName(lock), mode: MODES[mode] }));
  }

  async list(): Promise<readonly LockInfo[]> {
    const [held, requests] = (await listLocks.run(this.#redis, LOCK_KEYS, [])) as [string[], string[]];
    return lockInfos(parseRows<StoredLocks>(held), parseRows<StoredRequest>(requests));
  }

  async explain(owner: number): Promise<readonly { readonly lock: string; readonly blockedBy: readonly number[] }[]> {
    const rows = (await explainRequest.run(this.#redis, LOCK_KEYS, [owner])) as [string, ...string[]][];
    return rows
      .map(([lock, ...owners]) => ({ lock, blockedBy: owners.map(Number).sort((a, b) => a - b) }))
      .sort((a, b) => compareLockNames(a.lock, b.lock));
  }

  async #grants(script: Script, args: readonly (string | number)[]): Promise<readonly number[]> {
    const { reply, repeated } = await this.#patiently(() => script.run(this.#redis, LOCK_KEYS, args));
    if (!repeated) return reply as number[];
    // An earlier attempt may have granted, and its answer is lost.
    const unclaimed = await this.#patiently(() => this.#redis.smembers(UNCLAIMED_KEY).catch(fail));
    return unclaimed.reply.map(Number).sort((a, b) => a - b);
  }

  async #patiently<T>(attempt: () => Promise<T>): Promise<{ readonly reply: T; readonly repeated: boolean }> {
    const deadline = performance.now() + this.#patienceMs;
    for (let repeated = false; ; repeated = true) {
      try {
        return { reply: await attempt(), repeated };
      } catch (error) {
        if (!(error instanceof Unavailable) || performance.now() > deadline) throw error;
      }
      await delay(RETRY_PAUSE_MS);
    }
  }
}

function lockScript(verb: string): Script {
  return defineScript({ name: `locking/${verb}`, lua: lockLua(verb), keys: LOCK_KEYS.length });
}

function fail(error: unknown): never {
  throw redisUnavailable(error);
}

/** `[owner, JSON, owner, JSON, …]`, by owner. */
function parseRows<Row>(reply: readonly string[]): readonly (readonly [owner: number, row: Row])[] {
  const rows: [number, Row][] = [];
  for (let i = 0; i + 1 < reply.length; i += 2) rows.push([Number(reply[i]), JSON.parse(reply[i + 1] ?? "") as Row]);
  return rows.sort(([a], [b]) => a - b);
}

/** One row for each lock that somebody holds or asked for by name; intentions on set locks are no row. */
function lockInfos(
  held: readonly (readonly [owner: number, locks: StoredLocks])[],
  requests: readonly (readonly [owner: number, request: StoredRequest])[],
): readonly LockInfo[] {
  const infos = new Map<string, { mode: LockMode | null; owners: number[]; pending: LockInfo["pending"][number][] }>();
  const infoOf = (lock: string) => {
    const info = infos.get(lock) ?? { mode: null, owners: [], pending: [] };
    infos.set(lock, info);
    return info;
  };
  for (const [owner, locks] of held)
    for (const [lock, mode] of Object.entries(locks)) {
      const info = infoOf(lock);
      info.mode = MODES[mode];
      info.owners.push(owner);
    }
  const heldBy = new Map(held);
  const waiting = requests.toSorted(([, a], [, b]) => inQueueOrder(a, b));
  for (const [owner, { wishes, since }] of waiting)
    for (const [lock, mode] of Object.entries(wishes))
      if (heldBy.get(owner)?.[lock] === undefined)
        infoOf(lock).pending.push({ owner, mode: MODES[mode], sinceMs: since });
  return [...infos.entries()].sort(([a], [b]) => compareLockNames(a, b)).map(([name, info]) => ({ name, ...info }));
}

function inQueueOrder(a: StoredRequest, b: StoredRequest): number {
  return Number(b.growing) - Number(a.growing) || a.priority - b.priority || a.sequence - b.sequence;
}
