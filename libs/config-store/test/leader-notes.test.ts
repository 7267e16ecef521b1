/** Notes of one leader for the next, over a real Redis. */
import { StaleEpoch } from "@gannet/errors";
import { EPOCH_KEY } from "@gannet/redis";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RedisLeaderNotes } from "../src/index.ts";

let redis: TestRedis;
beforeAll(async () => {
  redis = await startTestRedis();
  await redis.client.set(EPOCH_KEY, 5);
});
afterAll(() => redis.stop());

test("are read as they were written last, each by its name", async () => {
  const notes = new RedisLeaderNotes(redis.client);
  expect(await notes.read("one")).toBeUndefined();
  const note = { empty: [], text: "ü", nested: { "a b": null } };
  await notes.write("one", { first: true }, { epoch: 5 });
  await notes.write("one", note, { epoch: 5 });
  await notes.write("two", [], { epoch: 5 });
  expect([await notes.read("one"), await notes.read("two")]).toEqual([note, []]);
});

test("are not written by a leader that was replaced", async () => {
  const notes = new RedisLeaderNotes(redis.client);
  await notes.write("three", "kept", { epoch: 5 });
  await expect(notes.write("three", "late", { epoch: 4 })).rejects.toThrow(StaleEpoch);
  expect(await notes.read("three")).toBe("kept");
});

test("that are no JSON count as none", async () => {
  await redis.client.hset("gannet:notes", "four", "{");
  expect(await new RedisLeaderNotes(redis.client).read("four")).toBeUndefined();
});
