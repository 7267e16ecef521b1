/** Deliveries: none lost, the most urgent first, no more at once than allowed. */
import { BullWakeQueue, type JobId, type ReadyJob } from "@gannet/job-ledger";
import { silentLogger } from "@gannet/telemetry";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "./eventually.ts";

let server: TestRedis;
let ready: ReadyJob[];
let sweeps: number;
let queues: BullWakeQueue[];
beforeAll(async () => {
  server = await startTestRedis();
});
afterAll(() => server.stop());
beforeEach(async () => {
  await server.flush();
  ready = [];
  sweeps = 0;
  queues = [];
});
afterEach(() => Promise.all(queues.map((queue) => queue.close())));

function openQueue(options: { readonly sweepIntervalMs?: number } = {}): BullWakeQueue {
  const queue = new BullWakeQueue({
    address: server.address,
    name: "wake-under-test",
    readyJobs: async () => {
      sweeps += 1;
      return ready;
    },
    logger: silentLogger(),
    ...options,
  });
  queues.push(queue);
  return queue;
}

/** A handler that writes down what it is given and holds each delivery until it is let go. */
function gate() {
  const delivered: JobId[] = [];
  const held = new Map<JobId, () => void>();
  return {
    delivered,
    handler: (id: JobId) =>
      new Promise<void>((resolve) => {
        delivered.push(id);
        held.set(id, resolve);
      }),
    letGo: (id: JobId) => held.get(id)?.(),
    letAllGo: () => {
      for (const resolve of held.values()) resolve();
    },
  };
}

/** Entries that BullMQ has, in whatever state. */
const entries = async () => (await server.client.keys("gannet:wake:job-*")).filter((key) => !key.endsWith(":lock"));

test("what is woken is delivered, also when it was woken before deliveries began", async () => {
  const queue = openQueue();
  await queue.wake(1, 0);
  const delivered: JobId[] = [];
  queue.start(async (id) => void delivered.push(id), { concurrency: 5 });
  await queue.wake(2, 0);
  await eventually(() => expect(delivered.toSorted()).toEqual([1, 2]));
  await eventually(async () => expect(await entries()).toEqual([]));
});

test("the most urgent come first, and among equals the earliest", async () => {
  const queue = openQueue();
  const wakes = [
    [1, 10],
    [2, 0],
    [3, -20],
    [4, 0],
    [5, 19],
    [6, -10],
  ] as const;
  for (const [id, priority] of wakes) await queue.wake(id, priority);
  const delivered: JobId[] = [];
  queue.start(async (id) => void delivered.push(id), { concurrency: 1 });
  await eventually(() => expect(delivered).toHaveLength(6));
  expect(delivered).toEqual([3, 6, 2, 4, 1, 5]);
});

test("a pending wake-up can change its priority", async () => {
  const queue = openQueue();
  for (const id of [1, 2, 11]) await queue.wake(id, 0);
  await queue.reprioritize(11, -10);
  await queue.reprioritize(99, -10);
  const delivered: JobId[] = [];
  queue.start(async (id) => void delivered.push(id), { concurrency: 1 });
  await eventually(() => expect(delivered).toEqual([11, 1, 2]));
});

describe("a wake-up during an earlier delivery of the same job is not lost", () => {
  test("while the handler works", async () => {
    const queue = openQueue();
    const { handler, delivered, letGo, letAllGo } = gate();
    queue.start(handler, { concurrency: 1 });
    await queue.wake(7, 0);
    await eventually(() => expect(delivered).toEqual([7]));
    await queue.wake(7, 0);
    letGo(7);
    await eventually(() => expect(delivered).toEqual([7, 7]));
    letAllGo();
  });

  test("at any moment around the handler's end", async () => {
    const queue = openQueue();
    let deliveries = 0;
    let wokenAgain = 0;
    const rounds = 200;
    // The wake-up starts while the handler runs and reaches Redis before, while or after BullMQ ends the delivery.
    queue.start(
      async (id) => {
        deliveries += 1;
        if (wokenAgain >= rounds) return;
        wokenAgain += 1;
        const turns = wokenAgain % 5;
        void (async () => {
          for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
          await queue.wake(id, 0);
        })();
      },
      { concurrency: 2 },
    );
    await queue.wake(7, 0);
    await eventually(() => expect(deliveries).toBe(rounds + 1));
  });
});

test("a handler that fails is not called again for the same wake-up", async () => {
  const queue = openQueue();
  const delivered: JobId[] = [];
  queue.start(
    async (id) => {
      delivered.push(id);
      throw new Error("as asked");
    },
    { concurrency: 1 },
  );
  await queue.wake(1, 0);
  await queue.wake(2, 0);
  await eventually(() => expect(delivered).toEqual([1, 2]));
  await eventually(async () => expect(await entries()).toEqual([]));
});

describe("concurrency", () => {
  test("no more deliveries at once than allowed; raising it takes effect while all slots are taken", async () => {
    const queue = openQueue();
    const { handler, delivered, letAllGo } = gate();
    for (let id = 1; id <= 10; id++) await queue.wake(id, 0);
    queue.start(handler, { concurrency: 2 });
    await eventually(() => expect(delivered).toHaveLength(2));
    queue.setConcurrency(6);
    await eventually(() => expect(delivered).toHaveLength(6));
    queue.setConcurrency(3);
    letAllGo();
    await eventually(() => expect(delivered.length).toBeGreaterThanOrEqual(9));
    letAllGo();
    await eventually(() => expect(delivered).toHaveLength(10));
    letAllGo();
  });

  test("lowering it holds when the running deliveries end", async () => {
    const queue = openQueue();
    const { handler, delivered, letGo, letAllGo } = gate();
    for (let id = 1; id <= 8; id++) await queue.wake(id, 0);
    queue.start(handler, { concurrency: 4 });
    await eventually(() => expect(delivered).toEqual([1, 2, 3, 4]));
    queue.setConcurrency(1);
    for (const id of [1, 2, 3]) letGo(id);
    await eventually(async () => expect(await entries()).toHaveLength(5));
    expect(delivered).toHaveLength(4);
    letGo(4);
    await eventually(() => expect(delivered).toHaveLength(5));
    expect(delivered).toHaveLength(5);
    queue.setConcurrency(8);
    await eventually(() => expect(delivered).toHaveLength(8));
    letAllGo();
  });

  test("raising it while nothing is to do loses nothing", async () => {
    const queue = openQueue();
    const delivered: JobId[] = [];
    queue.start(async (id) => void delivered.push(id), { concurrency: 1 });
    await queue.wake(1, 0);
    await eventually(() => expect(delivered).toEqual([1]));
    queue.setConcurrency(5);
    await queue.wake(2, 0);
    await eventually(() => expect(delivered).toEqual([1, 2]));
  });
});

describe("the sweeper", () => {
  test("adds what is ready and not queued, once", async () => {
    const queue = openQueue({ sweepIntervalMs: 20 });
    const { handler, delivered, letAllGo } = gate();
    queue.start(handler, { concurrency: 1 });
    await queue.wake(1, 0);
    await eventually(() => expect(delivered).toEqual([1]));
    ready = [
      { id: 1, priority: 0 },
      { id: 2, priority: 0 },
      { id: 3, priority: -10 },
    ];
    const before = sweeps;
    await eventually(() => expect(sweeps).toBeGreaterThan(before + 5));
    // One that is under way and two that wait, however often it was swept.
    expect(await entries()).toHaveLength(3);
    ready = [];
    for (const expected of [2, 3]) {
      letAllGo();
      await eventually(() => expect(delivered).toHaveLength(expected));
    }
    letAllGo();
    expect(delivered).toEqual([1, 3, 2]);
  });

  test("a new leader's start finds what an old leader had in delivery when it was killed", async () => {
    const dead = openQueue();
    const { handler, delivered, letAllGo } = gate();
    dead.start(handler, { concurrency: 1 });
    await dead.wake(5, 0);
    await eventually(() => expect(delivered).toEqual([5]));
    // The entry is in delivery for as long as its lock lasts; the ledger, taken over, says that the job is ready.
    ready = [{ id: 5, priority: 0 }];
    const leader = openQueue();
    const later: JobId[] = [];
    leader.start(
      async (id) => {
        later.push(id);
        ready = [];
      },
      { concurrency: 1 },
    );
    await eventually(() => expect(later).toEqual([5]));
    expect(delivered).toEqual([5]);
    letAllGo();
  });
});

describe("stop", () => {
  test("waits for the deliveries under way, takes no others, and can be followed by another start", async () => {
    const queue = openQueue();
    const first = gate();
    for (const id of [1, 2]) await queue.wake(id, 0);
    queue.start(first.handler, { concurrency: 1 });
    await eventually(() => expect(first.delivered).toEqual([1]));
    let stopped = false;
    const stopping = queue.stop().then(() => {
      stopped = true;
    });
    await queue.wake(3, 0);
    expect(stopped).toBe(false);
    first.letAllGo();
    await stopping;
    expect(first.delivered).toEqual([1]);

    const delivered: JobId[] = [];
    queue.start(async (id) => void delivered.push(id), { concurrency: 1 });
    await eventually(() => expect(delivered).toEqual([2, 3]));
  });

  test("does not hang while Redis is away", async () => {
    const queue = openQueue();
    const { handler, delivered, letAllGo } = gate();
    queue.start(handler, { concurrency: 1 });
    await queue.wake(1, 0);
    await eventually(() => expect(delivered).toEqual([1]));
    await server.kill();
    letAllGo();
    const before = performance.now();
    await queue.stop();
    expect(performance.now() - before).toBeLessThan(5_000);
    await server.start();
  });
});

test("a wake-up while Redis is away is kept, and delivered when it is back", async () => {
  const queue = openQueue();
  const delivered: JobId[] = [];
  queue.start(async (id) => void delivered.push(id), { concurrency: 1 });
  await queue.wake(1, 0);
  await eventually(() => expect(delivered).toEqual([1]));
  await server.kill();
  await queue.wake(2, 0);
  await server.start();
  await eventually(() => expect(delivered).toEqual([1, 2]));
});
