/** Waiting requests that move up the longer they wait (spec/jobs.json, `priorities.aging`). */
import { StaleEpoch } from "@gannet/errors";
import { connectRedis, EPOCH_KEY, type Redis } from "@gannet/redis";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { RedisLockManager } from "../src/index.ts";
import { S, X } from "./lock-wishes.ts";
import { losingFirstAnswer } from "./lossy-redis.ts";

const FENCE = { epoch: 7 };
const ROUND_MS = 1_800_000;
let server: TestRedis;
let redis: Redis;
let locks: RedisLockManager;
let beganMs: number;

beforeAll(async () => {
  server = await startTestRedis();
  redis = connectRedis(server.address, { name: "locking" });
  locks = new RedisLockManager(redis);
});
beforeEach(async () => {
  await server.flush();
  await server.client.set(EPOCH_KEY, FENCE.epoch);
  beganMs = Date.now();
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

function ask(owner: number, wish: string, priority: number) {
  return locks.request({ owner, wishes: [X(wish)], priority }, FENCE);
}

/** As it is after so many rounds since the test began, and a little. */
const after = (rounds: number) => ({ roundMs: ROUND_MS, nowMs: beganMs + (rounds + 1 / 2) * ROUND_MS });

/** Those who wait for a lock, in their order. */
async function queue(lock: string): Promise<readonly number[]> {
  const info = (await locks.list()).find(({ name }) => name === lock);
  return (info?.pending ?? []).map(({ owner }) => owner);
}

test("a request passes those of higher priority that came later, once it has waited for as many rounds", async () => {
  await ask(1, "node/a", 0);
  await ask(2, "node/a", 10);
  expect(await locks.age(after(8), FENCE)).toEqual([]);
  await ask(3, "node/a", 2);
  await ask(4, "node/a", 1);
  expect(await queue("node/a")).toEqual([4, 2, 3]);
});

test("a round counts once, however often it is looked at, and parts of rounds are not lost", async () => {
  await ask(1, "node/a", 0);
  await ask(2, "node/a", 3);
  for (const rounds of [0, 0.4, 1, 1, 1.4, 2, 2]) await locks.age(after(rounds), FENCE);
  await ask(3, "node/a", 1);
  await ask(4, "node/a", 0);
  expect(await queue("node/a")).toEqual([4, 2, 3]);
});

test("nobody goes beyond the highest priority", async () => {
  await ask(1, "node/a", 0);
  await ask(2, "node/a", -20);
  await ask(3, "node/a", 19);
  await locks.age(after(100), FENCE);
  expect(await queue("node/a")).toEqual([2, 3]);
  await ask(4, "node/a", -20);
  expect(await queue("node/a")).toEqual([2, 3, 4]);
});

test("who was held up only by one that it passes is granted, and told, also when the first answer was lost", async () => {
  for (const manager of [locks, new RedisLockManager(losingFirstAnswer(redis))]) {
    await ask(1, "node/a", 0);
    await locks.request({ owner: 2, wishes: [X("node/a"), X("node/b")], priority: 1 }, FENCE);
    expect(await ask(3, "node/b", 2)).toBe("waiting");
    // Two rounds ago; the second has waited for none.
    await server.client.zadd("gannet:lock:rounds", beganMs - 2 * ROUND_MS, "3");
    expect(await manager.age({ roundMs: ROUND_MS, nowMs: beganMs }, FENCE)).toEqual([3]);
    expect(await locks.held(3)).toEqual([X("node/b")]);
    for (const owner of [3, 2, 1]) await locks.release(owner, "all", FENCE);
  }
});

test("a change of priority is where the following rounds go on from", async () => {
  await ask(1, "node/a", 0);
  await ask(2, "node/a", 0);
  await locks.age(after(1), FENCE);
  await locks.reprioritize(2, 10, FENCE);
  await locks.age(after(2), FENCE);
  await ask(3, "node/a", 8);
  await ask(4, "node/a", 9);
  expect(await queue("node/a")).toEqual([3, 2, 4]);
});

test("by the server's clock, when none is given, and for more requests than go at once", async () => {
  const owners = Array.from({ length: 450 }, (_, index) => index + 2);
  await ask(1, "node/a", 0);
  await Promise.all(owners.map((owner) => ask(owner, "node/a", 5)));
  expect(await locks.age({ roundMs: ROUND_MS }, FENCE)).toEqual([]);
  await ask(500, "node/a", 4);
  expect((await queue("node/a"))[0]).toBe(500);
  for (const owner of owners) await server.client.zadd("gannet:lock:rounds", beganMs - ROUND_MS, String(owner));
  await locks.age({ roundMs: ROUND_MS }, FENCE);
  expect(await queue("node/a")).toEqual([...owners, 500]);
});

test("only the leader ages, and nothing is kept of who waits no longer", async () => {
  await ask(1, "node/a", 0);
  await ask(2, "node/a", 0);
  await ask(3, "node/a", 0);
  await expect(locks.age(after(1), { epoch: FENCE.epoch - 1 })).rejects.toThrow(StaleEpoch);
  await locks.release(1, "all", FENCE);
  await locks.release(3, "all", FENCE);
  expect(await server.client.exists("gannet:lock:rounds")).toBe(0);
  expect(await locks.held(2)).toEqual([X("node/a")]);
  expect(await locks.request({ owner: 4, wishes: [S("node/b")], priority: 0 }, FENCE)).toBe("granted");
});
