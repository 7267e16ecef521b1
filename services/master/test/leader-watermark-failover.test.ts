/** The watermark when another Redis answers after a failover. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectRedis, EPOCH_KEY, redisReady } from "@gannet/redis";
import { silentLogger } from "@gannet/telemetry";
import { type RedisGroup, startRedisGroup } from "@gannet/testing";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Watermark } from "../src/leader-watermark.ts";
import { RedisGuard } from "../src/leader-watermark-guard.ts";

const PATIENT = { timeout: 40_000, interval: 100 };

let group: RedisGroup;
let stateDir: string;
let guard: RedisGuard;

beforeAll(async () => {
  group = await startRedisGroup();
  stateDir = await mkdtemp(join(tmpdir(), "gannet-guard-"));
  const redis = connectRedis(group.address, { name: "test" });
  await redisReady(redis, { timeoutMs: 10_000 });
  await redis.set(EPOCH_KEY, 1);
  await redis.wait(2, 5_000);
  redis.disconnect();
  guard = await RedisGuard.open({ address: group.address, stateDir, logger: silentLogger(), lookIntervalMs: 100 });
});
afterAll(async () => {
  await guard.close();
  await group[Symbol.asyncDispose]();
  await rm(stateDir, { recursive: true });
});

async function stored(): Promise<Watermark> {
  return JSON.parse(await readFile(join(stateDir, "watermark.json"), "utf8")) as Watermark;
}

test("a successor that has all that was confirmed is trusted, without what its predecessor alone had", {
  timeout: 90_000,
}, async () => {
  await vi.waitFor(async () => expect(await guard.confirm(1)).toBe(true), PATIENT);
  const old = await group.primary();
  const replicas = group.members.filter((member) => member !== old);
  for (const { pid } of replicas) process.kill(pid, "SIGSTOP");
  await old.client.set(EPOCH_KEY, 2);
  expect(await guard.confirm(2)).toBe(false);
  expect((await stored()).epoch).toBe(1);

  await old.kill();
  for (const { pid } of replicas) process.kill(pid, "SIGCONT");
  await vi.waitFor(async () => {
    expect(await guard.confirm(1)).toBe(true);
    expect((await stored()).runId).not.toBe("");
  }, PATIENT);
  expect(guard.refusal).toBeUndefined();
  expect((await group.primary()).port).not.toBe(old.port);
});

test("a successor that lacks what was confirmed is refused", { timeout: 60_000 }, async () => {
  const primary = await group.primary();
  await primary.client.set(EPOCH_KEY, 5);
  await vi.waitFor(async () => expect(await guard.confirm(5)).toBe(true), PATIENT);
  // As one that was behind when it was promoted.
  await primary.client.set(EPOCH_KEY, 3);
  await vi.waitFor(() => expect(String(guard.refusal)).toMatch(/the leader's epoch is 3 and was 5/), PATIENT);
});
