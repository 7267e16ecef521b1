/**
 * Random histories of requests, releases, downgrades, cancels, priorities and leader changes: the Redis
 * implementation against the model, and both against the promises that the rules make.
 *
 * GANNET_HISTORIES sets how many are tried, GANNET_SEED repeats a run.
 */
import { LockError, StaleEpoch } from "@gannet/errors";
import { connectRedis, EPOCH_KEY, type Redis } from "@gannet/redis";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { excludes, type LockInfo, LockModel, type LockWish, RedisLockManager } from "../src/index.ts";
import { LEVEL_RANKS, parseLockName } from "../src/lock-name.ts";
import { S, X } from "./lock-wishes.ts";

const HISTORIES = Number(process.env.GANNET_HISTORIES ?? 1_000);
const SEED = Number(process.env.GANNET_SEED ?? Date.now() % 2 ** 31);
const OWNERS = 7;
const LOCKS = [
  "cluster/BGL",
  "instance/[lockset]",
  "instance/a.test",
  "instance/b.test",
  "node/[lockset]",
  "node/n1",
  "node/n2",
  "node-res/n1",
] as const;

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startTestRedis();
  // Nothing here is about what a crash of Redis keeps, and a thousand histories are many writes.
  await server.client.config("SET", "appendonly", "no");
  redis = connectRedis(server.address, { name: "locking" });
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

const owner = fc.integer({ min: 1, max: OWNERS });
const priority = fc.constantFrom(0, 0, 0, -10, 10);
const wish = fc
  .record({ lock: fc.constantFrom(...LOCKS), make: fc.constantFrom(S, X) })
  .map(({ lock, make }) => make(lock));
const wishes = fc.array(wish, { maxLength: 4 });
const step = fc.oneof(
  { weight: 10, arbitrary: fc.record({ kind: fc.constant("request"), owner, wishes, priority }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("grow"), owner, make: fc.constantFrom(S, X), pick: fc.nat() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("repeat"), owner }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("release all"), owner }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("release one"), owner, pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("downgrade one"), owner, pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("reprioritize"), owner, priority }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("new leader"), keep: fc.array(owner) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

interface Waiting {
  readonly wishes: readonly LockWish[];
  /** Without what the owner held when it asked. */
  readonly missing: readonly LockWish[];
  /** It held locks when it asked, so it goes before those who did not. */
  readonly growing: boolean;
  priority: number;
  readonly arrival: number;
}

/** One history: the same steps on Redis and on the model, with the promises checked after each. */
class History {
  readonly #locks = new RedisLockManager(redis);
  readonly #model = new LockModel();
  /** Requests that were not granted yet, as the promises see them. */
  readonly #waiting = new Map<number, Waiting>();
  #epoch = 1;
  #arrivals = 0;

  async begin(): Promise<void> {
    await server.client.set(EPOCH_KEY, this.#epoch);
  }

  async take(step: Step): Promise<void> {
    const granted = await this.#apply(step);
    const list = await this.#locks.list();
    for (const owner of granted) this.#checkNotOvertaking(owner);
    checkHoldersGoTogether(list);
    expect(await this.#stateInRedis(list)).toEqual(this.#stateInModel());
  }

  /** Owners let go one after another: in the end everybody was granted, and nothing is left in Redis. */
  async drain(): Promise<void> {
    for (;;) {
      const holder = (await this.#locks.list()).flatMap((lock) => lock.owners)[0];
      if (holder === undefined) break;
      await this.take({ kind: "release all", owner: holder });
    }
    expect([...this.#waiting.keys()]).toEqual([]);
    const keys = await server.client.keys("gannet:lock:*");
    expect(keys.filter((key) => key !== "gannet:lock:sequence")).toEqual([]);
  }

  /** @returns owners that the step granted */
  async #apply(step: Step): Promise<readonly number[]> {
    const fence = { epoch: this.#epoch };
    switch (step.kind) {
      case "request":
        return await this.#request(step.owner, step.wishes, step.priority);
      case "grow": {
        const highest = Math.max(0, ...this.#model.held(step.owner).map(({ level }) => LEVEL_RANKS[level]));
        const later = LOCKS.filter((lock) => LEVEL_RANKS[parseLockName(lock).level] > highest);
        const lock = later[step.pick % later.length];
        return lock === undefined ? [] : await this.#request(step.owner, [step.make(lock)], 0);
      }
      case "repeat": {
        const waiting = this.#waiting.get(step.owner);
        return waiting === undefined ? [] : await this.#request(step.owner, waiting.wishes, waiting.priority);
      }
      case "release all": {
        this.#waiting.delete(step.owner);
        return await this.#both((verbs) => verbs.release(step.owner, "all", fence));
      }
      case "release one": {
        const picked = this.#pick(step);
        return await this.#both((verbs) => verbs.release(step.owner, picked, fence));
      }
      case "downgrade one": {
        const picked = this.#pick(step);
        return await this.#both((verbs) => verbs.downgrade(step.owner, picked, fence));
      }
      case "reprioritize": {
        const waiting = this.#waiting.get(step.owner);
        if (waiting !== undefined) waiting.priority = step.priority;
        return await this.#both((verbs) => verbs.reprioritize(step.owner, step.priority, fence));
      }
      case "new leader": {
        this.#epoch = await server.client.incr(EPOCH_KEY);
        await expect(this.#locks.release(1, "all", fence)).rejects.toThrow(StaleEpoch);
        for (const owner of this.#waiting.keys()) if (!step.keep.includes(owner)) this.#waiting.delete(owner);
        return await this.#both((verbs) => verbs.retainOwners(step.keep, { epoch: this.#epoch }));
      }
    }
  }

  async #request(owner: number, wishes: readonly LockWish[], priority: number): Promise<readonly number[]> {
    const held = this.#model.held(owner);
    const known = this.#waiting.has(owner);
    const request = { owner, wishes, priority };
    const answer = await this.#same(
      () => this.#locks.request(request, { epoch: this.#epoch }),
      () => this.#model.request(request),
    );
    if (answer === LockError || known) return [];
    const missing = wishes.filter((w) => !held.some((h) => h.level === w.level && h.name === w.name));
    const arrival = ++this.#arrivals;
    this.#waiting.set(owner, { wishes, missing, growing: held.length > 0, priority, arrival });
    return answer === "granted" ? [owner] : [];
  }

  #pick({ owner, pick }: { readonly owner: number; readonly pick: number }): readonly LockWish[] {
    const held = this.#model.held(owner);
    const picked = held[pick % held.length] ?? S(LOCKS[pick % LOCKS.length] ?? "node/n1");
    return [picked];
  }

  async #both(verb: (verbs: Verbs) => Granted | Promise<Granted>): Promise<Granted> {
    const answer = await this.#same(
      async () => await verb(this.#locks),
      async () => await verb(this.#model),
    );
    return typeof answer === "function" ? [] : answer;
  }

  /** Both give the same answer, or both refuse with a LockError. */
  async #same<T>(real: () => Promise<T>, model: () => T | Promise<T>): Promise<T | typeof LockError> {
    const [inRedis, inModel] = [await refusable(real), await refusable(model)];
    expect(inRedis).toEqual(inModel);
    return inRedis;
  }

  /** Nobody passes an earlier request of equal or higher priority that conflicts with its own and still waits. */
  #checkNotOvertaking(owner: number): void {
    const own = this.#waiting.get(owner);
    if (own === undefined) throw new Error(`${owner} was granted without having asked`);
    this.#waiting.delete(owner);
    if (own.growing) return;
    for (const [other, earlier] of this.#waiting) {
      if (earlier.arrival > own.arrival || earlier.priority > own.priority) continue;
      if (earlier.missing.some((a) => own.missing.some((b) => excludes(a, b))))
        throw new Error(`${owner} overtook ${other}`);
    }
  }

  async #stateInRedis(list: readonly LockInfo[]) {
    const waiting = new Set(list.flatMap((lock) => lock.pending.map(({ owner }) => owner)));
    const blockers = [];
    for (const owner of [...waiting].sort((a, b) => a - b)) {
      const rows = await this.#locks.explain(owner);
      blockers.push([owner, [...new Set(rows.flatMap((row) => row.blockedBy))].sort((a, b) => a - b)]);
    }
    const owners = new Set(list.flatMap((lock) => lock.owners));
    const held = [...owners].sort((a, b) => a - b).map((owner) => [owner, heldIn(list, owner)]);
    return { held, blockers };
  }

  #stateInModel() {
    const owners = Array.from({ length: OWNERS }, (_, index) => index + 1);
    return {
      held: owners.map((owner) => [owner, this.#model.held(owner)] as const).filter(([, held]) => held.length > 0),
      blockers: this.#model
        .waiting()
        .toSorted((a, b) => a - b)
        .map((owner) => [owner, this.#model.blockers(owner)]),
    };
  }
}

type Granted = readonly number[];
/** What the implementation and the model have in common; the model looks at no fence. */
interface Verbs {
  release(owner: number, what: readonly LockWish[] | "all", fence: { epoch: number }): Granted | Promise<Granted>;
  downgrade(owner: number, wishes: readonly LockWish[], fence: { epoch: number }): Granted | Promise<Granted>;
  reprioritize(owner: number, priority: number, fence: { epoch: number }): Granted | Promise<Granted>;
  retainOwners(owners: readonly number[], fence: { epoch: number }): Granted | Promise<Granted>;
}

async function refusable<T>(call: () => T | Promise<T>): Promise<T | typeof LockError> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof LockError) return LockError;
    throw error;
  }
}

/** A lock has one mode for all its owners, so its row says how each of them holds it. */
function heldIn(list: readonly LockInfo[], owner: number): readonly LockWish[] {
  return list
    .filter((lock) => lock.owners.includes(owner))
    .map((lock) => ({ ...parseLockName(lock.name), mode: lock.mode ?? "shared" }));
}

function checkHoldersGoTogether(list: readonly LockInfo[]): void {
  const held = list.flatMap((lock) => lock.owners.map((owner) => ({ owner, held: heldIn([lock], owner) })));
  for (const a of held)
    for (const b of held)
      if (a.owner < b.owner && a.held.some((left) => b.held.some((right) => excludes(left, right))))
        throw new Error(`${a.owner} and ${b.owner} hold what excludes each other`);
}

test(`${HISTORIES} random histories`, { timeout: 60_000 + HISTORIES * 100 }, async () => {
  console.info(`lock histories: ${HISTORIES}, GANNET_SEED=${SEED}`);
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 50, size: "max" }), async (steps) => {
      await server.flush();
      const history = new History();
      await history.begin();
      for (const each of steps) await history.take(each);
      await history.drain();
    }),
    { numRuns: HISTORIES, seed: SEED, endOnFailure: false },
  );
});
