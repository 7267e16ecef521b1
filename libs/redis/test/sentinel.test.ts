/** Connections by way of real Sentinels, over mutual TLS, when the primary dies. */
import { once } from "node:events";
import { connect } from "node:tls";
import { Unavailable } from "@gannet/errors";
import {
  connectRedis,
  defineScript,
  parseRedisAddress,
  type Redis,
  redisReady,
  reloadCertificates,
  restartSentinel,
  Unconfirmed,
} from "@gannet/redis";
import { type RedisGroup, type RedisGroupMember, startRedisGroup } from "@gannet/testing";
import { afterAll, beforeAll, expect, test, vi } from "vitest";

const put = defineScript({
  name: "test/put",
  lua: "redis.call('SET', KEYS[1], ARGV[1]) return 1",
  keys: 1,
  confirmed: true,
});

let group: RedisGroup;
let redis: Redis;

beforeAll(async () => {
  group = await startRedisGroup();
  redis = connectRedis(group.address, { name: "under-test" });
  await redisReady(redis, { timeoutMs: 10_000 });
});
afterAll(async () => {
  redis.disconnect();
  await group[Symbol.asyncDispose]();
});

function stopped(members: readonly RedisGroupMember[]): Disposable {
  const signal = (name: NodeJS.Signals) => {
    for (const { pid } of members) process.kill(pid, name);
  };
  signal("SIGSTOP");
  return { [Symbol.dispose]: () => signal("SIGCONT") };
}

async function replicas(): Promise<readonly RedisGroupMember[]> {
  const primary = await group.primary();
  return group.members.filter((member) => member !== primary);
}

test("an address names sentinels, and what proves who asks stands beside it", () => {
  const { ca, certificate, password } = group.address;
  const secrets = { ca: ca ?? "", password: password ?? "", ...(certificate === undefined ? {} : { certificate }) };
  expect(parseRedisAddress("sentinel://10.0.0.1:1813,[fd00::2]:1813/gannet", secrets)).toEqual({
    kind: "sentinel",
    name: "gannet",
    sentinels: [
      { host: "10.0.0.1", port: 1813 },
      { host: "fd00::2", port: 1813 },
    ],
    ...secrets,
  });
});

test("without a certificate of the cluster nobody is let in, password or not", async () => {
  const { certificate: _, ...bare } = group.address;
  const stranger = connectRedis(bare, { name: "stranger" });
  await expect(redisReady(stranger, { timeoutMs: 1_000 })).rejects.toThrow(Unavailable);
  stranger.disconnect();
});

test("a confirmed script waits for replicas, and says so when they do not answer", async () => {
  expect(await put.run(redis, ["confirmed"], ["1"])).toBe(1);
  using _ = stopped(await replicas());
  await expect(put.run(redis, ["confirmed"], ["2"])).rejects.toThrow(Unconfirmed);
  // One that reads only is as sure as what it read.
  const look = defineScript({ name: "test/look", lua: "return redis.call('GET', KEYS[1])", keys: 1, confirmed: true });
  await expect(look.run(redis, ["confirmed"], [])).rejects.toThrow(Unconfirmed);
});

test("many at once share one wait", async () => {
  await vi.waitFor(() => put.run(redis, ["shared"], ["0"]), { timeout: 5_000 });
  const before = Number(/cmdstat_wait:calls=(\d+)/.exec(await redis.info("commandstats"))?.[1] ?? 0);
  await Promise.all(Array.from({ length: 100 }, (_, number) => put.run(redis, ["shared"], [number])));
  const after = Number(/cmdstat_wait:calls=(\d+)/.exec(await redis.info("commandstats"))?.[1]);
  expect(after - before).toBeGreaterThan(0);
  expect(after - before).toBeLessThan(20);
});

/** The serial number of what a new connection is shown. */
async function shownOn(port: number): Promise<string> {
  const { ca, certificate } = group.address;
  const socket = connect({ host: "127.0.0.1", port, ...(ca === undefined ? {} : { ca }), ...certificate });
  await once(socket, "secureConnect");
  const { serialNumber } = socket.getPeerCertificate();
  socket.destroy();
  return serialNumber;
}

test("renewed certificates are taken while all of them run", async () => {
  await vi.waitFor(() => put.run(redis, ["before"], ["1"]), { timeout: 20_000 });
  const ports = [...group.members, ...group.sentinelPorts.map((port) => ({ port }))].map(({ port }) => port);
  const before = new Set(await Promise.all(ports.map(shownOn)));
  const connections = await Promise.all(group.members.map(({ client }) => client.client("ID")));
  const processes = group.members.map(({ pid }) => pid);
  expect(before.size).toBe(1);

  await group.renewCertificate();
  const changedMs = Date.now();
  expect(new Set(await Promise.all(ports.map(shownOn)))).toEqual(before);
  const { kind: _, sentinels: __, name: ___, replication: ____, ...secrets } = group.address;
  for (const { port } of group.members) await reloadCertificates(`127.0.0.1:${port}`, secrets);
  const restarted = (sinceMs: number) =>
    Promise.all(group.sentinelPorts.map((port) => restartSentinel(`127.0.0.1:${port}`, secrets, sinceMs)));
  expect(await restarted(changedMs)).toEqual([true, true, true]);

  const after = new Set(await Promise.all(ports.map(shownOn)));
  expect(after.size).toBe(1);
  expect(after).not.toEqual(before);
  // Nothing of Redis was restarted, and what was connected is connected still.
  expect(group.members.map(({ pid }) => pid)).toEqual(processes);
  expect(await Promise.all(group.members.map(({ client }) => client.client("ID")))).toEqual(connections);
  await vi.waitFor(() => put.run(redis, ["after"], ["1"]), { timeout: 20_000 });
  expect(await restarted(changedMs - 60_000)).toEqual([false, false, false]);
});

test("a connection that is made anew shows, and trusts, what is there then", async () => {
  const { ca, certificate } = group.address;
  let isRenewed = false;
  const current = () => ({ ...(ca === undefined ? {} : { ca }), ...(isRenewed && certificate ? { certificate } : {}) });
  const live = connectRedis({ ...group.address, current }, { name: "live" });
  await expect(redisReady(live, { timeoutMs: 1_000 })).rejects.toThrow(Unavailable);
  isRenewed = true;
  await redisReady(live, { timeoutMs: 10_000 });
  live.disconnect();
});

test("a primary that has lost its replicas takes no writes, and says what that may mean", async () => {
  using _ = stopped(await replicas());
  const refused = async () => {
    const error = await put.run(redis, ["minority"], ["1"]).catch((each: unknown) => each);
    expect(String(error)).toMatch(/too few replicas in touch/);
  };
  await vi.waitFor(refused, { timeout: 15_000 });
});

test("when the primary dies, what was confirmed is there, and a connection finds the next one by itself", async () => {
  await vi.waitFor(() => put.run(redis, ["kept"], ["before"]), { timeout: 20_000 });
  const old = await group.primary();
  await old.kill();
  await vi.waitFor(() => put.run(redis, ["new"], ["after"]), { timeout: 20_000 });
  expect(await redis.get("kept")).toBe("before");
  const next = await group.primary();
  expect(next.port).not.toBe(old.port);

  await old.start();
  await vi.waitFor(async () => expect(await old.client.get("new")).toBe("after"), { timeout: 20_000 });
  await expect(old.client.set("new", "by the old primary")).rejects.toThrow(/READONLY/);
});
