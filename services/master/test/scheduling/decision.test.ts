/** What filter rules and limits decide of one job. */
import type { FilterRule } from "@gannet/objects";
import { describe, expect, test } from "vitest";
import { type Decision, decide, orderedRules } from "../../src/scheduling/decision.ts";
import { compilePredicates } from "../../src/scheduling/filter-predicates.ts";
import type { FilteredJob } from "../../src/scheduling/filtered-job.ts";
import { jobOf, rule, ruleUuid, usable } from "./rules.ts";

type Taken = Readonly<Record<string, number>>;

const A = (capacity: number) => `filter/${ruleUuid("a")}/${capacity}`;
const OF_TEST = ["opcode", ["==", "OP_ID", "OP_TEST_DELAY"]];
const OF_OTHERS = ["opcode", ["==", "OP_ID", "OP_CLUSTER_VERIFY"]];
const STARTED = { status: "success" } as const;

type LimitSketch = readonly [key: string, capacity: number];
const limitsOf = (limits: readonly LimitSketch[]) => limits.map(([key, capacity]) => ({ key, capacity }));
const run = (...limits: readonly LimitSketch[]): Decision => ({ action: "run", limits: limitsOf(limits) });
const wait = (...limits: readonly LimitSketch[]): Decision => ({ action: "wait", limits: limitsOf(limits) });
const pause: Decision = { action: "pause" };
const reject = (letter: string): Decision => ({ action: "reject", rule: ruleUuid(letter) });

describe("what is decided", () => {
  test.for<[label: string, rules: FilterRule[], job: FilteredJob, taken: Taken, decision: Decision]>([
    ["no rule: it runs", [], jobOf(1), {}, run()],
    ["ACCEPT", [rule("a", { action: "ACCEPT" })], jobOf(1), {}, run()],
    ["PAUSE", [rule("a", { action: "PAUSE" })], jobOf(1), {}, pause],
    ["PAUSE of one that has ended an opcode", [rule("a", { action: "PAUSE" })], jobOf(1, STARTED, {}), {}, run()],
    ["REJECT", [rule("a", { action: "REJECT" })], jobOf(1), {}, reject("a")],
    [
      "REJECT of one that has ended an opcode",
      [rule("a", { action: "REJECT" })],
      jobOf(1, STARTED, {}),
      {},
      reject("a"),
    ],
    ["CONTINUE alone: it runs", [rule("a", {})], jobOf(1), {}, run()],
    ["CONTINUE asks the next one", [rule("a", {}), rule("b", { action: "PAUSE" })], jobOf(1), {}, pause],
    [
      "a rule that does not apply is passed over",
      [rule("a", { action: "PAUSE", predicates: [OF_OTHERS] })],
      jobOf(1),
      {},
      run(),
    ],
    [
      "all predicates must hold",
      [rule("a", { action: "PAUSE", predicates: [OF_TEST, ["jobid", [">", "id", 5]]] })],
      jobOf(5),
      {},
      run(),
    ],
    [
      "the smaller priority number is asked first",
      [rule("a", { action: "PAUSE", priority: 1 }), rule("b", { action: "ACCEPT", priority: 0 })],
      jobOf(1),
      {},
      run(),
    ],
    [
      "then the older rule",
      [rule("a", { action: "PAUSE", watermark: 7 }), rule("b", { action: "ACCEPT", watermark: 6 })],
      jobOf(1),
      {},
      run(),
    ],
    ["then the smaller UUID", [rule("b", { action: "PAUSE" }), rule("a", { action: "ACCEPT" })], jobOf(1), {}, run()],
    ["RATE_LIMIT with places", [rule("a", { action: ["RATE_LIMIT", 2] })], jobOf(1), { [A(2)]: 1 }, run([A(2), 2])],
    ["RATE_LIMIT that is full", [rule("a", { action: ["RATE_LIMIT", 2] })], jobOf(1), { [A(2)]: 2 }, wait([A(2), 2])],
    [
      "RATE_LIMIT of one that has ended an opcode",
      [rule("a", { action: ["RATE_LIMIT", 1] })],
      jobOf(1, STARTED, {}),
      { [A(1)]: 1 },
      wait([A(1), 1]),
    ],
    [
      "the limit of a rule behind ACCEPT",
      [rule("a", { action: "ACCEPT" }), rule("b", { action: ["RATE_LIMIT", 1] })],
      jobOf(1),
      {},
      run(),
    ],
    [
      "an ad-hoc limit",
      [],
      jobOf(1, { reason: ["x", "rate-limit:3:dns:a"] }),
      { "label/3/dns:a": 2 },
      run(["label/3/dns:a", 3]),
    ],
    [
      "an ad-hoc limit that is full",
      [],
      jobOf(1, { reason: ["rate-limit:1:dns"] }),
      { "label/1/dns": 1 },
      wait(["label/1/dns", 1]),
    ],
    [
      "the same label with another number is another limit",
      [],
      jobOf(1, { reason: ["rate-limit:2:dns"] }),
      { "label/1/dns": 1 },
      run(["label/2/dns", 2]),
    ],
    [
      "ACCEPT leaves ad-hoc limits",
      [rule("a", { action: "ACCEPT" })],
      jobOf(1, { reason: ["rate-limit:1:dns"] }),
      { "label/1/dns": 1 },
      wait(["label/1/dns", 1]),
    ],
    [
      "several limits, each once, of all opcodes: one is full",
      [rule("a", { action: ["RATE_LIMIT", 5] })],
      jobOf(1, { reason: ["rate-limit:1:x", "rate-limit:2:y"] }, { reason: ["rate-limit:1:x"] }),
      { "label/2/y": 2 },
      wait(["label/1/x", 1], ["label/2/y", 2], [A(5), 5]),
    ],
    [
      "a limit of no job is none",
      [],
      jobOf(1, { reason: ["rate-limit:0:x", "rate-limit:-1:x", "rate-limit:x", "a rate-limit:1:x"] }),
      {},
      run(),
    ],
  ])("%s", ([_label, rules, job, taken, decision]) => {
    expect(decide(usable(...rules), job, ({ key }) => taken[key] ?? 0)).toEqual(decision);
  });

  test("a stored rule that cannot be read applies to no job, and is told", () => {
    const rules = [
      rule("a", { action: "STOP" }),
      rule("b", { action: ["RATE_LIMIT", 0] }),
      rule("c", { action: "PAUSE", predicates: [["colour", ["==", "id", 1]]] }),
      rule("d", { action: "PAUSE" }),
    ];
    const unusable: string[] = [];
    const read = orderedRules(rules, ({ uuid }) => unusable.push(uuid));
    expect(unusable).toEqual([ruleUuid("a"), ruleUuid("b"), ruleUuid("c")]);
    expect(decide(read, jobOf(1), () => 0)).toEqual(pause);
  });
});

describe("predicates", () => {
  const job = jobOf(
    20,
    { OP_ID: "OP_INSTANCE_CREATE", instance_name: "web1", beparams: { maxmem: 512 }, tags: ["red"], force: true },
    { reason: ["nightly", "backup"], iallocator: null },
  );
  test.for<[predicate: unknown, holds: boolean]>([
    [["jobid", ["==", "id", 20]], true],
    [["jobid", [">", "id", "watermark"]], true],
    [["jobid", ["&", [">", "id", "watermark"], ["!", ["<=", "id", 19]]]], true],
    [["jobid", ["<=", "id", "watermark"]], false],
    [["jobid", null], true],
    [["opcode", ["==", "OP_ID", "OP_INSTANCE_CREATE"]], true],
    [["opcode", ["==", "OP_ID", "op_instance_create"]], false],
    [["opcode", ["=~", "instance_name", "^web"]], true],
    [["opcode", ["=[]", "tags", "red"]], true],
    [["opcode", ["?", "force"]], true],
    [["opcode", [">=", "beparams.maxmem", 512]], true],
    [["opcode", [">", "beparams.maxmem", 512]], false],
    // Each condition is looked at in one opcode at a time.
    [["opcode", ["&", ["==", "OP_ID", "OP_TEST_DELAY"], ["==", "instance_name", "web1"]]], false],
    [["opcode", ["==", "no.such.field", "x"]], false],
    [["opcode", ["==", "toString", "x"]], false],
    [["opcode", ["|", ["==", "no_such_field", "x"], ["==", "instance_name", "web1"]]], true],
    [["opcode", ["!=", "iallocator", "hail"]], true],
    // Of another type: it cannot be compared, and the rule does not apply.
    [["opcode", ["==", "instance_name", 5]], false],
    [["opcode", ["!=", "beparams", "x"]], false],
    [["reason", ["==", "source", "gnt:user"]], true],
    [["reason", ["==", "reason", "backup"]], true],
    [["reason", ["&", ["==", "reason", "nightly"], ["==", "timestamp", 1_700_000_000_000_000_000]]], true],
    [["reason", ["==", "reason", "daily"]], false],
  ])("%j: %j", ([predicate, holds]) => {
    expect(compilePredicates([predicate], 19)(job)).toBe(holds);
  });

  test.for<[predicates: unknown[], told: string]>([
    [["jobid"], "[name, filter]"],
    [[["jobid"]], "[name, filter]"],
    [[["jobid", ["==", "id", 1], 5]], "[name, filter]"],
    [[["colour", ["==", "id", 1]]], "jobid, opcode, reason"],
    [[["__proto__", ["==", "id", 1]]], "jobid, opcode, reason"],
    [[["jobid", ["==", "status", "queued"]]], "'status'"],
    [[["jobid", ["==", "id", "twelve"]]], "twelve"],
    [[["jobid", ["=~", "id", "1"]]], "no text"],
    [[["jobid", ["==", "id"]]], "2 arguments"],
    [[["reason", ["==", "text", "x"]]], "'text'"],
    [[["reason", ["==", "timestamp", "today"]]], "today"],
    [[["opcode", ["~", "OP_ID", "x"]]], "Unknown filter operator"],
    [[["opcode", ["=~", "OP_ID", "("]]], "Predicate 'opcode'"],
    [[["opcode", []]], "operator"],
    [[["opcode", "OP_ID"]], "operator"],
  ])("%j is refused", ([predicates, told]) => {
    expect(() => compilePredicates(predicates, 0)).toThrow(
      expect.objectContaining({ code: "wrong_input", message: expect.stringContaining(told) }),
    );
  });

  test("what is hidden from clients is hidden from filters", () => {
    const secret = jobOf(1, { osparams_private: { password: "hunter2" } });
    expect(compilePredicates([["opcode", ["==", "osparams_private.password", "hunter2"]]], 0)(secret)).toBe(false);
  });

  test("a regular expression goes on working after more jobs than one query may look at", () => {
    const holds = compilePredicates([["opcode", ["=~", "comment", "(a|b|ab|ba|aab)*c$"]]], 0);
    const long = jobOf(1, { comment: `${"ab".repeat(30_000)}c` });
    for (let round = 0; round < 60; round += 1) expect(holds(long)).toBe(true);
  });
});
