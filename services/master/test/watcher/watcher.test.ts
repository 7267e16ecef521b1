/** What the watcher does and what it leaves alone. */
import { StaleEpoch } from "@gannet/errors";
import { EPOCH_KEY } from "@gannet/redis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { watcherJob } from "../../src/watcher/watcher-jobs.ts";
import { NODE1, NODE2, WatcherBed } from "./watcher-bed.ts";

const NAME = "web1.gnt.test";
const OTHER = "web2.gnt.test";
const START = `INSTANCE_STARTUP(${NAME})`;

let bed: WatcherBed;
beforeAll(async () => {
  bed = await WatcherBed.start();
});
afterAll(() => bed[Symbol.asyncDispose]());
beforeEach(async () => {
  await bed.create(NAME);
  // The first verification of disks is due at once.
  bed.nextLeader();
  await bed.look();
});
afterEach(async () => {
  bed.units.nodes.failures = [];
  await bed.units.setCluster({ enabledUserShutdown: false });
  for (const node of [NODE1, NODE2]) await bed.units.setNode(node, { offline: false, drained: false });
  await bed.removeAll();
  // Long enough for everything that was tried to be forgotten.
  bed.pass(24 * 60 * 60);
});

describe("a guest that has crashed", () => {
  beforeEach(() => bed.seen(NAME, { status: "crashed" }));

  test("is started when a second look finds it so, by a job of the lowest priority that tells who asked", async () => {
    expect(await bed.look()).toEqual([]);
    expect(await bed.waitOf(NAME)).toContain("just found");
    const [job] = await bed.look();
    expect(job).toMatchObject({ status: "success", summary: [START], requester: "watcher" });
    expect(job?.opcodes[0]?.input).toMatchObject({
      priority: 10,
      reason: [["gnt:watcher", "it should run and does not", bed.nowMs * 1e6]],
    });
    expect(bed.statusOf(NAME)).toBe("running");
    expect((await bed.memory()).deeds.at(-1)).toMatchObject({ action: "start", name: NAME, job: job?.id });
    expect(await bed.looks(3)).toEqual([]);
  });

  test("and one of which nothing is left on its node", async () => {
    bed.units.live.noteInstanceGone(bed.units.uuidOf(NODE1), NAME);
    expect(await bed.looks()).toEqual([START]);
  });

  test("that cannot be started is tried five times with growing pauses, then again after eight hours", async () => {
    bed.units.nodes.failures = [{ method: "instances.start", node: NODE1 }];
    const look = async () => {
      bed.seen(NAME, { status: "crashed" });
      return await bed.looks(1);
    };
    await look();
    expect(await look()).toEqual([START]);
    for (const [index, pauseS] of [60, 300, 900, 3_600, 8 * 3_600].entries()) {
      // Each look is half a minute after the last.
      bed.pass(pauseS - 60);
      expect(await look()).toEqual([]);
      const wait = await bed.waitOf(NAME);
      expect(wait).toMatch(index < 4 ? /^it was tried \d times?; the next try is at 2026-/ : /5 times; given up until/);
      expect(await look()).toEqual([START]);
    }
  });

  test("has its tries forgotten when it has run for an hour, and not before", async () => {
    await bed.looks();
    bed.seen(NAME, { status: "running", uptimeSeconds: 3_599 });
    await bed.look();
    expect((await bed.memory()).tries).toMatchObject([{ action: "start", instance: NAME, count: 1 }]);
    bed.seen(NAME, { status: "running", uptimeSeconds: 3_600 });
    await bed.look();
    expect((await bed.memory()).tries).toEqual([]);
  });

  test("is not tried more often because the leader changes", async () => {
    bed.units.nodes.failures = [{ method: "instances.start", node: NODE1 }];
    expect(await bed.looks()).toEqual([START]);
    bed.seen(NAME, { status: "crashed" });
    bed.nextLeader();
    await bed.look();
    bed.nowMs -= 40_000;
    expect(await bed.look()).toEqual([]);
    expect(await bed.waitOf(NAME)).toContain("tried 1 time;");
    bed.pass(30);
    expect(await bed.looks(1)).toEqual([START]);
  });

  test("is left to the next leader by one that was replaced", async () => {
    const old = bed.watcher();
    await old.look();
    await bed.units.redis.client.set(EPOCH_KEY, 2);
    const before = await bed.units.ledger.lastId();
    try {
      await expect(old.look()).rejects.toThrow(StaleEpoch);
    } finally {
      await bed.units.redis.client.set(EPOCH_KEY, 1);
    }
    expect(await bed.units.ledger.lastId()).toBe(before);
  });

  test.each([
    ["is marked to be down", { adminState: "down" }],
    ["is marked offline", { adminState: "offline" }],
  ] as const)("is left alone when it %s", async (_how, change) => {
    await bed.units.commit(() => [{ kind: "instance", put: { ...bed.units.instance(NAME), ...change } }]);
    expect(await bed.looks(3)).toEqual([]);
    await bed.units.commit(() => [{ kind: "instance", put: { ...bed.units.instance(NAME), adminState: "up" } }]);
  });

  test("is left alone on a node that is drained, offline or silent", async () => {
    await bed.units.setNode(NODE1, { drained: true });
    expect(await bed.looks()).toEqual([]);
    expect(await bed.waitOf(NAME)).toBe(`its primary node ${NODE1} is drained`);
    await bed.units.setNode(NODE1, { drained: false, offline: true });
    expect(await bed.looks()).toEqual([]);
    expect(await bed.waitOf(NAME)).toBe("its primary node is marked offline");
    await bed.units.setNode(NODE1, { offline: false });
    bed.units.live.lose(bed.units.uuidOf(NODE1));
    expect(await bed.looks()).toEqual([]);
    expect(await bed.waitOf(NAME)).toBe("its primary node does not answer");
    bed.reboot(NODE1, `boot of ${NODE1}`);
    expect(await bed.looks()).toEqual([START]);
  });

  test("is left alone during a pause and while the queue is drained", async () => {
    await bed.units.setCluster({ watcherPausedUntil: bed.nowMs / 1000 + 1000 });
    expect(await bed.looks(3)).toEqual([]);
    expect(await bed.waitOf("cluster.gnt.test")).toContain("paused until 2026-");
    bed.pass(1000);
    await bed.units.ledger.setDrained(true);
    expect(await bed.looks(3)).toEqual([]);
    expect(await bed.waitOf("cluster.gnt.test")).toBe("the job queue is drained");
    await bed.units.ledger.setDrained(false);
    expect(await bed.looks()).toEqual([START]);
  });

  test("is left to a job that waits or works on it", async () => {
    await bed.look();
    const { locks, ledger } = bed.units;
    const fence = { epoch: 1 };
    const wishes = [{ level: "instance", name: NAME, mode: "exclusive" }] as const;
    await locks.request({ owner: 999, wishes, priority: 0 }, fence);
    expect(await bed.look()).toEqual([]);
    expect(await bed.waitOf(NAME)).toContain("job 999 works on it");
    // So does somebody's shutdown that waits behind it.
    const shutdown = { OP_ID: "OP_INSTANCE_SHUTDOWN", instance_name: NAME };
    const [job = 0] = await ledger.submit([
      { ...watcherJob([shutdown], { reason: "", nowMs: 0 }), requester: "tester" },
    ]);
    await vi.waitFor(async () => expect((await ledger.get(job))?.status).toBe("waiting"));
    expect(await bed.look()).toEqual([]);
    expect(await ledger.cancel(job)).toEqual([true, expect.anything()]);
    await vi.waitFor(async () => expect((await ledger.get(job))?.status).toBe("canceled"));
    await locks.release(999, "all", fence);
    expect(await bed.looks(1)).toEqual([START]);
  });
});

test("a shutdown of its user prevails, whenever it comes", async () => {
  const { ledger } = bed.units;
  for (let round = 0; round < 6; round += 1) {
    await bed.units.succeed("OP_INSTANCE_STARTUP", { instance_name: NAME });
    bed.seen(NAME, { status: "crashed" });
    await bed.look();
    const [, down] = await Promise.all([
      bed.look(),
      round % 2 === 0
        ? bed.units.succeed("OP_INSTANCE_SHUTDOWN", { instance_name: NAME, timeout: 0 })
        : ledger.caughtUp().then(() => bed.units.succeed("OP_INSTANCE_SHUTDOWN", { instance_name: NAME, timeout: 0 })),
    ]);
    expect(down.status).toBe("success");
    await bed.look();
    expect([bed.units.instance(NAME).adminState, bed.statusOf(NAME)]).toEqual(["down", undefined]);
  }
});

test("a guest that was shut down from inside, where that is honoured, is noted and not started", async () => {
  await bed.units.setCluster({ enabledUserShutdown: true });
  bed.seen(NAME, { status: "shutdown" });
  expect(await bed.looks()).toEqual([`INSTANCE_SHUTDOWN(${NAME})`]);
  expect(bed.units.instance(NAME)).toMatchObject({ adminState: "down", adminStateSource: "user" });
  expect(await bed.looks(3)).toEqual([]);
});

test("a guest that was shut down from inside, where that is not honoured, is started", async () => {
  bed.seen(NAME, { status: "shutdown" });
  expect(await bed.looks()).toEqual([START]);
});

describe("what its jobs find changed by the time that they begin, they leave", () => {
  const answerTo = async (OP_ID: string, params: Readonly<Record<string, unknown>> = {}) => {
    const job = watcherJob([{ OP_ID, instance_name: NAME, ...params }], { reason: "a test", nowMs: bed.nowMs });
    bed.units.nodes.calls.length = 0;
    const [id = 0] = await bed.units.ledger.submit([job]);
    const [opcode] = (await bed.units.ended(id)).opcodes;
    expect(bed.units.nodes.calls).toEqual([]);
    return opcode?.result;
  };
  const refusal = (words: string) => ["OpPrereqError", [expect.stringContaining(words), "wrong_state"]];

  test("an instance that is to be down is not started, nor are its disks activated", async () => {
    await bed.units.succeed("OP_INSTANCE_SHUTDOWN", { instance_name: NAME, timeout: 0 });
    expect(await answerTo("OP_INSTANCE_STARTUP")).toEqual(refusal("is to be down"));
    expect(await answerTo("OP_INSTANCE_ACTIVATE_DISKS")).toEqual(refusal("are not to be in use"));
    expect(bed.units.instance(NAME)).toMatchObject({ adminState: "down", disksActive: false });
  });

  test("a guest that runs again is not shut down", async () => {
    expect(await answerTo("OP_INSTANCE_SHUTDOWN", { admin_state_source: "user" })).toEqual(refusal("runs again"));
    expect([bed.units.instance(NAME).adminState, bed.statusOf(NAME)]).toEqual(["up", "running"]);
  });
});

describe("disks", () => {
  const ACTIVATE = `INSTANCE_ACTIVATE_DISKS(${OTHER})`;
  beforeEach(async () => {
    await bed.create(OTHER, { disk_template: "drbd", snode: NODE2 });
    await bed.looks(1);
  });

  test("of a node that has rebooted are activated where their instances run elsewhere", async () => {
    bed.reboot(NODE2, "another boot");
    expect(await bed.looks(1)).toEqual([ACTIVATE]);
    expect(await bed.looks(3)).toEqual([]);
    // Instances that ran on it are started, which is seen of them.
    bed.reboot(NODE1, "another boot");
    expect(await bed.looks(3)).toEqual([]);
  });

  test("wait for the node to be there, also with the next leader", async () => {
    bed.reboot(NODE2, "a third boot");
    bed.units.live.lose(bed.units.uuidOf(NODE1));
    expect(await bed.looks(2)).toEqual([]);
    expect((await bed.memory()).disksDue).toEqual([OTHER]);
    bed.nextLeader();
    bed.reboot(NODE1, "another boot");
    bed.seen(NAME, { status: "running" });
    bed.seen(OTHER, { status: "running" });
    expect(await bed.looks(2)).toEqual([ACTIVATE]);
    expect((await bed.memory()).disksDue).toEqual([]);
  });

  test("are verified at intervals, and activated where a verification finds them inactive", async () => {
    bed.units.nodes.named(NODE2).ends.clear();
    bed.pass(300);
    const [verification] = await bed.look();
    expect(verification).toMatchObject({ status: "success", summary: ["GROUP_VERIFY_DISKS(default)"] });
    expect(verification?.opcodes[0]?.result).toEqual([{}, [OTHER], {}]);
    expect(await bed.looks(1)).toEqual([ACTIVATE]);
  });
});
