/**
 * The lock rules in their plainest form, without I/O and without regard for cost: what the tests compare the
 * Redis implementation with, and the text to read when the question is who gets a lock.
 *
 * - Two wishes exclude each other when they meet at one lock (the same, or one is the set lock of the other's
 *   level) and one of them is exclusive. A shared set lock and a shared member go together.
 * - Waiters stand in one order: owners that already hold locks first, then smaller priority, then arrival.
 * - A request is granted as a whole when it excludes neither a holder nor anyone before it in that order. An
 *   owner that already holds locks is held up by holders only: those before it may be waiting for just those.
 * - A request with candidates waits as if it wanted them all, and is granted when it excludes nobody by its other
 *   wishes and by those of enough candidates. It gets these, and leaves the other candidates.
 * - For each round that a request has waited its priority goes up by one.
 * - An owner that holds locks may ask only for levels after all of its own. So whoever waits while holding waits
 *   for owners further along, and nobody can wait in a circle.
 */
import { LockError } from "@gannet/errors";
import { LOCKSET, type LockRequest, type LockWish } from "./lock.ts";
import type { Aging } from "./lock-manager-contract.ts";
import { compareLockNames, LEVEL_RANKS, lockName } from "./lock-name.ts";
import { type Asked, askedOf, checkPriority, HIGHEST_PRIORITY } from "./lock-request.ts";

interface Waiter {
  readonly owner: number;
  /** Everything it asked for, to recognise a repeated request. */
  readonly asked: Asked;
  /** The part that it does not hold already. */
  readonly missing: readonly LockWish[];
  readonly growing: boolean;
  readonly priority: number;
  readonly arrival: number;
  /** When its present round of waiting began. */
  readonly roundBeganMs: number;
}

/** Do two different owners' wishes exclude each other? */
export function excludes(a: LockWish, b: LockWish): boolean {
  const meet = a.level === b.level && (a.name === b.name || a.name === LOCKSET || b.name === LOCKSET);
  return meet && (a.mode === "exclusive" || b.mode === "exclusive");
}

/** The verbs of {@link LockManager} on one process' memory, without fence. */
export class LockModel {
  readonly #clock: () => number;
  readonly #held = new Map<number, ReadonlyMap<string, LockWish>>();
  #waiters: readonly Waiter[] = [];
  #arrivals = 0;

  /** @param clock milliseconds since 1970 */
  constructor(clock: () => number = Date.now) {
    this.#clock = clock;
  }

  request(request: LockRequest): "granted" | "waiting" {
    const asked = askedOf(request);
    const waiting = this.#waiterOf(request.owner);
    if (waiting !== undefined) {
      if (sameAsked(waiting.asked, asked)) return "waiting";
      throw new LockError(`job ${request.owner} has another lock request waiting; release it first`);
    }
    const held = this.#heldBy(request.owner);
    const missing = [...asked.wishes].filter(([lock, wish]) => !covers(held.get(lock), wish)).map(([, wish]) => wish);
    if (enoughOf(asked, missing, () => false) !== undefined) return "granted";
    this.#refuseOlderLevels(request.owner, missing);
    this.#enqueue({
      owner: request.owner,
      asked,
      missing,
      growing: held.size > 0,
      priority: request.priority,
      arrival: ++this.#arrivals,
      roundBeganMs: this.#clock(),
    });
    return this.#settle().includes(request.owner) ? "granted" : "waiting";
  }

  release(owner: number, what: readonly Pick<LockWish, "level" | "name">[] | "all"): readonly number[] {
    if (what === "all") {
      this.#drop(owner);
      return this.#settle();
    }
    this.#refuseWhileWaiting(owner);
    const kept = new Map(this.#heldBy(owner));
    for (const lock of what) kept.delete(lockName(lock));
    this.#setHeld(owner, kept);
    return this.#settle();
  }

  downgrade(owner: number, wishes: readonly LockWish[]): readonly number[] {
    this.#refuseWhileWaiting(owner);
    const held = new Map(this.#heldBy(owner));
    for (const wish of wishes) {
      const lock = lockName(wish);
      if (!held.has(lock)) throw new LockError(`job ${owner} does not hold ${lock}, which it wants to downgrade`);
      held.set(lock, { ...wish, mode: "shared" });
    }
    this.#setHeld(owner, held);
    return this.#settle();
  }

  reprioritize(owner: number, priority: number): readonly number[] {
    checkPriority(priority);
    const waiter = this.#waiterOf(owner);
    if (waiter === undefined) return [];
    this.#dequeue(owner);
    this.#enqueue({ ...waiter, priority });
    return this.#settle();
  }

  age({ roundMs, nowMs = this.#clock() }: Aging): readonly number[] {
    for (const waiter of this.#waiters) {
      const rounds = Math.max(0, Math.floor((nowMs - waiter.roundBeganMs) / roundMs));
      const priority = Math.max(HIGHEST_PRIORITY, waiter.priority - rounds);
      this.#dequeue(waiter.owner);
      this.#enqueue({ ...waiter, priority, roundBeganMs: waiter.roundBeganMs + rounds * roundMs });
    }
    return this.#settle();
  }

  retainOwners(owners: readonly number[]): readonly number[] {
    for (const owner of [...this.#held.keys(), ...this.#waiters.map((waiter) => waiter.owner)])
      if (!owners.includes(owner)) this.#drop(owner);
    return this.#settle();
  }

  held(owner: number): readonly LockWish[] {
    const locks = [...this.#heldBy(owner)].sort(([a], [b]) => compareLockNames(a, b));
    return locks.map(([, wish]) => wish);
  }

  /** Owners of waiting requests, in the order in which they would be granted were everything let go. */
  waiting(): readonly number[] {
    return this.#waiters.map((waiter) => waiter.owner);
  }

  /** Everybody whom a waiting owner waits for, by id. */
  blockers(owner: number): readonly number[] {
    const waiter = this.#waiterOf(owner);
    if (waiter === undefined) return [];
    const blockers = this.#rivals(waiter).filter(([, wishes]) =>
      wishes.some((a) => waiter.missing.some((b) => excludes(a, b))),
    );
    return [...new Set(blockers.map(([other]) => other))].sort((a, b) => a - b);
  }

  /** Those who hold, or wait before it for, what it may not have beside them. */
  #rivals(waiter: Waiter): readonly (readonly [owner: number, wishes: readonly LockWish[]])[] {
    const earlier = waiter.growing ? [] : this.#waiters.slice(0, this.#waiters.indexOf(waiter));
    return [
      ...[...this.#held]
        .filter(([other]) => other !== waiter.owner)
        .map(([other, held]) => [other, [...held.values()]] as const),
      ...earlier.map((other) => [other.owner, other.missing] as const),
    ];
  }

  /** Grant whoever can be granted, first to last. Granting frees nothing for those before, so one pass is enough. */
  #settle(): readonly number[] {
    const granted: number[] = [];
    for (const waiter of this.#waiters) {
      const rivals = this.#rivals(waiter).flatMap(([, wishes]) => wishes);
      const gets = enoughOf(waiter.asked, waiter.missing, (wish) => !rivals.some((rival) => excludes(rival, wish)));
      if (gets === undefined) continue;
      this.#dequeue(waiter.owner);
      const gained = gets.map((wish) => [lockName(wish), wish] as const);
      this.#setHeld(waiter.owner, new Map([...this.#heldBy(waiter.owner), ...gained]));
      granted.push(waiter.owner);
    }
    return granted;
  }

  #heldBy(owner: number): ReadonlyMap<string, LockWish> {
    return this.#held.get(owner) ?? new Map();
  }

  #setHeld(owner: number, locks: ReadonlyMap<string, LockWish>): void {
    if (locks.size > 0) this.#held.set(owner, locks);
    else this.#held.delete(owner);
  }

  #waiterOf(owner: number): Waiter | undefined {
    return this.#waiters.find((waiter) => waiter.owner === owner);
  }

  #enqueue(waiter: Waiter): void {
    this.#waiters = [...this.#waiters, waiter].sort(
      (a, b) => Number(b.growing) - Number(a.growing) || a.priority - b.priority || a.arrival - b.arrival,
    );
  }

  #dequeue(owner: number): void {
    this.#waiters = this.#waiters.filter((waiter) => waiter.owner !== owner);
  }

  #drop(owner: number): void {
    this.#dequeue(owner);
    this.#held.delete(owner);
  }

  #refuseOlderLevels(owner: number, missing: readonly LockWish[]): void {
    const highest = Math.max(0, ...[...this.#heldBy(owner).values()].map(({ level }) => LEVEL_RANKS[level]));
    const early = missing.find(({ level }) => LEVEL_RANKS[level] <= highest);
    if (early === undefined) return;
    throw new LockError(
      `job ${owner} asks for ${lockName(early)} while it holds locks of that level or a later one; release them first`,
    );
  }

  /** What a waiting request still lacks was worked out from what its owner holds; that must not change below it. */
  #refuseWhileWaiting(owner: number): void {
    if (this.#waiterOf(owner) !== undefined)
      throw new LockError(`job ${owner} has a lock request waiting; only all can be released`);
  }
}

function covers(held: LockWish | undefined, wish: LockWish): boolean {
  return held !== undefined && (held.mode === "exclusive" || held.mode === wish.mode);
}

function sameAsked(a: Asked, b: Asked): boolean {
  const sameWishes =
    a.wishes.size === b.wishes.size && [...a.wishes].every(([lock, { mode }]) => b.wishes.get(lock)?.mode === mode);
  return sameWishes && JSON.stringify(a.choice) === JSON.stringify(b.choice);
}

/** Of the missing wishes those that are to be had, candidates only as a whole; undefined when they are not enough. */
function enoughOf(
  { choice }: Asked,
  missing: readonly LockWish[],
  isToBeHad: (wish: LockWish) => boolean,
): readonly LockWish[] | undefined {
  const groupOf = new Map((choice?.groups ?? []).flatMap((group) => group.map((lock) => [lock, group])));
  const fixed = missing.filter((wish) => !groupOf.has(lockName(wish)));
  if (!fixed.every(isToBeHad)) return undefined;
  const spoiled = new Set(missing.filter((wish) => !isToBeHad(wish)).map((wish) => groupOf.get(lockName(wish))));
  if (choice !== undefined && choice.groups.length - spoiled.size < choice.least) return undefined;
  return missing.filter((wish) => !spoiled.has(groupOf.get(lockName(wish))));
}
