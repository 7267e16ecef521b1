/** What masters do one after another. */
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { MastersTurn } from "../src/index.ts";

let redis: TestRedis;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(() => redis.stop());

const turnOf = (holder: string) => new MastersTurn(redis.client, { name: "work", holder });

test("one at a time has the turn, and gives it back also when its work fails", async () => {
  const gate = Promise.withResolvers<string>();
  const first = turnOf("m1").take(10_000, () => gate.promise);
  await vi.waitFor(async () => expect(await redis.client.keys("gannet:turn:*")).toHaveLength(1));
  expect(await turnOf("m2").take(10_000, async () => "too early")).toBeUndefined();
  gate.resolve("done");
  expect(await first).toEqual({ result: "done" });
  const failing = turnOf("m2").take(10_000, () => Promise.reject(new Error("failed")));
  await expect(failing).rejects.toThrow("failed");
  expect(await turnOf("m1").take(10_000, async () => "next")).toEqual({ result: "next" });
});

test("a turn that lasts too long is another's then, who keeps it", async () => {
  const gate = Promise.withResolvers<void>();
  const late = turnOf("m1").take(20, () => gate.promise);
  const other = await vi.waitFor(async () => {
    const taken = await turnOf("m2").take(10_000, async () => {
      gate.resolve();
      await late;
      return await turnOf("m3").take(10_000, async () => "both at once");
    });
    expect(taken).toBeDefined();
    return taken;
  });
  expect(other).toEqual({ result: undefined });
});
