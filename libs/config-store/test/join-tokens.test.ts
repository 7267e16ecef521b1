/** Tokens for joining over a real Redis: used once, by whoever has the secret, within their time. */
import { StaleEpoch } from "@gannet/errors";
import { EPOCH_KEY } from "@gannet/redis";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type JoinToken, RedisJoinTokens } from "../src/index.ts";

const FENCE = { epoch: 3 };
const MINUTES_15 = 900;
let redis: TestRedis;
let tokens: RedisJoinTokens;

beforeAll(async () => {
  redis = await startTestRedis();
  await redis.client.set(EPOCH_KEY, FENCE.epoch);
  tokens = new RedisJoinTokens(redis.client);
});
afterAll(() => redis[Symbol.asyncDispose]());

async function added(id: string, lifetimeS = MINUTES_15): Promise<JoinToken> {
  const options = { primary_ip: "10.0.0.2" };
  const token: JoinToken = { id, role: "node", nodeName: "node2.gnt.test", options, maker: "admin", expires: 1 };
  await tokens.add(token, `digest-${id}`, lifetimeS, FENCE);
  return token;
}

test("of many who show it at once exactly one gets it", async () => {
  const token = await added("once");
  const all = await Promise.all(
    Array.from({ length: 20 }, () => tokens.take("once", "digest-once", "NODE2.gnt.test", FENCE)),
  );
  expect(all.filter(({ outcome }) => outcome === "taken")).toEqual([{ outcome: "taken", token }]);
  expect(new Set(all.map(({ outcome }) => outcome))).toEqual(new Set(["taken", "used"]));
  expect(await tokens.taken("once", "digest-once")).toEqual(token);
  expect(await tokens.taken("once", "digest-other")).toBeUndefined();
  expect((await tokens.open()).map(({ id }) => id)).not.toContain("once");
});

test("another secret, another node and a leader of the past leave it as it is", async () => {
  const token = await added("kept");
  expect(await tokens.take("kept", "digest-kep", "node2", FENCE)).toEqual({ outcome: "wrong" });
  expect(await tokens.take("kept", "digest-kept", "node20", FENCE)).toEqual({
    outcome: "other",
    nodeName: "node2.gnt.test",
  });
  expect(await tokens.take("kept", "digest-kept", "gnt.test", FENCE)).toMatchObject({ outcome: "other" });
  for (const late of [
    () => tokens.take("kept", "digest-kept", "node2", { epoch: 2 }),
    () => tokens.revoke("kept", { epoch: 2 }),
    () => tokens.add(token, "x", 1, { epoch: 2 }),
  ])
    await expect(late()).rejects.toThrow(StaleEpoch);
  expect(await tokens.taken("kept", "digest-kept")).toBeUndefined();
  expect(await tokens.open()).toEqual([token]);
  expect(await tokens.take("kept", "digest-kept", "node2", FENCE)).toMatchObject({ outcome: "taken" });
});

test("it ends by itself, and when it is revoked; neither its secret nor a digest of another is kept", async () => {
  await added("short", 1);
  expect(await redis.client.ttl("gannet:join-token:short")).toBeLessThanOrEqual(1);
  await redis.client.pexpire("gannet:join-token:short", 0);
  expect(await tokens.take("short", "digest-short", "node2", FENCE)).toEqual({ outcome: "unknown" });
  await added("revoked");
  expect(await tokens.revoke("revoked", FENCE)).toBe(true);
  expect(await tokens.revoke("revoked", FENCE)).toBe(false);
  expect(await tokens.take("revoked", "digest-revoked", "node2", FENCE)).toEqual({ outcome: "unknown" });
  expect(await redis.client.ttl("gannet:join-token:once")).toBeGreaterThan(MINUTES_15);
});
