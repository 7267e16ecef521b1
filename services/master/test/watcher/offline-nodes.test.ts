/** Nodes that are marked offline and answer all the same: what `maintain_node_health` has done with them. */
import { NodeUnreachable } from "@gannet/errors";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { watcherJob } from "../../src/watcher/watcher-jobs.ts";
import { NODE1, NODE2, WatcherBed } from "./watcher-bed.ts";

const NAME = "web1.gnt.test";
const STRAY = "web2.gnt.test";
const QUIESCE = `NODE_QUIESCE(${NODE1})`;

let bed: WatcherBed;
beforeAll(async () => {
  bed = await WatcherBed.start();
});
afterAll(() => bed[Symbol.asyncDispose]());
beforeEach(async () => {
  bed.nextLeader();
  bed.pass(24 * 60 * 60);
  await bed.create(NAME, { disk_template: "drbd", snode: NODE2 });
  await bed.units.setCluster({ maintainNodeHealth: true });
  await bed.units.setNode(NODE1, { offline: true });
  bed.units.live.lose(bed.units.uuidOf(NODE1));
});
afterEach(async () => {
  bed.units.nodes.failures = [];
  await bed.units.setCluster({ maintainNodeHealth: false });
  await bed.units.setNode(NODE1, { offline: false });
  bed.reboot(NODE1, `boot of ${NODE1}`);
  for (const name of [STRAY, NAME]) bed.units.nodes.named(NODE1).guests.delete(name);
  await bed.removeAll();
});

const node1 = () => bed.units.nodes.named(NODE1);
/** Looks until it says so: what a node answers is seen by the look after. */
const untilTold = (name: string, words: string) =>
  vi.waitFor(async () => {
    await bed.look();
    expect(await bed.waitOf(name)).toContain(words);
  });
const untilDone = () => vi.waitFor(async () => expect(await bed.looks(1)).toEqual([QUIESCE]));

test("guests there are stopped, whether the configuration knows them or not, and ends of DRBD disks taken down", async () => {
  node1().guests.add(STRAY);
  expect([...node1().guests]).toEqual([NAME, STRAY]);
  expect(node1().ends.size).toBe(1);
  await untilDone();
  expect([...node1().guests]).toEqual([]);
  expect([...node1().ends]).toEqual([]);
  const before = bed.units.instance(NAME);
  expect(before).toMatchObject({ adminState: "up", disksActive: true, primaryNode: bed.units.uuidOf(NODE1) });
  expect((await bed.memory()).deeds.at(-1)).toMatchObject({
    ...{ action: "quiesce", name: NODE1 },
    reason: `it is marked offline and has guests (${NAME}, ${STRAY}) and DRBD minors in use (0)`,
  });
  expect(await bed.looks(3)).toEqual([]);
  expect((await bed.memory()).nodeTries).toEqual({});
  // The other end is none of its business.
  expect(bed.units.nodes.named(NODE2).ends.size).toBe(1);
});

test("nothing is done while it is off, for nodes that are not marked offline, or that do not answer", async () => {
  await bed.units.setCluster({ maintainNodeHealth: false });
  bed.units.nodes.calls.length = 0;
  expect(await bed.looks(3)).toEqual([]);
  expect(bed.units.nodes.story("node.watch")).toEqual([]);
  await bed.units.setCluster({ maintainNodeHealth: true });
  bed.units.nodes.failures = [{ node: NODE1, method: "node.watch", error: new NodeUnreachable(NODE1, "no route") }];
  expect(await bed.looks(3)).toEqual([]);
  expect(bed.units.nodes.story("node.watch").length).toBeGreaterThan(1);
  expect([...node1().guests]).toEqual([NAME]);
});

test("minors of others are left alone", async () => {
  await untilDone();
  node1().drbd = { ...node1().drbd, minors: [77] };
  expect(await bed.looks(3)).toEqual([]);
  node1().drbd = { ...node1().drbd, minors: [] };
});

test("what cannot be ended is tried again after a pause, by the next leader, too, and told", async () => {
  bed.units.nodes.failures = [{ node: NODE1, method: "instances.stop" }];
  await untilDone();
  await untilTold(NODE1, `guests (${NAME}) and DRBD`);
  expect(await bed.waitOf(NODE1)).toContain("it was tried 1 time; the next try is at");
  bed.nextLeader();
  bed.pass(60);
  await untilDone();
});

test("a node that a job works on is left to it", async () => {
  const { locks, ledger } = bed.units;
  const fence = { epoch: 1 };
  const wishes = [{ level: "node", name: bed.units.uuidOf(NODE1), mode: "exclusive" }] as const;
  await locks.request({ owner: 999, wishes, priority: 0 }, fence);
  const back = { OP_ID: "OP_NODE_SET_PARAMS", node_name: NODE1, offline: false };
  const [job = 0] = await ledger.submit([{ ...watcherJob([back], { reason: "", nowMs: 0 }), requester: "tester" }]);
  await vi.waitFor(async () => expect((await ledger.get(job))?.status).toBe("waiting"));
  await untilTold(NODE1, `job ${job} works on it or is about to`);
  await ledger.cancel(job);
  await locks.release(999, "all", fence);
});

test("by the time that its job begins, it does nothing that is not wanted any more", async () => {
  const refused = async (asker: "watcher" | "person") => {
    bed.units.nodes.calls.length = 0;
    const job = watcherJob([{ OP_ID: "OP_NODE_QUIESCE", node_name: NODE1 }], { reason: "a test", nowMs: bed.nowMs });
    const [id = 0] = await bed.units.ledger.submit([job]);
    const result =
      asker === "watcher"
        ? (await bed.units.ended(id)).opcodes[0]?.result
        : (await bed.units.run("OP_NODE_QUIESCE", { node_name: NODE1 })).result;
    expect(bed.units.nodes.story("instances.stop", "shutdown")).toEqual([]);
    return JSON.stringify(result);
  };
  await bed.units.setNode(NODE1, { offline: false });
  expect(await refused("watcher")).toContain(`By now node ${NODE1} is not marked offline`);
  expect(await refused("person")).toContain("what runs on it belongs there");
  await bed.units.setNode(NODE1, { offline: true });
  await bed.units.setCluster({ maintainNodeHealth: false });
  expect(await refused("watcher")).toContain("By now maintain_node_health is off");
});

test("an operator's own tells what it has done, whatever is on", async () => {
  await bed.units.setCluster({ maintainNodeHealth: false });
  const { result } = await bed.units.succeed("OP_NODE_QUIESCE", { node_name: NODE1 });
  expect(result).toEqual({ guests: [NAME], disks: [`disk/0 of ${NAME}`] });
  expect((await bed.units.succeed("OP_NODE_QUIESCE", { node_name: NODE1 })).result).toEqual({ guests: [], disks: [] });
});
