/** Deliveries: none lost, the most urgent first, no more at once than allowed. */
import { BullWakeQueue, type JobId, type ReadyJob } from "@gannet/job-ledger";
import { connectRedis } from "@gannet/redis";
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
const entries = async () => (await server.client.keys("gannet:wake:jobs-*")).filter((key) => !key.endsWith(":lock"));

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
  const { handler, delivered, letGo, letAllGo } = gate();
  queue.start(handler, { concurrency: 1 });
  const wakes = [
    [1, 10],
    [2, 10],
    [3, 0],
    [4, -20],
    [5, 0],
    [6, 19],
    [7, -10],
    // Once more: at the better of both places.
    [5, 19],
    [6, -15],
  ] as const;
  for (const [id, priority] of wakes) await queue.wake(id, priority);
  const order = [1, 4, 6, 7, 3, 5, 2];
  for (const [index, id] of order.entries()) {
    await eventually(() => expect(delivered).toHaveLength(index + 1));
    letGo(id);
  }
  expect(delivered).toEqual(order);
  letAllGo();
});

test("a pending wake-up can change its priority", async () => {
  const queue = openQueue();
  const { handler, delivered, letGo, letAllGo } = gate();
  queue.start(handler, { concurrency: 1 });
  for (const id of [1, 2, 3, 11]) await queue.wake(id, 0);
  await queue.reprioritize(11, -10);
  await queue.reprioritize(2, 10);
  await queue.reprioritize(99, -10);
  for (const [index, id] of [1, 11, 3, 2].entries()) {
    await eventually(() => expect(delivered).toHaveLength(index + 1));
    letGo(id);
  }
  expect(delivered).toEqual([1, 11, 3, 2]);
  letAllGo();
});

describe("wake-ups of another process", () => {
  test("arrive where deliveries are started, those of a burst together", async () => {
    const sender = openQueue();
    const ids = Array.from({ length: 1_000 }, (_, index) => index + 1);
    await Promise.all(ids.map((id) => sender.wake(id, 0)));
    expect((await entries()).length).toBeLessThan(10);
    const queue = openQueue();
    const delivered: JobId[] = [];
    queue.start(async (id) => void delivered.push(id), { concurrency: 5 });
    await eventually(() => expect(delivered).toHaveLength(ids.length));
    expect(delivered).toEqual(ids);
    await eventually(async () => expect(await entries()).toEqual([]));
  });

  test("stand in line with the others", async () => {
    const [sender, queue] = [openQueue(), openQueue()];
    const { handler, delivered, letGo, letAllGo } = gate();
    queue.start(handler, { concurrency: 1 });
    for (const id of [1, 2]) await queue.wake(id, 0);
    await sender.wake(3, -10);
    await sender.wake(4, 0);
    await sender.reprioritize(2, -5);
    await eventually(async () => expect(await entries()).toEqual([]));
    for (const [index, id] of [1, 3, 2, 4].entries()) {
      await eventually(() => expect(delivered).toHaveLength(index + 1));
      letGo(id);
    }
    expect(delivered).toEqual([1, 3, 2, 4]);
    letAllGo();
  });
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
    await new Promise((resolve) => setImmediate(resolve));
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
    expect(delivered).toEqual([1]);
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

  test("looks as soon as Redis is back: what it delivered last may not have arrived", async () => {
    const queue = openQueue();
    const delivered: JobId[] = [];
    queue.start(async (id) => void delivered.push(id), { concurrency: 1 });
    await eventually(() => expect(sweeps).toBe(1));
    ready = [{ id: 4, priority: 0 }];
    await server.kill();
    await server.start();
    await eventually(() => expect(delivered).toContain(4));
  });
});

test("a worker that fell asleep with a wake-up in its hand does not keep it from another for long", async () => {
  const redis = connectRedis(server.address, { name: "frozen", blocking: true });
  // What a frozen worker has sent to Redis: it is the first to be told of the next wake-up.
  const asleep = redis.bzpopmin("gannet:wake:marker", 0);
  const [sender, queue] = [openQueue(), openQueue()];
  const delivered: JobId[] = [];
  queue.start(async (id) => void delivered.push(id), { concurrency: 1 });
  await eventually(async () => expect(await server.client.info("clients")).toMatch(/blocked_clients:2/));
  await sender.wake(6, 0);
  await asleep;
  const startedAt = performance.now();
  await eventually(() => expect(delivered).toEqual([6]));
  expect(performance.now() - startedAt).toBeLessThan(4_000);
  redis.disconnect();
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
    await eventually(() => expect(delivered.toSorted()).toEqual([2, 3]));
  });

  test("hands over what stands in line, and what is woken meanwhile", async () => {
    const [queue, next] = [openQueue(), openQueue()];
    const { handler, delivered, letAllGo } = gate();
    queue.start(handler, { concurrency: 1 });
    const ids = Array.from({ length: 1_500 }, (_, index) => index + 1);
    for (const id of ids) await queue.wake(id, 0);
    await eventually(() => expect(delivered).toEqual([1]));
    const later: JobId[] = [];
    next.start(async (id) => void later.push(id), { concurrency: 1 });
    const stopping = queue.stop();
    await queue.wake(2_000, 0);
    await eventually(() => expect(later).toHaveLength(ids.length));
    letAllGo();
    await stopping;
    expect(delivered).toEqual([1]);
    // In whatever order: the worker that stops may have fetched one of its own entries.
    expect(later.toSorted((a, b) => a - b)).toEqual([...ids.slice(1), 2_000]);
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
  const [sender, queue] = [openQueue(), openQueue()];
  const delivered: JobId[] = [];
  queue.start(async (id) => void delivered.push(id), { concurrency: 1 });
  await sender.wake(1, 0);
  await eventually(() => expect(delivered).toEqual([1]));
  await server.kill();
  await sender.wake(2, 0);
  await server.start();
  await eventually(() => expect(delivered).toEqual([1, 2]));
});
