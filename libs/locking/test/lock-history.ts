/**
 * Histories of the lock manager: the same steps on the model, whose answers are held against the promises that the
 * rules make, and on Redis, whose answers are held against the model's.
 */
import { LockError, StaleEpoch } from "@gannet/errors";
import { EPOCH_KEY, type Redis } from "@gannet/redis";
import fc from "fast-check";
import { expect } from "vitest";
import {
  type Aging,
  excludes,
  type Fence,
  type LockCandidates,
  type LockInfo,
  LockModel,
  type LockRequest,
  type LockWish,
  RedisLockManager,
} from "../src/index.ts";
import { LEVEL_RANKS, parseLockName } from "../src/lock-name.ts";
import { S, X } from "./lock-wishes.ts";

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
const NODES = ["n1", "n2", "n3"] as const;
/** Nodes often, so that candidates meet other requests. */
const OFTEN = [...LOCKS, "node/n1", "node/n2", "node/n3"] as const;

/** Of waiting; a history takes a small part of it. */
const ROUND_MS = 1_800_000;

const owner = fc.integer({ min: 1, max: OWNERS });
const priority = fc.constantFrom(0, 0, 0, -10, 10);
const wish = fc
  .record({ lock: fc.constantFrom(...OFTEN), make: fc.constantFrom(S, X) })
  .map(({ lock, make }) => make(lock));
const wishes = fc.array(wish, { maxLength: 4 });
const candidates: fc.Arbitrary<LockCandidates> = fc.record({
  levels: fc.constantFrom<LockCandidates["levels"][]>(["node"], ["node", "node-res"]),
  names: fc.subarray([...NODES], { minLength: 1 }),
  mode: fc.constantFrom("exclusive", "exclusive", "shared"),
  atLeast: fc.constantFrom(1, 1, 2, 3),
});
const few = fc.array(wish, { maxLength: 2 });
export const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("request"), owner, wishes, priority }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("choose"), owner, wishes: few, priority, candidates }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("grow"), owner, make: fc.constantFrom(S, X), pick: fc.nat() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("repeat"), owner }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("release all"), owner }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("release one"), owner, pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("downgrade one"), owner, pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("reprioritize"), owner, priority }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("age"), rounds: fc.constantFrom(0, 1, 1, 5) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("new leader"), keep: fc.array(owner) }) },
);
export type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** A request that was not granted yet, as the promises see it. */
interface Waiting {
  readonly request: LockRequest;
  /** Everything it may get, without what the owner held when it asked. */
  readonly missing: readonly LockWish[];
  /** It held locks when it asked, so it goes before those who did not. */
  readonly growing: boolean;
  priority: number;
  readonly arrival: number;
  rounds: number;
}

/** An answer that is still under way from Redis, and what it must be. */
interface Expected {
  readonly what: string;
  readonly answer: Promise<unknown>;
  readonly expected: unknown;
}

type Granted = readonly number[];

/**
 * Its calls are sent to Redis one after another without waiting, which the connection keeps in order: the model says
 * what comes next. Several histories may be under way on one connection. The scripts must be known to the server.
 */
export class LockHistory {
  readonly #redis: Redis;
  readonly #locks: RedisLockManager;
  /** Redis stamps requests with its own clock; compared with a round they all came at once. */
  readonly #beganMs = Date.now();
  readonly #model = new LockModel(() => this.#beganMs);
  readonly #waiting = new Map<number, Waiting>();
  readonly #answers: Expected[] = [];
  #epoch = 1;
  #arrivals = 0;
  #rounds = 0;

  /** On an empty database. */
  constructor(redis: Redis) {
    this.#redis = redis;
    this.#locks = new RedisLockManager(redis, { patienceMs: 0 });
    this.#expect("the beginning", redis.set(EPOCH_KEY, this.#epoch), "OK");
  }

  take(step: Step): void {
    const granted = this.#apply(step);
    for (const each of granted) this.#checkNotOvertaking(each);
    this.#checkHoldersGoTogether();
    this.#expectState(JSON.stringify(step));
  }

  /** Owners let go one after another: in the end everybody was granted, and nothing is left. */
  drain(): void {
    for (;;) {
      const holder = this.#owners().find((each) => this.#model.held(each).length > 0);
      if (holder === undefined) break;
      this.take({ kind: "release all", owner: holder });
    }
    expect([...this.#waiting.keys()]).toEqual([]);
    const keys = this.#redis.keys("gannet:lock:*");
    const left = keys.then((names) => names.filter((name) => name !== "gannet:lock:sequence"));
    this.#expect("what is left in Redis", left, []);
  }

  /** Wait for Redis' answers. @throws at the first that differs */
  async verify(): Promise<void> {
    for (const { what, answer, expected } of this.#answers) {
      const got = await answer;
      if (JSON.stringify(got) !== JSON.stringify(expected)) expect(got, what).toEqual(expected);
    }
  }

  /** @returns owners that the step granted */
  #apply(step: Step): Granted {
    const fence = { epoch: this.#epoch };
    switch (step.kind) {
      case "request":
      case "choose":
        return this.#request(step);
      case "grow": {
        const highest = Math.max(0, ...this.#model.held(step.owner).map(({ level }) => LEVEL_RANKS[level]));
        const later = LOCKS.filter((lock) => LEVEL_RANKS[parseLockName(lock).level] > highest);
        const lock = later[step.pick % later.length];
        return lock === undefined ? [] : this.#request({ owner: step.owner, wishes: [step.make(lock)], priority: 0 });
      }
      case "repeat": {
        const waiting = this.#waiting.get(step.owner);
        return waiting === undefined ? [] : this.#request(waiting.request);
      }
      case "release all": {
        this.#waiting.delete(step.owner);
        return this.#both((verbs) => verbs.release(step.owner, "all", fence));
      }
      case "release one": {
        const picked = this.#pick(step);
        return this.#both((verbs) => verbs.release(step.owner, picked, fence));
      }
      case "downgrade one": {
        const picked = this.#pick(step);
        return this.#both((verbs) => verbs.downgrade(step.owner, picked, fence));
      }
      case "reprioritize": {
        const waiting = this.#waiting.get(step.owner);
        if (waiting !== undefined) waiting.priority = step.priority;
        return this.#both((verbs) => verbs.reprioritize(step.owner, step.priority, fence));
      }
      case "age": {
        this.#rounds += step.rounds;
        for (const waiting of this.#waiting.values()) {
          waiting.priority = Math.max(-20, waiting.priority - (this.#rounds - waiting.rounds));
          waiting.rounds = this.#rounds;
        }
        const nowMs = this.#beganMs + (this.#rounds + 1 / 2) * ROUND_MS;
        return this.#both((verbs) => verbs.age({ roundMs: ROUND_MS, nowMs }, fence));
      }
      case "new leader": {
        this.#epoch += 1;
        this.#expect("a new epoch", this.#redis.incr(EPOCH_KEY), this.#epoch);
        this.#expect("a stale epoch", refusable(this.#locks.release(1, "all", fence)), StaleEpoch.name);
        for (const each of this.#waiting.keys()) if (!step.keep.includes(each)) this.#waiting.delete(each);
        return this.#both((verbs) => verbs.retainOwners(step.keep, { epoch: this.#epoch }));
      }
    }
  }

  #request({ owner, wishes, priority, candidates }: LockRequest): Granted {
    const request = { owner, wishes, priority, ...(candidates && { candidates }) };
    const held = this.#model.held(owner);
    const known = this.#waiting.has(owner);
    const answer = this.#same(
      () => this.#locks.request(request, { epoch: this.#epoch }),
      () => this.#model.request(request),
    );
    if (answer === undefined || known) return [];
    const chosen = (candidates?.levels ?? []).flatMap((level) =>
      (candidates?.names ?? []).map((name): LockWish => ({ level, name, mode: candidates?.mode ?? "shared" })),
    );
    const missing = [...wishes, ...chosen].filter((w) => !held.some((h) => h.level === w.level && h.name === w.name));
    const arrival = ++this.#arrivals;
    this.#waiting.set(owner, { request, missing, growing: held.length > 0, priority, arrival, rounds: 0 });
    return answer === "granted" ? [owner] : [];
  }

  #pick({ owner, pick }: { readonly owner: number; readonly pick: number }): readonly LockWish[] {
    const held = this.#model.held(owner);
    const picked = held[pick % held.length] ?? S(LOCKS[pick % LOCKS.length] ?? "node/n1");
    return [picked];
  }

  #both(verb: (verbs: Verbs) => Granted | Promise<Granted>): Granted {
    return (
      this.#same(
        async () => await verb(this.#locks),
        () => verb(this.#model) as Granted,
      ) ?? []
    );
  }

  /** Both give the same answer, or both refuse with a LockError: then undefined. */
  #same<T extends Granted | string>(real: () => Promise<T>, model: () => T): T | undefined {
    let answer: T | undefined;
    try {
      answer = model();
    } catch (error) {
      if (!(error instanceof LockError)) throw error;
    }
    this.#expect("the answer", refusable(real()), answer ?? LockError.name);
    return answer;
  }

  /** Nobody passes an earlier request of equal or higher priority that conflicts with what it gets and still waits. */
  #checkNotOvertaking(owner: number): void {
    const own = this.#waiting.get(owner);
    if (own === undefined) throw new Error(`${owner} was granted without having asked`);
    this.#waiting.delete(owner);
    if (own.growing) return;
    const got = this.#model
      .held(owner)
      .filter((held) => own.missing.some((one) => one.level === held.level && one.name === held.name));
    for (const [other, earlier] of this.#waiting) {
      if (earlier.arrival > own.arrival || earlier.priority > own.priority) continue;
      if (earlier.missing.some((a) => got.some((b) => excludes(a, b)))) throw new Error(`${owner} overtook ${other}`);
    }
  }

  #checkHoldersGoTogether(): void {
    const held = this.#owners().map((each) => this.#model.held(each));
    for (const [position, one] of held.entries())
      for (const other of held.slice(position + 1))
        if (one.some((left) => other.some((right) => excludes(left, right))))
          throw new Error(`${JSON.stringify(one)} and ${JSON.stringify(other)} exclude each other`);
  }

  /** Who holds what, and for whom one of those waiting waits: each in its turn. */
  #expectState(after: string): void {
    const held = this.#owners()
      .map((each) => [each, this.#model.held(each)] as const)
      .filter(([, locks]) => locks.length > 0);
    this.#expect(`held after ${after}`, this.#locks.list().then(holders), held);
    const waiting = this.#model.waiting();
    const one = waiting[this.#answers.length % waiting.length];
    if (one === undefined) return;
    const rows = this.#locks.explain(one);
    const blockers = rows.then((all) => [...new Set(all.flatMap((row) => row.blockedBy))].sort((a, b) => a - b));
    this.#expect(`blockers of ${one} after ${after}`, blockers, this.#model.blockers(one));
  }

  #owners(): readonly number[] {
    return Array.from({ length: OWNERS }, (_, index) => index + 1);
  }

  #expect(what: string, answer: Promise<unknown>, expected: unknown): void {
    // It is looked at later; until then a failure is an answer like others.
    const settled = answer.catch((error: unknown) => String(error));
    this.#answers.push({ what, answer: settled, expected });
  }
}

/** What the implementation and the model have in common; the model looks at no fence. */
interface Verbs {
  release(owner: number, what: readonly LockWish[] | "all", fence: Fence): Granted | Promise<Granted>;
  downgrade(owner: number, wishes: readonly LockWish[], fence: Fence): Granted | Promise<Granted>;
  reprioritize(owner: number, priority: number, fence: Fence): Granted | Promise<Granted>;
  age(aging: Aging, fence: Fence): Granted | Promise<Granted>;
  retainOwners(owners: readonly number[], fence: Fence): Granted | Promise<Granted>;
}

/** The answer, or the name of the error that refuses the call. */
async function refusable(call: Promise<unknown>): Promise<unknown> {
  return await call.catch((error: unknown) => {
    if (error instanceof LockError || error instanceof StaleEpoch) return error.constructor.name;
    throw error;
  });
}

/** What each owner holds. A lock has one mode for all its owners, so its row says how each of them holds it. */
function holders(list: readonly LockInfo[]): readonly (readonly [owner: number, held: readonly LockWish[]])[] {
  const held = new Map<number, LockWish[]>();
  for (const { name, mode, owners } of list)
    for (const each of owners)
      held.set(each, [...(held.get(each) ?? []), { ...parseLockName(name), mode: mode ?? "shared" }]);
  return [...held].sort(([a], [b]) => a - b);
}
