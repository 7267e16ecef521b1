/**
 * The books of running and held jobs over random histories: no limit is ever exceeded, nobody is overtaken under a
 * limit, nobody is held without cause, and everything has run in the end.
 */
import type { FilterRule } from "@gannet/objects";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Admission, type Candidate } from "../../src/scheduling/admission.ts";
import { inQueueOrder } from "../../src/scheduling/waiting-line.ts";
import { jobOf, rule, usable } from "./rules.ts";

const KINDS = ["OP_TEST_DELAY", "OP_INSTANCE_CREATE", "OP_CLUSTER_VERIFY"] as const;
const LABELS = ["rate-limit:1:a", "rate-limit:2:a", "rate-limit:1:b", "rate-limit:3:c"] as const;

/** Each kind of opcode has one rule at most, so that what applies to a job can be told without asking the code under test. */
type RuleSketch = { readonly kind: number; readonly action: "PAUSE" | number };

type Step =
  | { readonly do: "submit"; readonly kind: number; readonly labels: readonly number[]; readonly priority: number }
  | { readonly do: "deliver" | "end" | "cancel"; readonly which: number }
  | { readonly do: "reprioritize"; readonly which: number; readonly priority: number }
  | { readonly do: "rules"; readonly rules: readonly RuleSketch[] };

const priority = fc.constantFrom(-10, 0, 10);
const which = fc.nat(1_000);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("submit"),
      kind: fc.nat(KINDS.length - 1),
      labels: fc.uniqueArray(fc.nat(LABELS.length - 1), { maxLength: 2 }),
      priority,
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("deliver"), which }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom("end", "cancel"), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reprioritize"), which, priority }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("rules"),
      rules: fc.uniqueArray(
        fc.record({
          kind: fc.nat(KINDS.length - 1),
          action: fc.oneof(fc.constant("PAUSE" as const), fc.integer({ min: 1, max: 3 })),
        }),
        { selector: ({ kind }) => kind },
      ),
    }),
  },
) as fc.Arbitrary<Step>;

interface Known {
  readonly id: number;
  readonly kind: number;
  readonly labels: readonly string[];
  priority: number;
}

/** A leader without a ledger: what it would be delivered, what runs, and what is held by the code under test. */
class History {
  readonly admission: Admission = new Admission(({ id }) => {
    expect(this.deliveries, "called once").not.toContain(id);
    expect(this.admission.isHeld(id), "held no more").toBe(false);
    this.deliveries.push(id);
  });
  readonly jobs = new Map<number, Known>();
  readonly running = new Set<number>();
  readonly deliveries: number[] = [];
  rules: readonly RuleSketch[] = [];
  ended = 0;
  #lastId = 0;

  take(step: Step): void {
    switch (step.do) {
      case "submit": {
        this.#lastId += 1;
        const labels = step.labels.map((index) => LABELS[index] ?? "");
        this.jobs.set(this.#lastId, { id: this.#lastId, kind: step.kind, labels, priority: step.priority });
        this.deliveries.push(this.#lastId);
        return;
      }
      case "deliver": {
        const [id] = this.deliveries.splice(step.which % Math.max(this.deliveries.length, 1), 1);
        if (id !== undefined) this.#deliver(id);
        return;
      }
      case "end":
        this.#end(pick([...this.running], step.which));
        return;
      case "cancel":
        this.#end(
          pick(
            [...this.jobs.keys()].filter((id) => !this.running.has(id)),
            step.which,
          ),
        );
        return;
      case "reprioritize": {
        const job = this.jobs.get(pick([...this.jobs.keys()], step.which) ?? 0);
        if (job === undefined || this.running.has(job.id)) return;
        job.priority = step.priority;
        this.admission.reprioritize(job);
        return;
      }
      case "rules":
        this.setRules(step.rules);
        return;
    }
  }

  setRules(rules: readonly RuleSketch[]): void {
    this.rules = rules;
    const running = [...this.running].map((id) => candidate(this.#job(id)));
    this.admission.setRules(usable(...rules.map(storedRule)), running);
    for (const id of this.admission.held) this.admission.reconsider(candidate(this.#job(id)));
  }

  /** As many deliveries as there are, and as they bring. */
  settle(): void {
    for (let id = this.deliveries.shift(); id !== undefined; id = this.deliveries.shift()) this.#deliver(id);
  }

  endAll(): void {
    for (const id of [...this.running]) this.#end(id);
  }

  held(): readonly Known[] {
    return [...this.jobs.values()].filter(({ id }) => this.admission.isHeld(id));
  }

  /** What limits a job: `[key, capacity]` each, under the present rules. */
  limitsOf({ kind, labels }: Known): readonly (readonly [key: string, capacity: number])[] {
    const own = labels.map((label) => [label, Number(label.split(":")[1])] as const);
    const action = this.rules.find((one) => one.kind === kind)?.action;
    return typeof action === "number" ? [...own, [`rule ${kind}`, action]] : own;
  }

  isPaused({ kind }: Known): boolean {
    return this.rules.find((one) => one.kind === kind)?.action === "PAUSE";
  }

  /** Jobs, running or held, that the limit counts. */
  under(key: string, ids: Iterable<number>): readonly Known[] {
    return [...ids].map((id) => this.#job(id)).filter((job) => this.limitsOf(job).some(([other]) => other === key));
  }

  /** Whether the limits leave no place for a held job: those that run and those held before it take them all. */
  hasNoPlace(job: Known): boolean {
    const ahead = [...this.running, ...this.#heldBefore(job)];
    return this.limitsOf(job).some(([key, capacity]) => this.under(key, ahead).length >= capacity);
  }

  #heldBefore(job: Known): readonly number[] {
    const before = this.held().filter((other) => !this.isPaused(other) && inQueueOrder(other, job) < 0);
    return before.map(({ id }) => id);
  }

  #deliver(id: number): void {
    const job = this.jobs.get(id);
    if (job === undefined || this.running.has(id)) return;
    const { action } = this.admission.consider(candidate(job));
    expect(action === "pause").toBe(this.isPaused(job));
    if (action !== "run") {
      expect(this.admission.isHeld(id)).toBe(true);
      return;
    }
    // Those held before it keep their places.
    const before = this.#heldBefore(job);
    for (const [key, capacity] of this.limitsOf(job))
      expect(this.under(key, [...this.running, ...before]).length, `under ${key}`).toBeLessThan(capacity);
    this.running.add(id);
  }

  #end(id: number | undefined): void {
    if (id === undefined) return;
    this.running.delete(id);
    this.jobs.delete(id);
    this.ended += 1;
    this.admission.leave(id);
  }

  #job(id: number): Known {
    const job = this.jobs.get(id);
    if (job === undefined) throw new Error(`no job ${id}`);
    return job;
  }
}

function candidate({ id, kind, labels, priority: urgency }: Known): Candidate {
  return { ...jobOf(id, { OP_ID: KINDS[kind], reason: labels }), priority: urgency };
}

function storedRule({ kind, action }: RuleSketch): FilterRule {
  return rule(String(kind), {
    predicates: [["opcode", ["==", "OP_ID", KINDS[kind]]]],
    action: action === "PAUSE" ? action : ["RATE_LIMIT", action],
  });
}

function pick<T>(items: readonly T[], which: number): T | undefined {
  return items[which % Math.max(items.length, 1)];
}

test("random histories", () => {
  const histories = fc.property(fc.array(step, { maxLength: 120, size: "max" }), (steps) => {
    const history = new History();
    for (const one of steps) {
      history.take(one);
      expect(new Set(history.admission.admitted)).toEqual(history.running);
    }
    history.settle();
    for (const job of history.held())
      expect(history.isPaused(job) || history.hasNoPlace(job), `job ${job.id}`).toBe(true);
    expect(history.running.size + history.held().length).toBe(history.jobs.size);

    // Without a rule that pauses, everybody has a turn.
    history.setRules(history.rules.filter(({ action }) => action !== "PAUSE"));
    for (let rounds = history.jobs.size; rounds > 0; rounds -= 1) {
      history.settle();
      history.endAll();
    }
    expect([...history.jobs.keys()]).toEqual([]);
  });
  fc.assert(histories, { numRuns: 1_000 });
});

describe("one after another", () => {
  const limited = (id: number, ...labels: readonly string[]) => ({ ...jobOf(id, { reason: labels }), priority: 0 });
  const A = "rate-limit:1:a";
  const B = "rate-limit:1:b";

  test("a job with two limits has its turn, though each of them is always wanted", () => {
    const called: number[] = [];
    const admission = new Admission(({ id }) => called.push(id));
    for (const job of [limited(1, A), limited(2, B)]) expect(admission.consider(job).action).toBe("run");
    expect(admission.consider(limited(3, A, B)).action).toBe("wait");
    admission.leave(1);
    expect(admission.consider(limited(4, A)).action).toBe("wait");
    expect(called).toEqual([]);
    admission.leave(2);
    expect(called).toEqual([3]);
  });

  test("a more urgent one takes the place of one that was called and not delivered yet", () => {
    const called: number[] = [];
    const admission = new Admission(({ id }) => called.push(id));
    admission.consider(limited(1, A));
    admission.consider(limited(2, A));
    admission.leave(1);
    expect(called).toEqual([2]);
    expect(admission.consider({ ...limited(3, A), priority: -10 }).action).toBe("run");
    expect(admission.consider(limited(2, A)).action).toBe("wait");
    expect(admission.isHeld(2)).toBe(true);
    admission.leave(3);
    expect(called).toEqual([2, 2]);
  });

  test("the place of one that was called is called out again when it is canceled", () => {
    const called: number[] = [];
    const admission = new Admission(({ id }) => called.push(id));
    for (const id of [1, 2, 3]) admission.consider(limited(id, A));
    admission.leave(1);
    admission.leave(2);
    expect(called).toEqual([2, 3]);
  });

  test("a place that a rule with a greater limit leaves to those behind jobs that were called under the lesser one", () => {
    const called: number[] = [];
    const admission = new Admission(({ id }) => called.push(id));
    const job = (id: number, priority: number) => ({ ...jobOf(id, { OP_ID: "OP_TEST_DELAY" }), priority });
    const rules = (action: FilterRule["action"]) => {
      const predicates: FilterRule["predicates"] = [["opcode", ["==", "OP_ID", "OP_TEST_DELAY"]]];
      admission.setRules(usable(rule("1", { predicates, action })), []);
      for (const one of [job(1, 0), job(2, -10), job(3, 10)]) admission.reconsider(one);
    };
    rules("PAUSE");
    for (const one of [job(1, 0), job(2, -10), job(3, 10)]) expect(admission.consider(one).action).toBe("pause");
    rules(["RATE_LIMIT", 1]);
    rules(["RATE_LIMIT", 2]);
    admission.leave(1);
    expect(admission.consider(job(2, -10)).action).toBe("run");
    expect(admission.isHeld(3)).toBe(false);
    expect(admission.consider(job(3, 10)).action).toBe("run");
  });

  test("ten thousand jobs under one limit", () => {
    const deliveries: number[] = [];
    const admission = new Admission(({ id }) => deliveries.push(id));
    const jobs = Array.from({ length: 10_000 }, (_, index) => limited(index + 1, A));
    for (const job of jobs) admission.consider(job);
    const startedMs = performance.now();
    for (const { id } of jobs) {
      admission.leave(id);
      const next = deliveries.shift();
      if (next !== undefined) expect(admission.consider(limited(next, A)).action).toBe("run");
    }
    expect(admission.admitted).toEqual([]);
    // Looking at all that wait for each that ends would take ten times as long.
    expect(performance.now() - startedMs).toBeLessThan(2_000);
  });
});
