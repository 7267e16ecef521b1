/**
 * The lease of a node's self-fence: whatever is delayed, lost or repeated, and however leaders follow each other, no
 * leader takes a node for fenced before the node's own deadline.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SelfFenceGrantor, SelfFenceHolder } from "../src/index.ts";

const TIMEOUT_MS = 10_000;
const STOP_WITHIN_MS = 3_000;
const TIMES = { timeoutMs: TIMEOUT_MS, stopWithinMs: STOP_WITHIN_MS };

/** A request on its way to the node, sent by a leader of a term. */
interface Request {
  readonly term: number;
  readonly ticket: string;
}

/** What happens next: time passes, a leader sends, a message arrives or is lost, a leader follows another. */
const event = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 6_000 }) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("send" as const) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("arrive" as const), which: fc.nat(5) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("answer" as const), which: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("lose" as const), which: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("next leader" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("agent restarts" as const) }) },
);

class World {
  /** True time. The node's clock and the leader's begin anywhere, and run apart by up to half of a hundredth each. */
  now = 0;
  readonly #nodeRate: number;
  readonly #leaderRate: number;
  holder = new SelfFenceHolder();
  grantor = new SelfFenceGrantor(this.leaderMs);
  term = 1;
  tickets = 0;
  /** Whether the node has ever told a leader that it guards itself: no leader counts on it before. */
  guarded = false;
  readonly requests: Request[] = [];
  readonly replies: { readonly term: number; readonly ticket: string; readonly armed: boolean }[] = [];

  constructor(nodeRate: number, leaderRate: number) {
    this.#nodeRate = nodeRate;
    this.#leaderRate = leaderRate;
    this.grantor = new SelfFenceGrantor(this.leaderMs);
  }

  get nodeMs(): number {
    return 1_000_000 + this.now * (1 + this.#nodeRate);
  }

  get leaderMs(): number {
    return 50 + this.now * (1 + this.#leaderRate);
  }

  apply(next: typeof event extends fc.Arbitrary<infer Event> ? Event : never): void {
    switch (next.kind) {
      case "pass":
        this.now += next.ms;
        return;
      case "send":
        this.requests.push({ term: this.term, ticket: this.grantor.bringBack() });
        return;
      case "arrive": {
        // Also of a leader that has been replaced, which the node has not heard of.
        const [request] = this.requests.splice(next.which % Math.max(1, this.requests.length), 1);
        if (request === undefined) return;
        this.holder.renew(request.ticket, TIMEOUT_MS);
        this.tickets += 1;
        const ticket = `t${this.tickets}`;
        this.holder.give(ticket, this.nodeMs);
        this.replies.push({ term: request.term, ticket, armed: this.holder.deadlineMs !== undefined });
        return;
      }
      case "answer": {
        const [reply] = this.replies.splice(next.which % Math.max(1, this.replies.length), 1);
        // A leader of before sends nothing any more, whatever it is answered.
        if (reply?.term !== this.term) return;
        this.guarded ||= reply.armed;
        this.grantor.received(reply.ticket, this.leaderMs);
        return;
      }
      case "lose":
        (next.which % 2 === 0 ? this.requests : this.replies).splice(next.which, 1);
        return;
      case "next leader":
        this.term += 1;
        this.grantor = new SelfFenceGrantor(this.leaderMs);
        return;
      case "agent restarts":
        this.holder = new SelfFenceHolder(this.holder.deadlineMs);
    }
  }
}

const rate = fc.double({ min: -0.004, max: 0.004, noNaN: true });

test("a leader that takes a guarded node for fenced is right, from then on until somebody renews anew", () => {
  let proofs = 0;
  fc.assert(
    fc.property(rate, rate, fc.array(event, { minLength: 20, maxLength: 80 }), (nodeRate, leaderRate, events) => {
      const world = new World(nodeRate, leaderRate);
      for (const next of events) {
        world.apply(next);
        if (!world.guarded || !world.grantor.hasFenced(world.leaderMs, TIMES)) continue;
        proofs += 1;
        // The node's guests have had their time to be stopped, and what is still on its way prolongs nothing.
        expect(world.holder.hasExpired(world.nodeMs - STOP_WITHIN_MS)).toBe(true);
        for (const request of world.requests) {
          const later = new SelfFenceHolder(world.holder.deadlineMs);
          later.renew(request.ticket, TIMEOUT_MS);
          expect(later.hasExpired(world.nodeMs - STOP_WITHIN_MS)).toBe(true);
        }
      }
    }),
    { numRuns: 2_000, seed: 7 },
  );
  expect(proofs).toBeGreaterThan(500);
});

describe("a node", () => {
  test("guards nothing before a ticket has come back", () => {
    const holder = new SelfFenceHolder();
    holder.give("a", 0);
    expect(holder.hasExpired(1e9)).toBe(false);
    holder.renew("unknown", 5);
    expect(holder.deadlineMs).toBeUndefined();
  });

  test("counts from when it gave the ticket, not from when that came back", () => {
    const holder = new SelfFenceHolder();
    holder.give("a", 100);
    holder.renew("a", 50);
    expect([holder.hasExpired(149), holder.hasExpired(150)]).toEqual([false, true]);
  });

  test("is renewed after its deadline by a ticket that it gave afterwards, and by no older one", () => {
    const holder = new SelfFenceHolder();
    holder.give("a", 0);
    holder.renew("a", 50);
    holder.give("b", 100);
    holder.renew("a", 50);
    expect(holder.hasExpired(100)).toBe(true);
    holder.renew("b", 50);
    expect(holder.hasExpired(100)).toBe(false);
  });
});

test("a leader that hears nothing counts from the last ticket that it may have brought back", () => {
  const grantor = new SelfFenceGrantor(0);
  grantor.received("a", 1_000);
  expect(grantor.hasFenced(13_200, TIMES)).toBe(true);
  expect(grantor.bringBack()).toBe("a");
  expect([grantor.hasFenced(14_129, TIMES), grantor.hasFenced(14_131, TIMES)]).toEqual([false, true]);
  expect(grantor.fencesInMs(14_030, TIMES)).toBe(100);
});
