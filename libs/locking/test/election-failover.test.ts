/** Leadership over Redis servers that copy each other, when the primary is lost or cut off. */
import { connectRedis, defineScript, EPOCH_KEY, type Redis, redisReady } from "@gannet/redis";
import { type RedisGroup, type RedisGroupMember, startRedisGroup } from "@gannet/testing";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type Leadership, RedisLeaderElection } from "../src/index.ts";

const LEASE_MS = 2_000;
const NEVER = new AbortController().signal;
/** Time for sentinels to promote another, on a machine that is busy with other tests. */
const PATIENT = { timeout: 30_000 };

let group: RedisGroup;
let redis: Redis;

beforeAll(async () => {
  group = await startRedisGroup();
  redis = connectRedis(group.address, { name: "candidates" });
  await redisReady(redis, { timeoutMs: 10_000 });
});
afterAll(async () => {
  redis.disconnect();
  await group[Symbol.asyncDispose]();
});

function candidate(holder: string, contact = ""): RedisLeaderElection {
  return new RedisLeaderElection(redis, { holder, leaseMs: LEASE_MS, contact: () => contact });
}

async function replicas(): Promise<readonly RedisGroupMember[]> {
  const primary = await group.primary();
  return group.members.filter((member) => member !== primary);
}

test("no candidate leads by an epoch that only the primary has, and the next one's is above all that anybody had", async () => {
  const first = await candidate("m1", "10.0.0.1").campaign(NEVER);
  expect(await candidate("m2").current()).toEqual({ holder: "m1", epoch: first.epoch, contact: "10.0.0.1" });
  await first.resign();

  // The replicas are cut off: the primary gives a lease and an epoch that they do not know.
  const cutOff = await replicas();
  const old = await group.primary();
  for (const { pid } of cutOff) process.kill(pid, "SIGSTOP");
  const stop = new AbortController();
  const campaign = candidate("m1").campaign(stop.signal);
  const outcome = campaign.then(
    (leadership: Leadership) => leadership,
    () => undefined,
  );
  await vi.waitFor(async () => expect(Number(await old.client.get(EPOCH_KEY))).toBe(first.epoch + 1), PATIENT);
  expect(await Promise.race([outcome, redis.wait(2, 600).then(() => "nobody leads")])).toBe("nobody leads");
  stop.abort();
  await old.kill();
  for (const { pid } of cutOff) process.kill(pid, "SIGCONT");
  expect(await outcome).toBeUndefined();

  const next = await candidate("m2").campaign(AbortSignal.timeout(PATIENT.timeout));
  expect(next.epoch).toBeGreaterThan(first.epoch);
  const known = await Promise.all(cutOff.map(({ client }) => client.get(EPOCH_KEY)));
  expect(known.map(Number)).toEqual([next.epoch, next.epoch]);
  await next.resign();
  await old.start();
});

test("a leader whose primary has lost its replicas gives up before its lease ends", PATIENT, async () => {
  await vi.waitFor(
    async () => expect((await redis.info("replication")).match(/state=online/g)).toHaveLength(2),
    PATIENT,
  );
  const { lost } = await candidate("m1").campaign(NEVER);
  const cutOff = await replicas();
  const cutMs = performance.now();
  for (const { pid } of cutOff) process.kill(pid, "SIGSTOP");
  try {
    if (!lost.aborted) await new Promise((resolve) => lost.addEventListener("abort", resolve, { once: true }));
    expect(performance.now() - cutMs).toBeLessThan(LEASE_MS);
  } finally {
    for (const { pid } of cutOff) process.kill(pid, "SIGCONT");
  }
});

test("a leader that resigns in favour of another is followed by that one only", PATIENT, async () => {
  const write = defineScript({
    name: "test/write",
    lua: "return redis.call('SET', KEYS[1], '1')",
    keys: 1,
    confirmed: true,
  });
  await vi.waitFor(() => write.run(redis, ["there"], []), PATIENT);
  const first = await candidate("m1").campaign(NEVER);
  const others = new AbortController();
  const anyone = candidate("m2")
    .campaign(others.signal)
    .catch(() => undefined);
  const named = candidate("m3").campaign(NEVER);
  await first.resign("m3");
  const next = await named;
  expect([(await candidate("m1").current())?.holder, next.epoch]).toEqual(["m3", first.epoch + 1]);
  others.abort();
  expect(await anyone).toBeUndefined();
  await next.resign();
});
