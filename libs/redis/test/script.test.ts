import { ConfigurationConflict, JobLost, LockError, StaleEpoch, Unavailable } from "@gannet/errors";
import { defineScript } from "@gannet/redis";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, beforeAll, expect, test } from "vitest";

let server: TestRedis;
beforeAll(async () => {
  server = await startTestRedis();
});
afterAll(() => server.stop());

const append = defineScript({
  name: "test/append",
  keys: 1,
  lua: "return redis.call('RPUSH', KEYS[1], ARGV[1])",
});

test("a script is loaded when the server does not know it, and again after the server forgot it", async () => {
  expect(await append.run(server.client, ["list"], ["a"])).toBe(1);
  await server.client.script("FLUSH");
  expect(await append.run(server.client, ["list"], [2])).toBe(2);
  expect(await server.client.lrange("list", 0, -1)).toEqual(["a", "2"]);
});

test("scripts started without waiting run in their order", async () => {
  await server.flush();
  await Promise.all(Array.from({ length: 100 }, (_, i) => append.run(server.client, ["list"], [i])));
  expect(await server.client.lrange("list", 0, -1)).toEqual(Array.from({ length: 100 }, (_, i) => String(i)));
});

test("a wrong number of keys is a defect, found before anything is sent", async () => {
  await expect(append.run(server.client, [], ["a"])).rejects.toThrow("test/append takes 1 keys, not 0");
});

const refuse = defineScript({
  name: "test/refuse",
  keys: 0,
  lua: "return redis.error_reply(ARGV[1])",
  errors: { LOST: JobLost },
});

test.each([
  ["STALE_EPOCH the epoch is 4", StaleEpoch, "the epoch is 4"],
  ["CONFLICT row node/1", ConfigurationConflict, "row node/1"],
  ["LOCK owner 3 already waits", LockError, "owner 3 already waits"],
  ["LOST job 3", JobLost, "job 3"],
])("error reply %s", async (reply, expected, message) => {
  const error = await refuse.run(server.client, [], [reply]).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(expected);
  expect(error).toMatchObject({ message });
});

test("a write that full memory refuses inside a script is Unavailable", async () => {
  await server.client.config("SET", "maxmemory", "1");
  const error = await append.run(server.client, ["list"], ["a"]).catch((e: unknown) => e);
  await server.client.config("SET", "maxmemory", "0");
  expect(error).toBeInstanceOf(Unavailable);
});
