/** A migration that broke off, brought to its end at an operator's word. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2] = NODES;
const NAME = "web1.gnt.test";
const INSTANCE = { instance_name: NAME };
const CLEANUP = { ...INSTANCE, cleanup: true };

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());
beforeEach(async () => {
  await bed.succeed("OP_INSTANCE_CREATE", {
    ...{ ...INSTANCE, mode: "create", disk_template: "drbd", disks: [{ size: 1024 }], nics: [{}], os_type: "noop" },
    ...{ pnode: NODE1, snode: NODE2, hypervisor: "fake" },
  });
  bed.nodes.named(NODE2).guests.add(NAME);
});
afterEach(async () => {
  for (const node of [NODE1, NODE2]) bed.nodes.named(node).guests.delete(NAME);
  await bed.succeed("OP_INSTANCE_REMOVE", { ...INSTANCE, shutdown_timeout: 0 });
  expect(bed.nodes.leftovers()).toEqual([]);
});

const primary = () => bed.instance(NAME).primaryNode;

test("a guest that runs on the target has arrived, though its source, which has not heard of that, keeps it still", async () => {
  bed.nodes.named(NODE1).paused.add(NAME);
  await bed.succeed("OP_INSTANCE_MIGRATE", CLEANUP);
  expect(primary()).toBe(bed.uuidOf(NODE2));
  expect([NODE1, NODE2].map((node) => bed.nodes.named(node).guests.has(NAME))).toEqual([false, true]);
});

test.each([
  ["runs on both", []],
  ["stands still on the target and runs on the source", [NODE2]],
  ["stands still on both", [NODE1, NODE2]],
])("one that %s is left to its operator", async (_where, still) => {
  for (const node of still) bed.nodes.named(node).paused.add(NAME);
  const { status, result } = await bed.run("OP_INSTANCE_MIGRATE", CLEANUP);
  expect([status, JSON.stringify(result)]).toEqual(["error", expect.stringContaining("runs on both nodes")]);
  expect(primary()).toBe(bed.uuidOf(NODE1));
  expect([NODE1, NODE2].map((node) => bed.nodes.named(node).guests.has(NAME))).toEqual([true, true]);
  for (const node of still) bed.nodes.named(node).paused.delete(NAME);
});
