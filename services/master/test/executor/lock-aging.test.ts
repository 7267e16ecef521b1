/** The leader's look after waiting lock requests, over the real lock manager. */
import { Unavailable } from "@gannet/errors";
import { RedisLockManager } from "@gannet/locking";
import { connectRedis, EPOCH_KEY, type Redis } from "@gannet/redis";
import { silentLogger } from "@gannet/telemetry";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { keepAging } from "../../src/executor/lock-aging.ts";

const FENCE = { epoch: 7 };
const HALF_HOUR_MS = 1_800_000;
let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startTestRedis();
  redis = connectRedis(server.address, { name: "aging" });
  await server.client.set(EPOCH_KEY, FENCE.epoch);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

test("who has waited for half an hour goes up by one, is woken if that grants it, and trouble does not end the looks", async () => {
  const locks = new RedisLockManager(redis);
  const node = (name: string) => ({ level: "node", name, mode: "exclusive" }) as const;
  await locks.request({ owner: 1, wishes: [node("a")], priority: 0 }, FENCE);
  await locks.request({ owner: 2, wishes: [node("a"), node("b")], priority: 0 }, FENCE);
  await locks.request({ owner: 3, wishes: [node("b")], priority: 0 }, FENCE);
  await server.client.zadd("gannet:lock:rounds", Date.now() - HALF_HOUR_MS, "3");

  let looks = 0;
  const woken: number[] = [];
  const over = new AbortController();
  const aging = keepAging(
    {
      locks: {
        age: async (...args) => {
          looks += 1;
          if (looks === 1) throw new Unavailable("as asked");
          return await locks.age(...args);
        },
      },
      queue: { wake: async (id) => void woken.push(id) },
      fence: FENCE,
      logger: silentLogger(),
      lookEveryMs: 5,
    },
    over.signal,
  );
  await vi.waitFor(() => expect(woken).toEqual([3]), { timeout: 10_000 });
  await vi.waitFor(() => expect(looks).toBeGreaterThan(3), { timeout: 10_000 });
  over.abort();
  await aging;
  expect(woken).toEqual([3]);
  expect((await locks.held(3)).map(({ name }) => name)).toEqual(["b"]);
});
