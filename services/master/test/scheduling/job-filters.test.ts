/** Job filters and rate limits in the running executor. */
import type { JobId } from "@gannet/job-ledger";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type ExecutorTestbed, startExecutorTestbed } from "./executor-testbed.ts";
import { rule } from "./rules.ts";

let bed: ExecutorTestbed;
beforeEach(async () => {
  bed = await startExecutorTestbed();
});
afterEach(() => bed[Symbol.asyncDispose]());

const BATCH = { predicates: [["opcode", ["==", "comment", "batch"]]] };
const PAUSE = rule("a", { ...BATCH, action: "PAUSE" });
const REJECT = rule("a", { ...BATCH, action: "REJECT" });
const limit = (count: number) => rule("a", { ...BATCH, action: ["RATE_LIMIT", count] });
const batch = { comment: "batch" };

async function submitMany(count: number, more: object = {}): Promise<readonly JobId[]> {
  const ids: JobId[] = [];
  for (let n = 0; n < count; n += 1) ids.push(await bed.submit({ ...batch, ...more }));
  return ids;
}

const becomes = (id: JobId, status: string) => vi.waitFor(async () => expect(await bed.statusOf(id)).toBe(status));

describe("PAUSE", () => {
  test("keeps jobs queued, without delivering them again, until the rule is gone", async () => {
    await bed.setRules(PAUSE);
    const [paused = 0] = await submitMany(1);
    const other = await bed.submit({});
    await bed.settled([other]);
    expect(await bed.ledger.get(paused)).toMatchObject({ status: "queued", startTimestamp: null });

    const { sweeps } = bed;
    await vi.waitFor(() => expect(bed.sweeps).toBeGreaterThan(sweeps + 3));
    expect(bed.deliveries.get(paused)).toBe(1);

    await bed.setRules();
    await bed.settled([paused, other]);
    expect(bed.deliveries.get(paused)).toBe(2);
  });

  test("leaves jobs that have begun, parked ones and those between two opcodes, too", async () => {
    const running = await bed.submit({ ...batch, locks: ["x"] }, batch);
    const parked = await bed.submit({ ...batch, locks: ["x"] });
    await bed.settled([running]);
    await bed.setRules(PAUSE);
    bed.end(running);
    await bed.settled([running, parked]);
    expect(bed.begun).toEqual(expect.arrayContaining([running, running, parked]));
  });

  test("a paused job can be canceled", async () => {
    await bed.setRules(PAUSE);
    const [paused = 0] = await submitMany(1);
    await bed.settled([]);
    expect(await bed.ledger.cancel(paused)).toEqual([true, expect.any(String)]);
    await bed.setRules();
    await bed.settled([]);
    expect(await bed.statusOf(paused)).toBe("canceled");
  });
});

describe("REJECT", () => {
  test("cancels what is submitted", async () => {
    await bed.setRules(REJECT);
    const [rejected = 0] = await submitMany(1);
    await becomes(rejected, "canceled");
    await bed.settled([]);
    expect(bed.begun).toEqual([]);
  });

  test("cancels what is queued, paused or waiting for locks or jobs at once, and not what runs", async () => {
    await bed.setCluster({ maxRunningJobs: 1 });
    const running = await bed.submit({ ...batch, locks: ["x"] });
    await bed.settled([running]);
    await bed.setCluster({ maxRunningJobs: 2 });
    const parked = await bed.submit({ ...batch, locks: ["x"] });
    await vi.waitFor(async () => expect(await bed.locks.explain(parked)).toHaveLength(1));
    await bed.setRules(PAUSE);
    const [paused = 0] = await submitMany(1);
    const dependant = await bed.submit({ ...batch, depends: [[running, ["success"]]] });
    await bed.settled([running]);
    const others = [await bed.submit({}), await bed.submit({}), await bed.submit({}), await bed.submit({})];
    const behind = await bed.submit(batch);

    await bed.setRules(REJECT);
    for (const id of [parked, paused, dependant, behind]) await becomes(id, "canceled");
    expect(await bed.locks.explain(parked)).toEqual([]);
    expect(await bed.statusOf(running)).toBe("running");
    bed.end(running);
    await becomes(running, "success");
    await vi.waitFor(() => expect(bed.running.size).toBe(2));
    for (const id of others) {
      await vi.waitFor(() => expect(bed.running).toContain(id));
      bed.end(id);
    }
    await bed.settled([]);
  });
});

describe("RATE_LIMIT", () => {
  test("lets so many jobs run at once; the others follow as these end, the most urgent first", async () => {
    await bed.setRules(limit(2));
    const [a = 0, b = 0, c = 0, d = 0] = await submitMany(4);
    const urgent = await bed.submit({ ...batch, priority: -10 });
    const unlimited = await bed.submit({});
    await bed.settled([a, b, unlimited]);
    expect(await bed.statusOf(c)).toBe("queued");

    bed.end(a);
    await bed.settled([b, urgent, unlimited]);
    bed.end(b, urgent);
    await bed.settled([c, d, unlimited]);
    expect(bed.deliveries.get(d)).toBe(2);
  });

  test("follows its rule: raised, lowered, removed", async () => {
    await bed.setRules(limit(1));
    const [a = 0, b = 0, c = 0, d = 0, e = 0] = await submitMany(5);
    await bed.settled([a]);
    await bed.setRules(limit(3));
    await bed.settled([a, b, c]);
    await bed.setRules(limit(2));
    bed.end(a);
    await bed.settled([b, c]);
    bed.end(b);
    await bed.settled([c, d]);
    await bed.setRules();
    await bed.settled([c, d, e]);
  });

  test("counts the jobs that ran before the rule came, and those that wait for locks", async () => {
    const [running = 0] = await submitMany(1, { locks: ["x"] });
    const parked = await bed.submit({ ...batch, locks: ["x"] });
    await bed.settled([running]);
    await bed.setRules(limit(3));
    const [third = 0, fourth = 0] = await submitMany(2);
    await bed.settled([running, third]);
    bed.end(running);
    await bed.settled([parked, third, fourth]);
  });

  test("a job that waits for another one gives up its place to it", async () => {
    await bed.setRules(PAUSE);
    const awaited = await bed.submit(batch);
    const waiting = await bed.submit({}, { depends: [[awaited, []]] });
    await bed.settled([waiting]);
    await bed.setRules(rule("a", { action: ["RATE_LIMIT", 1] }));
    await bed.settled([waiting]);
    bed.end(waiting);
    await bed.settled([awaited]);
    bed.end(awaited);
    await bed.settled([waiting]);
    bed.end(waiting);
    await becomes(waiting, "success");
  });

  test("a job that is delivered and waits for yet another one takes no place", async () => {
    await bed.setRules(rule("a", { action: ["RATE_LIMIT", 1] }));
    const first = await bed.submit({});
    const second = await bed.submit({});
    const urgent = await bed.submit({
      priority: -10,
      depends: [
        [first, []],
        [second, []],
      ],
    });
    await bed.settled([first]);
    bed.end(first);
    await bed.settled([second]);
    bed.end(second);
    await bed.settled([urgent]);
  });

  test("a canceled job makes no other one wait", async () => {
    await bed.setRules(limit(1));
    const [a = 0, b = 0, c = 0] = await submitMany(3);
    await bed.settled([a]);
    await bed.ledger.cancel(b);
    bed.end(a);
    await bed.settled([c]);
    const parked = await bed.submit({ locks: ["x"] });
    bed.end(c);
    await bed.settled([parked]);
    const [d = 0] = await submitMany(1, { locks: ["x"] });
    const [e = 0] = await submitMany(1);
    await vi.waitFor(async () => expect(await bed.locks.explain(d)).toHaveLength(1));
    await bed.settled([parked]);
    await bed.ledger.cancel(d);
    await bed.settled([parked, e]);
  });

  test("a change of priority changes the order of those that wait", async () => {
    await bed.setRules(limit(1));
    const [a = 0, b = 0, c = 0] = await submitMany(3);
    await bed.settled([a]);
    expect(await bed.ledger.changePriority(c, -10)).toEqual([true, expect.any(String)]);
    await bed.ledger.caughtUp();
    // The executor has asked for the new priority before, on the same connection.
    await bed.ledger.get(c);
    bed.end(a);
    await bed.settled([c]);
    bed.end(c);
    await bed.settled([b]);
  });
});

test("limits that jobs set themselves", async () => {
  const ids: JobId[] = [];
  for (const reason of ["rate-limit:1:dns", "rate-limit:1:dns", "rate-limit:2:dns", "rate-limit:1:mail"])
    ids.push(await bed.submit({ reason: [reason] }));
  const [a = 0, b = 0, c = 0, d = 0] = ids;
  await bed.settled([a, c, d]);
  bed.end(a);
  await bed.settled([b, c, d]);
});

test("the next leader holds back what is to be held back, and lets run what was let in, within the limits", async () => {
  await bed.setRules(limit(2), rule("b", { predicates: [["opcode", ["==", "comment", "later"]]], action: "PAUSE" }));
  const [running = 0] = await submitMany(1, { locks: ["x"] });
  const [parked = 0] = await submitMany(1, { locks: ["x"] });
  const [third = 0, fourth = 0] = await submitMany(2);
  const paused = await bed.submit({ comment: "later" });
  await bed.settled([running]);
  await bed.replaceLeader();
  await becomes(running, "error");
  await bed.settled([parked, third]);
  expect(await bed.statusOf(fourth)).toBe("queued");
  expect(await bed.statusOf(paused)).toBe("queued");
  bed.end(parked);
  await bed.settled([third, fourth]);
  await bed.setRules();
  await bed.settled([third, fourth, paused]);
});
