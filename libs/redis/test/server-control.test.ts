/** What servers are told when masters come and go, and what open connections learn of it. */
import {
  atServer,
  connectRedis,
  defineScript,
  forgetSentinels,
  knowsRedis,
  leadBack,
  learnSentinels,
  type RedisAddress,
  redisReady,
  replicationStateOf,
  SENTINEL_NAME,
  settleRedis,
  settleSentinel,
  Unconfirmed,
} from "@gannet/redis";
import { type RedisGroup, startRedisGroup } from "@gannet/testing";
import { afterAll, beforeAll, expect, test, vi } from "vitest";

const put = defineScript({
  name: "test/put",
  lua: "redis.call('SET', KEYS[1], ARGV[1]) return 1",
  keys: 1,
  confirmed: true,
});
/** Nobody listens there. */
const NOBODY = { host: "127.0.0.1", port: 9 };

let group: RedisGroup;
let redis: string;
let sentinel: string;

beforeAll(async () => {
  group = await startRedisGroup({ size: 1 });
  redis = `127.0.0.1:${group.members[0]?.port}`;
  sentinel = `127.0.0.1:${group.sentinelPorts[0]}`;
});
afterAll(() => group[Symbol.asyncDispose]());

const at = <T>(place: string, use: Parameters<typeof atServer<T>>[2]) => atServer(place, group.address, use);

test("a Redis is told once, keeps it, and is left alone when it is as it should be", async () => {
  const settings = { minReplicasToWrite: 0, promotable: false };
  expect(await at(redis, (server) => settleRedis(server, settings))).toBe(true);
  expect(await at(redis, (server) => settleRedis(server, settings))).toBe(false);
  const [member] = group.members;
  await member?.kill();
  await member?.start();
  expect(await at(redis, (server) => settleRedis(server, settings))).toBe(false);
  expect(await at(redis, replicationStateOf)).toMatchObject({
    isInStep: true,
    history: expect.stringMatching(/^\w{40}$/),
  });
});

test("a sentinel is told its quorum once, and knows no strangers", async () => {
  expect(await at(sentinel, (server) => settleSentinel(server, SENTINEL_NAME, 2))).toBe(true);
  expect(await at(sentinel, (server) => settleSentinel(server, SENTINEL_NAME, 2))).toBe(false);
  expect(await at(sentinel, (server) => forgetSentinels(server, SENTINEL_NAME, new Set()))).toBe("none");
  await expect(at(sentinel, (server) => settleSentinel(server, "another", 2))).rejects.toThrow(/No such master/);
});

test("a sentinel knows its primary, and no Redis that it has not met", async () => {
  expect(await at(sentinel, (server) => knowsRedis(server, SENTINEL_NAME, redis))).toBe(true);
  expect(await at(sentinel, (server) => knowsRedis(server, SENTINEL_NAME, "127.0.0.1:9"))).toBe(false);
});

test("a replica that its sentinel has not met is led back to the primary, and met then", async () => {
  await using pair = await startRedisGroup({ size: 2 });
  const primary = await pair.primary();
  const left = pair.members.find((member) => member !== primary);
  if (left === undefined) throw new Error("the group has one member");
  const place = { name: SENTINEL_NAME, redis: `127.0.0.1:${left.port}` };
  const watching = `127.0.0.1:${pair.sentinelPorts[0]}`;
  const on = <T>(where: string, use: Parameters<typeof atServer<T>>[2]) => atServer(where, pair.address, use);
  const lead = () => on(place.redis, (server) => on(watching, (sentinelOfIt) => leadBack(server, sentinelOfIt, place)));
  const isKnown = () => on(watching, (server) => knowsRedis(server, SENTINEL_NAME, place.redis));
  await vi.waitFor(async () => expect(await isKnown()).toBe(true));
  expect(await lead()).toBe(false);

  // As after a failover in the seconds in which the sentinels have forgotten their replicas; and as a primary of old.
  for (const alone of [
    [NOBODY.host, String(NOBODY.port)],
    ["NO", "ONE"],
  ]) {
    await on(place.redis, (server) => server.call("REPLICAOF", ...alone));
    for (const port of pair.sentinelPorts)
      await on(`127.0.0.1:${port}`, (server) => server.call("SENTINEL", "RESET", SENTINEL_NAME));
    expect(await isKnown()).toBe(false);
    await vi.waitFor(async () => expect(await lead()).toBe(true));
    await vi.waitFor(async () => {
      expect(await on(place.redis, replicationStateOf)).toMatchObject({ leads: false, isInStep: true });
      expect(await isKnown()).toBe(true);
    });
    expect(await lead()).toBe(false);
  }
});

test("a connection that asks for the primary in vain finds it by a sentinel that is learned of", async () => {
  const address = { ...group.address, sentinels: [NOBODY] };
  const lost = connectRedis(address, { name: "lost" });
  try {
    await expect(redisReady(lost, { timeoutMs: 200 })).rejects.toThrow();
    learnSentinels(address, group.address.sentinels);
    await redisReady(lost, { timeoutMs: 10_000 });
    learnSentinels(address, group.address.sentinels);
    expect(address.sentinels).toEqual([NOBODY, ...group.address.sentinels]);
  } finally {
    lost.disconnect();
  }
});

test("a rule that changes counts for the connections that are open", async () => {
  const replication = { replicas: 0, timeoutMs: 100 };
  const address: RedisAddress = { ...group.address, replication };
  const connection = connectRedis(address, { name: "open" });
  try {
    await redisReady(connection, { timeoutMs: 10_000 });
    expect(await put.run(connection, ["rule"], ["1"])).toBe(1);
    replication.replicas = 1;
    await expect(put.run(connection, ["rule"], ["2"])).rejects.toThrow(Unconfirmed);
  } finally {
    connection.disconnect();
  }
});
