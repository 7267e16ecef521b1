/** Priorities from submit to run: in the queue, for a slot, and for locks. */
import { RedisJobLedger } from "@gannet/job-ledger";
import { RedisLockManager } from "@gannet/locking";
import { EPOCH_KEY } from "@gannet/redis";
import { silentLogger } from "@gannet/telemetry";
import { startTestRedis } from "@gannet/testing";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { exclusive } from "../../src/executor/lock-wishes.ts";
import { RunningSlots } from "../../src/executor/running-slots.ts";
import { type ExecutorTestbed, startExecutorTestbed } from "./executor-testbed.ts";

describe("with one slot", () => {
  let bed: ExecutorTestbed;
  beforeEach(async () => {
    bed = await startExecutorTestbed({ maxRunningJobs: 1 });
  });
  afterEach(() => bed[Symbol.asyncDispose]());

  /** One runs, and one more has been delivered, so that the slot need not wait for Redis; what comes later is behind it. */
  async function occupied() {
    const running = await bed.submit({});
    await vi.waitFor(() => expect(bed.running).toContain(running));
    const next = await bed.submit({});
    await vi.waitFor(() => expect(bed.queued).toEqual([]));
    return [running, next] as const;
  }

  /** End each job as it begins, until so many have. */
  async function orderOf(count: number): Promise<readonly number[]> {
    for (let ended = 0; ended < count; ended += 1) {
      await vi.waitFor(() => expect(bed.begun).toHaveLength(ended + 1), { timeout: 10_000, interval: 5 });
      bed.end(bed.begun[ended] ?? 0);
    }
    return bed.begun;
  }

  test("the most urgent job runs first, and of equals the first submitted", async () => {
    const first = await occupied();
    const low = await bed.submit({ priority: 10 });
    const normal = await bed.submit({ priority: 0 });
    const high = await bed.submit({ priority: -10 });
    const normalToo = await bed.submit({});
    expect(await orderOf(6)).toEqual([...first, high, normal, normalToo, low]);
  });

  test("a queued job whose priority is changed moves", async () => {
    const first = await occupied();
    const a = await bed.submit({});
    const b = await bed.submit({});
    const c = await bed.submit({});
    expect(await bed.ledger.changePriority(c, -10)).toEqual([true, expect.any(String)]);
    await bed.ledger.changePriority(a, 10);
    await vi.waitFor(() => expect(bed.queued).toEqual([c, b, a]));
    expect(await orderOf(5)).toEqual([...first, c, b, a]);
  });
});

test("waiting for locks: a job whose priority is changed moves before the others", async () => {
  await using bed = await startExecutorTestbed();
  const holder = await bed.submit({ locks: ["x"] });
  await bed.settled([holder]);
  const waiting = async (priority?: 10) => {
    const id = await bed.submit({ locks: ["x"], ...(priority === undefined ? {} : { priority }) });
    await vi.waitFor(async () => expect(await bed.locks.explain(id)).toHaveLength(1));
    return id;
  };
  const a = await waiting();
  const b = await waiting();
  const low = await waiting(10);
  const c = await waiting();
  expect(await pendingOf(bed.locks)).toEqual([a, b, c, low]);
  await bed.ledger.changePriority(c, -10);
  await bed.ledger.changePriority(a, 10);
  expect(await pendingOf(bed.locks)).toEqual([c, b, a, low]);
  for (const id of [holder, c, b, a, low]) {
    await bed.settled([id]);
    bed.end(id);
  }
  await bed.settled([]);
});

describe("in the ledger", () => {
  const FENCE = { epoch: 1 };
  const wishes = [exclusive.node("x")];

  async function openLedger() {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await startTestRedis());
    await redis.client.set(EPOCH_KEY, FENCE.epoch);
    const woken: number[] = [];
    const wakeQueue = { wake: async (id: number) => void woken.push(id), reprioritize: async () => undefined };
    const ledger = new RedisJobLedger({ address: redis.address, name: "test", wakeQueue, logger: silentLogger() });
    stack.defer(() => ledger.close());
    const input = { OP_ID: "OP_TEST_DELAY", duration: 0 };
    await ledger.submit(Array.from({ length: 4 }, () => ({ requester: "tester", opcodes: [{ input, summary: "" }] })));
    woken.length = 0;
    const resources = stack.move();
    return {
      ledger,
      locks: new RedisLockManager(redis.client),
      woken,
      [Symbol.asyncDispose]: () => resources.disposeAsync(),
    };
  }

  test("what is to be delivered stands in the order of the queue", async () => {
    await using bed = await openLedger();
    const input = { OP_ID: "OP_TEST_DELAY", duration: 0 };
    await bed.ledger.submit(
      Array.from({ length: 8 }, () => ({ requester: "tester", opcodes: [{ input, summary: "" }] })),
    );
    await bed.ledger.changePriority(11, -10);
    expect((await bed.ledger.readyJobs()).map(({ id }) => id)).toEqual([11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]);
  });

  test("an opcode waits for its locks at the priority that it has when it begins", async () => {
    await using bed = await openLedger();
    await bed.ledger.changePriority(3, -10);
    for (const id of [1, 2, 3]) await bed.ledger.begin(id, 0, FENCE, { wishes });
    expect(await pendingOf(bed.locks)).toEqual([3, 2]);
  });

  test("who is let in by a change of priority is woken", async () => {
    await using bed = await openLedger();
    const shared = [{ level: "node", name: "x", mode: "shared" } as const];
    expect(await bed.ledger.begin(1, 0, FENCE, { wishes: shared })).toBe("running");
    expect(await bed.ledger.begin(2, 0, FENCE, { wishes })).toBe("parked");
    expect(await bed.ledger.begin(3, 0, FENCE, { wishes: shared })).toBe("parked");
    expect(await bed.ledger.begin(4, 0, FENCE, { wishes: shared })).toBe("parked");
    await bed.ledger.changePriority(3, -10);
    expect(bed.woken).toEqual([3]);
    await bed.ledger.changePriority(2, 10);
    expect(bed.woken).toEqual([3, 4]);
  });
});

test("waiting for a slot: the most urgent first, and of equals the first come", async () => {
  const slots = new RunningSlots(1);
  const order: string[] = [];
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const work = [slots.run(0, () => gate)];
  for (const [name, priority] of [
    ["a", 0],
    ["b", 10],
    ["c", -10],
    ["d", 0],
  ] as const)
    work.push(slots.run(priority, async () => void order.push(name)));
  open();
  await Promise.all(work);
  expect(order).toEqual(["c", "a", "d", "b"]);
});

/** Who waits for the lock of node x, in order. */
async function pendingOf(locks: RedisLockManager): Promise<readonly number[]> {
  const lock = (await locks.list()).find(({ name }) => name === "node/x");
  return lock?.pending.map(({ owner }) => owner) ?? [];
}
