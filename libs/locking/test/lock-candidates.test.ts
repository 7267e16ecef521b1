/** Requests for some of many: the nodes of a new instance, before an allocator has chosen among them. */
import { LockError } from "@gannet/errors";
import { connectRedis, EPOCH_KEY, type Redis } from "@gannet/redis";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type LockCandidates, type LockWish, RedisLockManager } from "../src/index.ts";
import { S, X } from "./lock-wishes.ts";

const FENCE = { epoch: 7 };
let server: TestRedis;
let redis: Redis;
let locks: RedisLockManager;

beforeAll(async () => {
  server = await startTestRedis();
  redis = connectRedis(server.address, { name: "locking" });
  locks = new RedisLockManager(redis);
});
beforeEach(async () => {
  await server.flush();
  await server.client.set(EPOCH_KEY, FENCE.epoch);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

function nodes(atLeast: number, names: readonly string[]): LockCandidates {
  return { levels: ["node"], names, mode: "exclusive", atLeast };
}

interface Options {
  readonly candidates?: LockCandidates;
  readonly priority?: number;
}

function ask(owner: number, wishes: readonly LockWish[], { candidates, priority = 0 }: Options = {}) {
  return locks.request({ owner, wishes, priority, ...(candidates && { candidates }) }, FENCE);
}

const letGo = (owner: number) => locks.release(owner, "all", FENCE);

test("those that are free are taken at once, if they are enough, and no others", async () => {
  await ask(1, [X("node/b")]);
  const wishes = [X("instance/new.test")];
  expect(await ask(2, wishes, { candidates: nodes(2, ["a", "b", "c"]) })).toBe("granted");
  expect(await locks.held(2)).toEqual([X("instance/new.test"), X("node/a"), X("node/c")]);
  expect(await letGo(1)).toEqual([]);
  expect(await ask(3, [X("node/b")])).toBe("granted");
});

test("when too few are free it waits until they are enough, and then takes all that are free", async () => {
  for (const [owner, node] of [
    [1, "a"],
    [2, "b"],
    [3, "c"],
  ] as const)
    await ask(owner, [X(`node/${node}`)]);
  expect(await ask(4, [], { candidates: nodes(2, ["a", "b", "c"]) })).toBe("waiting");
  expect(await letGo(2)).toEqual([]);
  expect(await locks.held(4)).toEqual([]);
  expect(await letGo(1)).toEqual([4]);
  expect(await locks.held(4)).toEqual([X("node/a"), X("node/b")]);
});

test("a candidate counts only when it is to be had at each of its levels", async () => {
  await ask(1, [X("node-res/a")]);
  const candidates: LockCandidates = { levels: ["node-res", "node"], names: ["a", "b"], mode: "exclusive", atLeast: 1 };
  expect(await ask(2, [], { candidates })).toBe("granted");
  expect(await locks.held(2)).toEqual([X("node/b"), X("node-res/b")]);
});

test("it does not get what an earlier request waits for, and a later one does not get what it waits for", async () => {
  await ask(1, [X("node/a")]);
  await ask(2, [X("node/a"), X("node/b")]);
  expect(await ask(3, [], { candidates: nodes(1, ["a", "b"]) })).toBe("waiting");
  expect(await ask(4, [X("node/b")])).toBe("waiting");
  expect(await ask(5, [X("node/b")], { priority: -10 })).toBe("granted");
  expect(await letGo(1)).toEqual([]);
  expect(await letGo(5)).toEqual([2]);
  expect(await letGo(2)).toEqual([3]);
  expect(await locks.held(3)).toEqual([X("node/a"), X("node/b")]);
  expect(await letGo(3)).toEqual([4]);
});

test("candidates that it leaves go to those who waited behind it", async () => {
  await ask(1, [X("node/a")]);
  await ask(2, [S("node/b")]);
  expect(await ask(3, [], { candidates: nodes(1, ["a", "b"]) })).toBe("waiting");
  expect(await ask(4, [S("node/b")])).toBe("waiting");
  expect(await letGo(1)).toEqual([3, 4]);
  expect(await locks.held(3)).toEqual([X("node/a")]);
});

test("its other locks are not for choosing: without them it takes none", async () => {
  await ask(1, [X("instance/new.test")]);
  expect(await ask(2, [X("instance/new.test")], { candidates: nodes(1, ["a", "b"]) })).toBe("waiting");
  expect(await locks.explain(2)).toEqual([{ lock: "instance/new.test", blockedBy: [1] }]);
  expect(await letGo(1)).toEqual([2]);
  expect(await locks.held(2)).toEqual([X("instance/new.test"), X("node/a"), X("node/b")]);
});

test("a set lock above them keeps all of them from it", async () => {
  await ask(1, [S("node/[lockset]")]);
  expect(await ask(2, [], { candidates: nodes(1, ["a", "b"]) })).toBe("waiting");
  expect(await letGo(1)).toEqual([2]);
});

test("asking again answers the present state; for something else it is refused", async () => {
  await ask(1, [X("node/a")]);
  const candidates = nodes(1, ["a"]);
  expect(await ask(2, [], { candidates })).toBe("waiting");
  expect(await ask(2, [], { candidates })).toBe("waiting");
  await expect(ask(2, [X("node/a")])).rejects.toThrow(LockError);
  await expect(ask(2, [], { candidates: nodes(1, ["a", "b"]) })).rejects.toThrow(LockError);
  await letGo(1);
  expect(await ask(2, [], { candidates })).toBe("granted");
  // It has as many as it asked for: more are not taken later.
  expect(await ask(2, [], { candidates: nodes(1, ["a", "b"]) })).toBe("granted");
  expect(await locks.held(2)).toEqual([X("node/a")]);
});

test("while it waits every candidate is shown as waited for", async () => {
  await ask(1, [X("node/a")]);
  await ask(2, [S("node/b")]);
  await ask(3, [], { candidates: nodes(2, ["a", "b", "c"]) });
  const pending = (await locks.list()).map(({ name, pending }) => [name, pending.map(({ owner }) => owner)]);
  expect(pending).toEqual([
    ["node/a", [3]],
    ["node/b", [3]],
    ["node/c", [3]],
  ]);
  expect(await locks.explain(3)).toEqual([
    { lock: "node/a", blockedBy: [1] },
    { lock: "node/b", blockedBy: [2] },
  ]);
});

test.each<[string, LockCandidates, readonly LockWish[]]>([
  ["none", nodes(0, ["a"]), []],
  ["more than there are", nodes(3, ["a", "b", "a"]), []],
  ["a part of one", nodes(1.5, ["a", "b"]), []],
  ["a set lock", nodes(1, ["[lockset]"]), []],
  ["one that is wanted in any case", nodes(1, ["a", "b"]), [S("node/a")]],
  ["some of no level", { ...nodes(1, ["a"]), levels: [] }, []],
])("asking for %s is refused", async (_, candidates, wishes) => {
  await expect(ask(1, wishes, { candidates })).rejects.toThrow(LockError);
});
