/**
 * What a verb costs must not depend on how many wait. Counted in Redis commands that the scripts run, because
 * that is the same on every machine.
 */
import { connectRedis, EPOCH_KEY, type Redis } from "@gannet/redis";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type LockWish, RedisLockManager } from "../src/index.ts";
import { S, X } from "./lock-wishes.ts";

const FENCE = { epoch: 1 };
let server: TestRedis;
let redis: Redis;
let locks: RedisLockManager;

beforeAll(async () => {
  server = await startTestRedis();
  await server.client.config("SET", "appendonly", "no");
  redis = connectRedis(server.address, { name: "locking" });
  locks = new RedisLockManager(redis);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

/** As an instance's job asks: the big lock shared, its instance, the node that all of them are on. */
function instanceJob(instance: string): readonly LockWish[] {
  return [S("cluster/BGL"), X(`instance/${instance}`), S("node/n1"), X("node-res/[lockset]")];
}

async function park(waiters: number): Promise<void> {
  await server.flush();
  await server.client.set(EPOCH_KEY, FENCE.epoch);
  const wishes = [S("cluster/BGL"), X("instance/a.test"), S("node/n1")];
  const owners = Array.from({ length: waiters + 1 }, (_, index) => index + 1);
  const answers = await Promise.all(owners.map((owner) => locks.request({ owner, wishes, priority: 0 }, FENCE)));
  expect(answers.filter((answer) => answer === "waiting")).toHaveLength(waiters);
}

async function commandsOf(work: () => Promise<unknown>): Promise<number> {
  await server.client.config("RESETSTAT");
  await work();
  const stats = await server.client.info("commandstats");
  return [...stats.matchAll(/^cmdstat_(?!config|info|eval)\S+:calls=(\d+)/gm)].reduce(
    (sum, [, n]) => sum + Number(n),
    0,
  );
}

async function costs(waiters: number): Promise<Readonly<Record<string, number>>> {
  await park(waiters);
  const other = { owner: waiters + 2, wishes: instanceJob("b.test"), priority: 0 };
  const last = waiters + 1;
  return {
    requestElsewhere: await commandsOf(() => locks.request(other, FENCE)),
    releaseElsewhere: await commandsOf(() => locks.release(other.owner, "all", FENCE)),
    cancelLast: await commandsOf(() => locks.release(last, "all", FENCE)),
    requestBehind: await commandsOf(() => locks.request({ ...other, wishes: instanceJob("a.test") }, FENCE)),
    release: await commandsOf(async () => expect(await locks.release(1, "all", FENCE)).toEqual([2])),
  };
}

test("ten thousand waiters cost no verb more commands than ten", async () => {
  const few = await costs(10);
  expect(Math.min(...Object.values(few))).toBeGreaterThan(5);
  expect(await costs(10_000)).toEqual(few);
});
