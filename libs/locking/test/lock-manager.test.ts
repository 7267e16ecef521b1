/** The lock manager's verbs on a real Redis, each rule by an example. Histories at random are in lock-histories.test.ts. */
import { LockError, StaleEpoch } from "@gannet/errors";
import { connectRedis, EPOCH_KEY, type Redis } from "@gannet/redis";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type LockWish, RedisLockManager } from "../src/index.ts";
import { S, X } from "./lock-wishes.ts";
import { losingFirstAnswer } from "./lossy-redis.ts";

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

function ask(owner: number, wishes: readonly LockWish[], priority = 0): Promise<"granted" | "waiting"> {
  return locks.request({ owner, wishes, priority }, FENCE);
}

describe("who gets a lock", () => {
  test.each<[string, LockWish, LockWish, "granted" | "waiting"]>([
    ["shared beside shared", S("node/n1"), S("node/n1"), "granted"],
    ["exclusive after shared", S("node/n1"), X("node/n1"), "waiting"],
    ["shared after exclusive", X("node/n1"), S("node/n1"), "waiting"],
    ["another member", X("node/n1"), X("node/n2"), "granted"],
    ["the same name at another level", X("node/n1"), X("node-res/n1"), "granted"],
    ["a member below an exclusive set lock", X("node/[lockset]"), S("node/n1"), "waiting"],
    ["a member below a shared set lock", S("node/[lockset]"), X("node/n1"), "waiting"],
    ["a shared member below a shared set lock", S("node/[lockset]"), S("node/n1"), "granted"],
    ["an exclusive set lock above a shared member", S("node/n1"), X("node/[lockset]"), "waiting"],
    ["a shared set lock above an exclusive member", X("node/n1"), S("node/[lockset]"), "waiting"],
    ["a shared set lock above a shared member", S("node/n1"), S("node/[lockset]"), "granted"],
    ["the set lock of another level", X("node/[lockset]"), X("instance/a.test"), "granted"],
    ["the big lock", X("cluster/BGL"), S("cluster/BGL"), "waiting"],
  ])("%s", async (_, held, asked, answer) => {
    expect(await ask(1, [held])).toBe("granted");
    expect(await ask(2, [asked])).toBe(answer);
  });

  test("all or nothing: a waiting request holds none of its locks", async () => {
    await ask(1, [X("node/n1")]);
    expect(await ask(2, [X("instance/a.test"), X("node/n1")])).toBe("waiting");
    expect(await locks.held(2)).toEqual([]);
    expect(await locks.release(1, "all", FENCE)).toEqual([2]);
    expect(await locks.held(2)).toEqual([X("instance/a.test"), X("node/n1")]);
  });

  test("an earlier waiter holds up a later one that conflicts with it, on locks that are free", async () => {
    await ask(1, [X("node/n1")]);
    await ask(2, [X("instance/a.test"), X("node/n1")]);
    expect(await ask(3, [X("instance/a.test")])).toBe("waiting");
    expect(await ask(4, [X("instance/a.test")], -10)).toBe("granted");
    expect(await locks.release(1, "all", FENCE)).toEqual([]);
    expect(await locks.release(4, "all", FENCE)).toEqual([2]);
    expect(await locks.release(2, "all", FENCE)).toEqual([3]);
  });

  test("shared requests behind an exclusive one wait for it, and are then granted together", async () => {
    await ask(1, [S("node/n1")]);
    expect(await ask(2, [X("node/n1")])).toBe("waiting");
    expect(await ask(3, [S("node/n1")])).toBe("waiting");
    expect(await ask(4, [S("node/n1")])).toBe("waiting");
    expect(await locks.release(1, "all", FENCE)).toEqual([2]);
    expect(await locks.release(2, "all", FENCE)).toEqual([3, 4]);
  });

  test("an exclusive wish wins over a shared one for the same lock", async () => {
    await ask(1, [S("node/n1"), X("node/n1"), S("node/n1")]);
    expect(await locks.held(1)).toEqual([X("node/n1")]);
  });

  test("an owner of a set lock may hold a member in the same request", async () => {
    expect(await ask(1, [S("node/[lockset]"), X("node/n1")])).toBe("granted");
    expect(await ask(2, [S("node/n2")])).toBe("granted");
    expect(await ask(3, [S("node/n1")])).toBe("waiting");
    expect(await ask(4, [S("node/[lockset]")])).toBe("waiting");
    expect(await locks.downgrade(1, [X("node/n1")], FENCE)).toEqual([3, 4]);
  });
});

describe("an owner that asks again", () => {
  test("repeating a request answers its state and takes no second place in the queue", async () => {
    await ask(1, [X("node/n1")]);
    expect(await ask(2, [X("node/n1")])).toBe("waiting");
    expect(await ask(3, [X("node/n1")])).toBe("waiting");
    expect(await ask(2, [X("node/n1")])).toBe("waiting");
    expect(await locks.release(1, "all", FENCE)).toEqual([2]);
    expect(await ask(2, [X("node/n1")])).toBe("granted");
  });

  test("a different request while one waits is refused", async () => {
    await ask(1, [X("node/n1")]);
    await ask(2, [X("node/n1")]);
    await expect(ask(2, [X("node/n2")])).rejects.toThrow(LockError);
    await expect(ask(2, [S("node/n1")])).rejects.toThrow(/another lock request waiting/);
  });

  test("asking for later levels goes before others who wait, so that none wait in a circle", async () => {
    await ask(1, [X("instance/a.test")]);
    expect(await ask(2, [X("instance/a.test"), X("node/n1")])).toBe("waiting");
    expect(await ask(1, [X("node/n1")])).toBe("granted");
    expect(await locks.release(1, "all", FENCE)).toEqual([2]);
  });

  test("of two that ask for later levels the first to come is granted first, in whatever modes they wait", async () => {
    for (const owner of [4, 5]) await ask(owner, [S("cluster/BGL")]);
    await ask(2, [X("node/n1")]);
    expect(await ask(4, [S("node/[lockset]")])).toBe("waiting");
    expect(await ask(5, [X("node/[lockset]")])).toBe("waiting");
    expect(await locks.release(2, "all", FENCE)).toEqual([4]);
    expect(await locks.release(4, "all", FENCE)).toEqual([5]);
  });

  test("asking for a level that it holds already, or an earlier one, is refused", async () => {
    await ask(1, [S("node/n1")]);
    await expect(ask(1, [S("node/n2")])).rejects.toThrow(/node\/n2.*release them first/);
    await expect(ask(1, [X("node/n1")])).rejects.toThrow(LockError);
    await expect(ask(1, [S("instance/a.test")])).rejects.toThrow(LockError);
    expect(await ask(1, [S("node/n1"), X("network/x")])).toBe("granted");
    expect(await locks.held(1)).toEqual([S("node/n1"), X("network/x")]);
  });
});

describe("letting go", () => {
  test("early release of some locks grants those who need no more than these", async () => {
    await ask(1, [X("instance/a.test"), X("node/n1"), X("node/n2")]);
    await ask(2, [X("node/n1")]);
    await ask(3, [X("node/n1"), X("node/n2")]);
    expect(await locks.release(1, [X("node/n1")], FENCE)).toEqual([2]);
    expect(await locks.held(1)).toEqual([X("instance/a.test"), X("node/n2")]);
    expect(await locks.release(1, [X("node/n2"), X("node/none")], FENCE)).toEqual([]);
    expect(await locks.release(2, "all", FENCE)).toEqual([3]);
  });

  test("of the last exclusive member lets the set lock's shared owners in", async () => {
    await ask(1, [X("node/n1"), X("node/n2")]);
    await ask(2, [S("node/[lockset]")]);
    expect(await locks.release(1, [X("node/n1")], FENCE)).toEqual([]);
    expect(await locks.downgrade(1, [S("node/n2")], FENCE)).toEqual([2]);
  });

  test("a waiting request that is given up lets those behind it in", async () => {
    await ask(1, [S("node/n1")]);
    await ask(2, [X("node/n1")]);
    await ask(3, [S("node/n1")]);
    await expect(locks.release(2, [X("node/n1")], FENCE)).rejects.toThrow(LockError);
    expect(await locks.release(2, "all", FENCE)).toEqual([3]);
    expect(await locks.release(2, "all", FENCE)).toEqual([]);
  });

  test("downgrading what is not held is refused", async () => {
    await expect(locks.downgrade(1, [X("node/n1")], FENCE)).rejects.toThrow(/does not hold node\/n1/);
  });

  test("a new leader keeps the locks of living owners and frees the rest", async () => {
    await ask(1, [X("node/n1")]);
    await ask(2, [X("node/n2")]);
    await ask(3, [X("node/n1")]);
    await ask(4, [X("node/n1")]);
    await ask(5, [X("node/n2")]);
    expect(await locks.retainOwners([2, 4, 5], FENCE)).toEqual([4]);
    expect((await locks.list()).map(({ name, owners }) => [name, owners])).toEqual([
      ["node/n1", [4]],
      ["node/n2", [2]],
    ]);
  });
});

describe("priorities", () => {
  test("a raised one overtakes, a lowered one steps back behind equals that came later", async () => {
    await ask(1, [X("node/n1")]);
    for (const owner of [2, 3, 4]) await ask(owner, [X("node/n1")]);
    expect(await locks.reprioritize(4, -1, FENCE)).toEqual([]);
    expect(await locks.reprioritize(2, 5, FENCE)).toEqual([]);
    const order = [];
    for (let owner: number | undefined = 1; owner !== undefined; ) {
      const [next]: readonly number[] = await locks.release(owner, "all", FENCE);
      order.push(next);
      owner = next;
    }
    expect(order).toEqual([4, 3, 2, undefined]);
  });

  test("raising one that nothing but an earlier waiter holds up grants it", async () => {
    await ask(1, [X("node/n1")]);
    await ask(2, [X("node/n1"), X("node/n2")]);
    await ask(3, [X("node/n2")]);
    expect(await locks.reprioritize(3, -1, FENCE)).toEqual([3]);
  });

  test("lowering one grants those whom it held up", async () => {
    await ask(1, [X("node/n1")]);
    await ask(2, [X("node/n1"), X("node/n2")]);
    await ask(3, [X("node/n2")]);
    expect(await locks.reprioritize(2, 19, FENCE)).toEqual([3]);
  });

  test("of an owner that waits for nothing changes nothing", async () => {
    expect(await locks.reprioritize(9, 1, FENCE)).toEqual([]);
  });
});

describe("what can be seen", () => {
  test("every lock with its mode, its owners and who waits in which order since when", async () => {
    const before = Date.now();
    await ask(2, [S("cluster/BGL"), X("node/n1")]);
    await ask(1, [S("cluster/BGL"), S("instance/[lockset]")]);
    await ask(3, [S("cluster/BGL"), X("instance/a.test"), S("node/n1")]);
    await ask(4, [S("cluster/BGL"), X("node/n1")], -1);
    const since = { sinceMs: expect.toSatisfy((ms: number) => ms >= before - 1 && ms <= Date.now() + 1) };
    const shared = { mode: "shared", ...since };
    const exclusive = { mode: "exclusive", ...since };
    expect(await locks.list()).toEqual([
      {
        name: "cluster/BGL",
        mode: "shared",
        owners: [1, 2],
        pending: [
          { owner: 4, ...shared },
          { owner: 3, ...shared },
        ],
      },
      { name: "instance/[lockset]", mode: "shared", owners: [1], pending: [] },
      { name: "instance/a.test", mode: null, owners: [], pending: [{ owner: 3, ...exclusive }] },
      {
        name: "node/n1",
        mode: "exclusive",
        owners: [2],
        pending: [
          { owner: 4, ...exclusive },
          { owner: 3, ...shared },
        ],
      },
    ]);
    expect(await locks.explain(3)).toEqual([
      { lock: "instance/[lockset]", blockedBy: [1] },
      { lock: "node/n1", blockedBy: [2, 4] },
    ]);
    expect(await locks.explain(1)).toEqual([]);
  });
});

describe("trouble with Redis", () => {
  test("a release whose answer was lost tells whom it granted, unless they know", async () => {
    await ask(1, [X("node/n1"), X("node/n2")]);
    await ask(2, [X("node/n1")]);
    await ask(3, [X("node/n2")]);
    await ask(4, [X("node/n2")]);
    await locks.release(1, [X("node/n1")], FENCE);
    await ask(2, [X("node/n1")]);
    const lossy = new RedisLockManager(losingFirstAnswer(redis));
    expect(await lossy.release(1, "all", FENCE)).toEqual([3]);
  });

  test("a request waits for Redis to be back", async () => {
    await server.kill();
    const asking = ask(1, [X("node/n1")]);
    await server.start();
    expect(await asking).toBe("granted");
  });

  test("with its memory full requests are refused and change nothing, releases go on and grant", async () => {
    await ask(1, [X("node/n1")]);
    await ask(2, [X("node/n1")]);
    await server.client.config("SET", "maxmemory", 1);
    try {
      const impatient = new RedisLockManager(redis, { patienceMs: 0 });
      const request = impatient.request({ owner: 3, wishes: [X("node/n2")], priority: 0 }, FENCE);
      await expect(request).rejects.toThrow(/memory limit/);
      expect(await locks.downgrade(1, [X("node/n1")], FENCE)).toEqual([]);
      expect(await locks.release(1, "all", FENCE)).toEqual([2]);
      expect(await locks.held(2)).toEqual([X("node/n1")]);
      expect(await locks.held(3)).toEqual([]);
    } finally {
      await server.client.config("SET", "maxmemory", 0);
    }
  });
});

describe("what is refused", () => {
  test("every writing verb under another epoch, changing nothing", async () => {
    await ask(1, [X("node/n1")]);
    await ask(2, [X("node/n1")]);
    const before = await locks.list();
    for (const epoch of [FENCE.epoch - 1, FENCE.epoch + 1]) {
      const stale = { epoch };
      await expect(locks.request({ owner: 3, wishes: [S("node/n2")], priority: 0 }, stale)).rejects.toThrow(StaleEpoch);
      await expect(locks.release(1, "all", stale)).rejects.toThrow(StaleEpoch);
      await expect(locks.downgrade(1, [X("node/n1")], stale)).rejects.toThrow(StaleEpoch);
      await expect(locks.reprioritize(2, 1, stale)).rejects.toThrow(StaleEpoch);
      await expect(locks.retainOwners([], stale)).rejects.toThrow(StaleEpoch);
    }
    expect(await locks.list()).toEqual(before);
  });

  test.each([
    ["a slash", X("node/a/b")],
    ["a line feed", X("node/a\nb")],
    ["no name", X("node/")],
    ["300 characters", X(`node/${"n".repeat(300)}`)],
    ["no lock of level cluster", X("cluster/config")],
  ])("a name with %s", async (_, wish) => {
    await expect(ask(1, [wish])).rejects.toThrow(LockError);
  });

  test.each([-21, 20, 0.5, Number.NaN])("priority %d", async (priority) => {
    await expect(ask(1, [X("node/n1")], priority)).rejects.toThrow(LockError);
    await expect(locks.reprioritize(1, priority, FENCE)).rejects.toThrow(LockError);
  });

  test.each([0, -1, 1.5])("owner %d", async (owner) => {
    await expect(ask(owner, [X("node/n1")])).rejects.toThrow(LockError);
  });
});
