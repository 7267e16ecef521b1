/** The site's hooks of the watcher: where and when they run, and what becomes of one that fails or hangs. */
import { NodeUnreachable } from "@gannet/errors";
import type { HookResult, RunHooksRequest } from "@gannet/rpc";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { NODES } from "../logical-units/logical-unit-bed.ts";
import { HOOKS_S, NODE1, NODE2, WatcherBed } from "./watcher-bed.ts";

const NAME = "web1.gnt.test";
/** Of a bed's look. */
const LOOK_S = 30;

let bed: WatcherBed;
beforeAll(async () => {
  bed = await WatcherBed.start();
});
afterAll(() => bed[Symbol.asyncDispose]());
beforeEach(() => {
  bed.nextLeader();
  bed.pass(24 * 60 * 60);
  bed.units.nodes.calls.length = 0;
});
afterEach(async () => {
  bed.units.nodes.failures = [];
  bed.units.nodes.onCall = undefined;
  for (const node of NODES) {
    bed.units.nodes.named(node).hooks = () => [];
    await bed.units.setNode(node, { offline: false });
  }
  await bed.removeAll();
});

const rounds = () =>
  bed.units.nodes.calls
    .filter(({ request }) => (request as RunHooksRequest).phase === "round")
    .map(({ node, request }) => ({ node, ...(request as RunHooksRequest) }));
const places = () =>
  rounds()
    .map(({ node }) => node)
    .sort();
const problems = async () => (await bed.memory()).hooks.problems;

function answer(node: string, ...results: HookResult[]): void {
  bed.units.nodes.named(node).hooks = ({ phase }) => (phase === "round" ? results : []);
}
const failure = (output: string): HookResult => ({ script: "watcher/20-no", status: "fail", output });

test("run on every node at each round, which begins once, whoever leads", async () => {
  await bed.look();
  expect(places()).toEqual([...NODES]);
  expect(rounds()[0]).toMatchObject({
    ...{ path: "watcher", step: { epoch: 1, jobId: 0 } },
    environment: {
      PATH: "/sbin:/bin:/usr/sbin:/usr/bin",
      GANETI_HOOKS_PATH: "watcher",
      GANETI_CLUSTER: "cluster.gnt.test",
      GANETI_MASTER: NODE1,
    },
  });
  bed.nextLeader();
  bed.pass(HOOKS_S - 2 * LOOK_S);
  await bed.look();
  expect(rounds()).toHaveLength(NODES.length);
  await bed.look();
  expect(rounds()).toHaveLength(2 * NODES.length);
  expect(new Set(rounds().map(({ step }) => step?.step)).size).toBe(2);
});

test("do not run on a node that is offline or silent, nor during a pause, but do while the queue is drained", async () => {
  await bed.units.setNode(NODE2, { offline: true });
  const third = bed.units.uuidOf(NODES[2]);
  bed.units.live.lose(third);
  await bed.units.setCluster({ watcherPausedUntil: bed.nowMs / 1000 + LOOK_S + 1 });
  await bed.look();
  expect(places()).toEqual([]);
  await bed.units.ledger.setDrained(true);
  await bed.look();
  await bed.units.ledger.setDrained(false);
  expect(places()).toEqual([NODE1]);
  bed.reboot(NODES[2], `boot of ${NODES[2]}`);
});

test("that fail are told until a round in which they do not, and others still run", async () => {
  answer(NODE1, { script: "watcher/10-yes", status: "success", output: "" }, failure("the disk is full"));
  bed.units.nodes.failures = [{ node: NODE2, method: "node.runHooks", error: new NodeUnreachable(NODE2, "no answer") }];
  await bed.look();
  await bed.look();
  expect(await problems()).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ node: NODE1, script: "watcher/20-no", problem: "the disk is full" }),
      expect.objectContaining({ node: NODE2, script: null, problem: expect.stringContaining("no answer") }),
    ]),
  );
  expect(await problems()).toHaveLength(2);
  bed.nextLeader();
  answer(NODE1);
  bed.units.nodes.failures = [];
  expect(await problems()).toHaveLength(2);
  bed.pass(HOOKS_S);
  await bed.look();
  await bed.look();
  expect(await problems()).toEqual([]);
});

test("that hang stop nothing, are not begun again beside themselves, and are told of", async () => {
  await bed.create(NAME);
  const hanging = Promise.withResolvers<void>();
  bed.units.nodes.onCall = async ({ node, request }) => {
    if (node === NODE1 && (request as RunHooksRequest).phase === "round") await hanging.promise;
  };
  await bed.look();
  bed.seen(NAME, { status: "crashed" });
  expect(await bed.looks()).toEqual([`INSTANCE_STARTUP(${NAME})`]);
  bed.pass(HOOKS_S - 3 * LOOK_S);
  await bed.look();
  expect(places()).toEqual([NODE1, NODE2, NODE2, NODES[2], NODES[2]].sort());
  expect(await bed.waitOf(NODE1)).toBe(`its hooks of the watcher have been running for ${HOOKS_S} s`);

  answer(NODE1, failure("it took too long"));
  hanging.resolve();
  await vi.waitFor(async () => {
    await bed.look();
    expect(await problems()).toMatchObject([{ node: NODE1, problem: "it took too long" }]);
  });
});
