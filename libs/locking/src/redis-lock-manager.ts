/** The lock manager over Redis: each verb is one atomic script. The rules are in lock-model.ts and lua/lock-rules.lua. */
import { defineScript, patiently, type Redis, redisKey, redisUnavailable, type Script } from "@gannet/redis";
import type { LockInfo, LockMode, LockRequest, LockWish } from "./lock.ts";
import type { Aging, Fence, LockManager } from "./lock-manager-contract.ts";
import { compareLockNames, lockName, parseLockName } from "./lock-name.ts";
import { checkPriority, HIGHEST_PRIORITY } from "./lock-request.ts";
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

/** Requests aged in one script call, which takes some milliseconds. */
const AGING_PAGE = 200;

const HELD_KEY = redisKey("lock", "held");
const UNCLAIMED_KEY = redisKey("lock", "unclaimed");

const requestLocks = lockScript("request", { confirmed: true });
const releaseLocks = lockScript("release", { confirmed: true });
const downgradeLocks = lockScript("downgrade", { confirmed: true });
const reprioritizeRequest = lockScript("reprioritize");
const ageRequests = lockScript("age");
const retainLockOwners = lockScript("retain-owners", { confirmed: true });
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
    const reply = await this.#patiently(() => requestLocks.run(this.#redis, LOCK_KEYS, args));
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

  async age({ roundMs, nowMs }: Aging, fence: Fence): Promise<readonly number[]> {
    const args = [fence.epoch, roundMs, nowMs ?? "", HIGHEST_PRIORITY, AGING_PAGE];
    const granted: number[] = [];
    for (let isAnswerLost = false; ; ) {
      const { reply, repeated } = await this.#run(ageRequests, args);
      const [more, owners] = reply as [number, number[]];
      isAnswerLost ||= repeated;
      granted.push(...owners);
      if (more === 0) return isAnswerLost ? await this.#unclaimed() : granted;
    }
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
    const { reply, repeated } = await this.#run(script, args);
    return repeated ? await this.#unclaimed() : (reply as number[]);
  }

  /** When it was repeated an earlier attempt may have granted, and its answer is lost. */
  async #run(
    script: Script,
    args: readonly (string | number)[],
  ): Promise<{ readonly reply: unknown; readonly repeated: boolean }> {
    return await this.#patiently(async (earlier) => ({
      reply: await script.run(this.#redis, LOCK_KEYS, args),
      repeated: earlier > 0,
    }));
  }

  /** Everybody who was granted while waiting and has not asked again since. */
  async #unclaimed(): Promise<readonly number[]> {
    const owners = await this.#patiently(() => this.#redis.smembers(UNCLAIMED_KEY).catch(fail));
    return owners.map(Number).sort((a, b) => a - b);
  }

  #patiently<T>(attempt: (earlier: number) => Promise<T>): Promise<T> {
    return patiently(attempt, { forMs: this.#patienceMs });
  }
}

/** Who has a lock must outlive the server; in which order the others wait need not. */
function lockScript(verb: string, { confirmed = false } = {}): Script {
  return defineScript({ name: `locking/${verb}`, lua: lockLua(verb), keys: LOCK_KEYS.length, confirmed });
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
