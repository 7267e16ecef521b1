/** Leadership over a real Redis: candidates that resign, freeze, or lose their Redis. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { StaleEpoch } from "@gannet/errors";
import { connectRedis, EPOCH_KEY, type Redis } from "@gannet/redis";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Leadership, RedisLeaderElection, RedisLockManager } from "../src/index.ts";
import { delayingFirstAnswer, losingFirstAnswer } from "./lossy-redis.ts";

const LEASE_MS = 1_200;
const NEVER = new AbortController().signal;
let server: TestRedis;
let redis: Redis;

beforeEach(async () => {
  server = await startTestRedis();
  redis = connectRedis(server.address, { name: "leader" });
});
afterEach(async () => {
  redis.disconnect();
  await server.stop();
});

function candidate(holder: string, leaseMs = LEASE_MS): RedisLeaderElection {
  return new RedisLeaderElection(redis, { holder, leaseMs });
}

function aborted(signal: AbortSignal): Promise<unknown> {
  return signal.aborted ? Promise.resolve() : once(signal, "abort");
}

test("one of two leads; the other takes over at once when it resigns, under a greater epoch", async () => {
  // Long enough that a busy machine does not keep the first from renewing.
  const leaseMs = 4_000;
  const first = await candidate("m1", leaseMs).campaign(NEVER);
  expect(await candidate("m1").current()).toMatchObject({ holder: "m1", epoch: first.epoch });

  let second: Leadership | undefined;
  const campaign = candidate("m2", leaseMs)
    .campaign(NEVER)
    .then((leadership) => (second = leadership));
  // A lease later the first, which renews, still leads.
  const renewedAfter = performance.now() + leaseMs;
  await vi.waitFor(() => expect(performance.now()).toBeGreaterThan(renewedAfter), { timeout: 2 * leaseMs });
  expect(second).toBeUndefined();
  expect(first.lost.aborted).toBe(false);

  const resignedAt = performance.now();
  await first.resign();
  const { epoch, lost } = await campaign;
  expect(performance.now() - resignedAt).toBeLessThan(leaseMs / 2);
  expect(first.lost.aborted).toBe(true);
  expect(epoch).toBe(first.epoch + 1);
  expect(lost.aborted).toBe(false);
  await expect(new RedisLockManager(redis).release(1, "all", first)).rejects.toThrow(StaleEpoch);
  expect(await new RedisLockManager(redis).release(1, "all", { epoch })).toEqual([]);

  await second?.resign();
  expect(await candidate("m1").current()).toBeUndefined();
});

test("a leader frozen for longer than its lease is replaced, and knows it when it goes on", async () => {
  const child = startCandidate("frozen");
  const [{ leading }] = (await once(child, "message")) as [{ leading: number }];
  child.kill("SIGSTOP");
  const successor = await candidate("m2").campaign(NEVER);
  expect(successor.epoch).toBe(leading + 1);
  expect(await candidate("m2").current()).toMatchObject({ holder: "m2", epoch: leading + 1 });

  const over = once(child, "message");
  child.kill("SIGCONT");
  expect(await over).toEqual([{ lost: expect.stringContaining(`epoch ${leading}`), refused: "StaleEpoch" }, undefined]);
  await successor.resign();
});

function startCandidate(holder: string): ChildProcess {
  return fork(join(import.meta.dirname, "candidate.ts"), [server.address.path, holder, String(LEASE_MS)]);
}

test("a leader that Redis does not answer gives up before its lease ends", async () => {
  const { lost } = await candidate("m1").campaign(NEVER);
  const key = "gannet:leader";
  const leftMs = await server.client.pttl(key);
  const frozenAt = performance.now();
  process.kill(server.pid, "SIGSTOP");
  await aborted(lost);
  const heldMs = performance.now() - frozenAt;
  process.kill(server.pid, "SIGCONT");
  expect(heldMs).toBeLessThan(leftMs);
  expect(heldMs).toBeGreaterThan(LEASE_MS / 2);
  expect(String(lost.reason)).toMatch(/could not be renewed in time/);
});

test("a restart of Redis shorter than the lease costs nobody the leadership", async () => {
  const leadership = await candidate("m1", 5_000).campaign(NEVER);
  await server.kill();
  await server.start();
  const renewed = async () => expect(await server.client.pttl("gannet:leader")).toBeGreaterThan(4_500);
  await server.client.pexpire("gannet:leader", 4_000);
  await vi.waitFor(renewed, { timeout: 10_000 });
  expect(leadership.lost.aborted).toBe(false);
  expect(await candidate("m2").current()).toMatchObject({ holder: "m1", epoch: leadership.epoch });
  await leadership.resign();
});

test("a leader whose lease is gone from Redis stops at its next renewal", async () => {
  const { lost } = await candidate("m1").campaign(NEVER);
  await server.client.del("gannet:leader");
  await aborted(lost);
  expect(String(lost.reason)).toMatch(/the lease ended or another candidate has it/);
});

test("a candidate that took the lease without hearing so gets it at its next try, under the same epoch", async () => {
  const deaf = losingFirstAnswer(redis);
  const leadership = await new RedisLeaderElection(deaf, { holder: "m1", leaseMs: 10_000 }).campaign(NEVER);
  expect(leadership.epoch).toBe(1);
  expect(await server.client.get(EPOCH_KEY)).toBe("1");
  await leadership.resign();
});

test("a candidate that hears of its lease when that is over does not lead by it", async () => {
  const slow = delayingFirstAnswer(redis, LEASE_MS + 100);
  const leadership = await new RedisLeaderElection(slow, { holder: "m1", leaseMs: LEASE_MS }).campaign(NEVER);
  expect(leadership.epoch).toBe(2);
  expect(leadership.lost.aborted).toBe(false);
  await leadership.resign();
});

test("a Redis whose memory is full can have a leader", async () => {
  await server.client.config("SET", "maxmemory", 1);
  const leadership = await candidate("m1").campaign(NEVER);
  await vi.waitFor(async () => expect(await server.client.pttl("gannet:leader")).toBeLessThan(LEASE_MS - 200));
  await vi.waitFor(async () => expect(await server.client.pttl("gannet:leader")).toBeGreaterThan(LEASE_MS - 200));
  expect(leadership.lost.aborted).toBe(false);
  await leadership.resign();
});

test("a campaign ends when it is told to", async () => {
  const leader = await candidate("m1").campaign(NEVER);
  const stop = new AbortController();
  const campaign = candidate("m2").campaign(stop.signal);
  stop.abort(new Error("shutting down"));
  await expect(campaign).rejects.toThrow("shutting down");
  await leader.resign();
  await expect(candidate("m2").campaign(stop.signal)).rejects.toThrow("shutting down");
  expect(await candidate("m2").current()).toBeUndefined();
});
