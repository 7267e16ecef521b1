/**
 * Random histories of requests, releases, downgrades, cancels, priorities and leader changes: the Redis
 * implementation against the model, and the model against the promises that the rules make.
 *
 * GANNET_HISTORIES sets how many are tried, GANNET_SEED repeats a run.
 */
import { connectRedis, EPOCH_KEY, type Redis } from "@gannet/redis";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import fc from "fast-check";
import { afterAll, beforeAll, test } from "vitest";
import { RedisLockManager } from "../src/index.ts";
import { LockHistory, step } from "./lock-history.ts";

const HISTORIES = Number(process.env.GANNET_HISTORIES ?? 10_000);
const SEED = Number(process.env.GANNET_SEED ?? Date.now() % 2 ** 31);
/** Under way at once, so that neither Redis nor this process waits for the other. */
const BUNDLE = 10;
/** Mostly for making a history that fails smaller; without that they take a small part of it. */
const TIME_LIMIT_MS = 60_000 + HISTORIES * 30;
const MAX_STEPS = 30;

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startTestRedis();
  // Nothing here is about what a crash of Redis keeps, and thousands of histories are many writes.
  await server.client.config("SET", "appendonly", "no");
  redis = connectRedis(server.address, { name: "locking" });
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

const history = fc.array(step, { maxLength: MAX_STEPS, size: "max" });
const bundle = fc.array(history, { minLength: BUNDLE, maxLength: BUNDLE });

test(`${HISTORIES} random histories`, { timeout: TIME_LIMIT_MS + 20_000 }, async () => {
  console.info(`lock histories: ${HISTORIES}, GANNET_SEED=${SEED}`);
  await teachScripts();
  await fc.assert(
    fc.asyncProperty(bundle, async (histories) => {
      const underWay = histories.map(async (steps) => {
        const flushed = redis.flushdb();
        const one = new LockHistory(redis);
        for (const each of steps) one.take(each);
        one.drain();
        await flushed;
        await one.verify();
      });
      await Promise.all(underWay);
    }),
    {
      numRuns: Math.ceil(HISTORIES / BUNDLE),
      seed: SEED,
      interruptAfterTimeLimit: TIME_LIMIT_MS,
      markInterruptAsFailure: true,
    },
  );
});

/** A script that the server does not know is sent once more, out of order. */
async function teachScripts(): Promise<void> {
  const locks = new RedisLockManager(redis);
  const fence = { epoch: 1 };
  await redis.set(EPOCH_KEY, fence.epoch);
  await locks.request({ owner: 1, wishes: [], priority: 0 }, fence);
  await locks.release(1, [], fence);
  await locks.downgrade(1, [], fence);
  await locks.reprioritize(1, 0, fence);
  await locks.age({ roundMs: 1 }, fence);
  await locks.retainOwners([], fence);
  await locks.explain(1);
  await locks.list();
}
