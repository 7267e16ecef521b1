/** The disks of existing instances: activated, deactivated, grown, made again, with both nodes of a mirror. */
import { BlockDeviceError, HypervisorError } from "@gannet/errors";
import { drbdIdOf } from "@gannet/objects";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;
const NAME = "web1.gnt.test";
const INSTANCE = { instance_name: NAME };

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());

afterEach(async () => {
  bed.nodes.failures = [];
  for (const node of NODES) await bed.setNode(node, { offline: false });
  for (const { name } of bed.view.instances.values())
    await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: name, shutdown_timeout: 0 });
  for (const node of NODES) bed.nodes.named(node).volumes.clear();
  bed.nodes.calls.length = 0;
});

/** A stopped instance whose disks are not active. */
async function stopped(template: "drbd" | "plain", disks: readonly object[] = [{ size: 1024 }]): Promise<void> {
  const request = { ...INSTANCE, mode: "create", disk_template: template, disks, nics: [{}], os_type: "noop" };
  const nodes = template === "drbd" ? { pnode: NODE1, snode: NODE2 } : { pnode: NODE1 };
  await bed.succeed("OP_INSTANCE_CREATE", { ...request, ...nodes, hypervisor: "fake", start: false });
  await bed.succeed("OP_INSTANCE_DEACTIVATE_DISKS", INSTANCE);
  bed.nodes.calls.length = 0;
}

const ends = () => NODES.map((node) => [...bed.nodes.named(node).ends.values()].map(({ role }) => role));
const DOWN = [[], [], []];

describe("of a mirrored instance", () => {
  beforeEach(() => stopped("drbd", [{ size: 1024 }, { size: 1024 }]));

  test("deactivation takes both ends of all disks down", () => {
    expect(ends()).toEqual(DOWN);
    expect(bed.instance(NAME)).toMatchObject({ adminState: "down", disksActive: false });
  });

  test("activation brings up the secondary first, and answers where the disks are", async () => {
    const { result } = await bed.succeed("OP_INSTANCE_ACTIVATE_DISKS", { ...INSTANCE, wait_for_sync: true });
    expect(result).toEqual([
      [NODE1, "disk/0", "/dev/drbd0"],
      [NODE1, "disk/1", "/dev/drbd1"],
    ]);
    expect(bed.nodes.story("standBy", "assemble").slice(0, 4)).toEqual([
      `${NODE2} standBy drbd/0`,
      `${NODE2} standBy drbd/1`,
      `${NODE1} assemble drbd/0`,
      `${NODE1} assemble drbd/1`,
    ]);
    expect(ends()).toEqual([["primary", "primary"], ["secondary", "secondary"], []]);
    expect(bed.instance(NAME).disksActive).toBe(true);
    await bed.succeed("OP_INSTANCE_DEACTIVATE_DISKS", INSTANCE);
    expect(ends()).toEqual(DOWN);
  });

  test("a failed activation leaves everything as it was", async () => {
    for (const failure of [
      { node: NODE2, method: "standBy" },
      { node: NODE1, method: "assemble", after: true },
    ]) {
      bed.nodes.failures = [failure];
      expect((await bed.run("OP_INSTANCE_ACTIVATE_DISKS", INSTANCE)).status).toBe("error");
      expect(ends()).toEqual(DOWN);
      expect(bed.instance(NAME).disksActive).toBe(false);
    }
  });

  test("a start brings up both ends, a shutdown takes both down", async () => {
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    expect(ends()).toEqual([["primary", "primary"], ["secondary", "secondary"], []]);
    expect(bed.instance(NAME)).toMatchObject({ adminState: "up", disksActive: true });
    const busy = await bed.run("OP_INSTANCE_DEACTIVATE_DISKS", INSTANCE);
    expect(busy.result).toEqual(["OpPrereqError", [expect.stringContaining("shut it down first"), "wrong_state"]]);
    await bed.succeed("OP_INSTANCE_SHUTDOWN", { ...INSTANCE, timeout: 0 });
    expect(ends()).toEqual(DOWN);
    expect(bed.instance(NAME)).toMatchObject({ adminState: "down", disksActive: false });
  });

  test("a start whose guest fails takes the disks down again", async () => {
    bed.nodes.failures = [{ method: "instances.start", after: true, error: new HypervisorError("no such machine") }];
    expect((await bed.run("OP_INSTANCE_STARTUP", INSTANCE)).status).toBe("error");
    expect(ends()).toEqual(DOWN);
    expect(bed.nodes.named(NODE1).guests.size).toBe(0);
    expect(bed.instance(NAME)).toMatchObject({ adminState: "down", disksActive: false });
  });

  test("a start needs its secondary, unless forced or the secondary is offline", async () => {
    bed.nodes.failures = [{ node: NODE2, method: "standBy", error: new BlockDeviceError("no such volume") }];
    const refused = await bed.run("OP_INSTANCE_STARTUP", INSTANCE);
    expect(refused.result).toEqual(["OpExecError", [expect.stringMatching(/disk\/0 on node2.*no such volume.*force/)]]);
    expect(ends()).toEqual(DOWN);
    const forced = await bed.succeed("OP_INSTANCE_STARTUP", { ...INSTANCE, force: true });
    expect(forced.log.join("\n")).toMatch(/WARNING: .*no such volume/);
    await bed.succeed("OP_INSTANCE_SHUTDOWN", { ...INSTANCE, timeout: 0 });

    bed.nodes.failures = [];
    await bed.setNode(NODE2, { offline: true });
    const alone = await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    expect(alone.log.join("\n")).toContain("marked offline");
    expect(ends()).toEqual([["primary", "primary"], [], []]);
    await bed.succeed("OP_INSTANCE_SHUTDOWN", { ...INSTANCE, timeout: 0 });
  });

  test("a full reboot takes the disks down and up on both nodes", async () => {
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    bed.nodes.calls.length = 0;
    await bed.succeed("OP_INSTANCE_REBOOT", { ...INSTANCE, reboot_type: "full", shutdown_timeout: 0 });
    expect(bed.nodes.story("instances.stop", "shutdown", "standBy", "instances.start")).toEqual([
      `${NODE1} instances.stop /0`,
      `${NODE1} shutdown drbd/0`,
      `${NODE2} shutdown drbd/0`,
      `${NODE1} shutdown drbd/1`,
      `${NODE2} shutdown drbd/1`,
      `${NODE2} standBy drbd/0`,
      `${NODE2} standBy drbd/1`,
      `${NODE1} instances.start /0`,
    ]);
  });

  test("a shutdown is no failure when the secondary is", async () => {
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    bed.nodes.failures = [{ node: NODE2, method: "shutdown", times: 2 }];
    const job = await bed.succeed("OP_INSTANCE_SHUTDOWN", { ...INSTANCE, timeout: 0 });
    expect(job.log.join("\n")).toMatch(/WARNING: Could not shut down disk\/0 on node2/);
    bed.nodes.failures = [{ node: NODE2, method: "shutdown", times: 1 }];
    expect((await bed.run("OP_INSTANCE_DEACTIVATE_DISKS", INSTANCE)).status).toBe("error");
    bed.nodes.failures = [{ method: "shutdown", times: 3 }];
    const forced = await bed.succeed("OP_INSTANCE_DEACTIVATE_DISKS", { ...INSTANCE, force: true });
    expect(forced.log.filter((line) => line.includes("WARNING"))).not.toEqual([]);
    expect(bed.instance(NAME).disksActive).toBe(false);
    await bed.succeed("OP_INSTANCE_DEACTIVATE_DISKS", INSTANCE);
    expect(ends()).toEqual(DOWN);
  });
});

describe("growing", () => {
  const sizes = (node: string) => [...bed.nodes.named(node).volumes.values()].map(({ sizeMib }) => sizeMib);

  test("a mirrored disk grows on the secondary, then on the primary, and is released again", async () => {
    await stopped("drbd");
    await bed.succeed("OP_INSTANCE_GROW_DISK", { ...INSTANCE, disk: 0, amount: 512 });
    expect(bed.nodes.story("grow")).toEqual([`${NODE2} grow drbd/0`, `${NODE1} grow drbd/0`]);
    expect([sizes(NODE1), sizes(NODE2)]).toEqual([
      [1536, 128],
      [1536, 128],
    ]);
    expect(bed.disks(NAME)).toMatchObject([{ sizeMib: 1536, children: [{ sizeMib: 1536 }, { sizeMib: 128 }] }]);
    expect(ends()).toEqual(DOWN);
  });

  test("to an absolute size, with the running guest told", async () => {
    await stopped("plain");
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    await bed.succeed("OP_INSTANCE_GROW_DISK", { ...INSTANCE, disk: 0, amount: 3000, absolute: true });
    expect(sizes(NODE1)).toEqual([3000]);
    const [resize] = bed.nodes.calls.filter(({ method }) => method === "instances.hotplug");
    expect(resize?.request).toMatchObject({ action: 4, index: 0, device: { value: { sizeMib: 3000 } } });
    bed.nodes.failures = [{ method: "instances.hotplug", error: new HypervisorError("cannot do this") }];
    const job = await bed.succeed("OP_INSTANCE_GROW_DISK", { ...INSTANCE, disk: 0, amount: 1 });
    expect(job.log.join("\n")).toMatch(/WARNING: The guest sees the new size only once it is started anew/);
    expect(bed.nodes.story("shutdown"), "its disks stay active").toEqual([]);
  });

  test("overwrites no more than what is new", async () => {
    await stopped("plain");
    await bed.setCluster({ preallocWipeDisks: true });
    await bed.succeed("OP_INSTANCE_GROW_DISK", { ...INSTANCE, disk: 0, amount: 10 });
    await bed.setCluster({ preallocWipeDisks: false });
    const wiped = bed.nodes.calls.filter(({ method }) => method === "wipe").map(({ request }) => request);
    expect(wiped).toHaveLength(10);
    expect(wiped[0]).toMatchObject({ offsetMib: 1024, sizeMib: 1 });
  });

  test("that failed on one node is asked for again", async () => {
    await stopped("drbd");
    bed.nodes.failures = [{ node: NODE1, method: "grow", times: 1 }];
    expect((await bed.run("OP_INSTANCE_GROW_DISK", { ...INSTANCE, disk: 0, amount: 512 })).status).toBe("error");
    expect(bed.disks(NAME)).toMatchObject([{ sizeMib: 1024 }]);
    await bed.succeed("OP_INSTANCE_GROW_DISK", { ...INSTANCE, disk: 0, amount: 512 });
    expect(sizes(NODE1)).toEqual([1536, 128]);
  });

  test.each([
    ["a disk that is not there", { disk: 5, amount: 1 }, "wrong_input"],
    ["to less than now", { disk: 0, amount: 1000, absolute: true }, "wrong_state"],
    ["beyond the policy", { disk: 0, amount: 2_000_000 }, "wrong_input"],
    ["beyond the volume group", { disk: 0, amount: 9_500 }, "insufficient_resources"],
  ])("%s is refused", async (_what, change, code) => {
    await stopped("plain");
    const { result } = await bed.run("OP_INSTANCE_GROW_DISK", { ...INSTANCE, ...change });
    expect(result).toEqual(["OpPrereqError", [expect.any(String), code]]);
    expect(bed.nodes.story("grow")).toEqual([]);
  });
});

describe("making disks again", () => {
  const lose = (...nodes: readonly string[]) => {
    for (const node of nodes) bed.nodes.named(node).volumes.clear();
  };

  test("on the same nodes, under the same names, with another size", async () => {
    await stopped("drbd", [{ size: 1024 }, { size: 1024 }]);
    const before = bed.disks(NAME);
    lose(NODE1, NODE2);
    await bed.succeed("OP_INSTANCE_RECREATE_DISKS", { ...INSTANCE, disks: [0, [1, { size: 2048, mode: "ro" }]] });
    const after = bed.disks(NAME);
    expect(after.map(({ logicalId }) => logicalId)).toEqual(before.map(({ logicalId }) => logicalId));
    expect(after).toMatchObject([{ sizeMib: 1024 }, { sizeMib: 2048, mode: "ro", children: [{ sizeMib: 2048 }, {}] }]);
    expect(bed.nodes.named(NODE2).freeMib("xenvg")).toBe(10_000 - 1024 - 2048 - 2 * 128);
    expect(ends()).toEqual(DOWN);
  });

  test("on other nodes, with minors that are free there", async () => {
    await stopped("drbd");
    const { secret, port } = drbdIdOf(bed.disks(NAME)[0] ?? raise());
    lose(NODE1, NODE2);
    await bed.succeed("OP_INSTANCE_RECREATE_DISKS", { ...INSTANCE, nodes: [NODE3, NODE2] });
    expect(bed.instance(NAME).primaryNode).toBe(bed.uuidOf(NODE3));
    const [disk = raise()] = bed.disks(NAME);
    expect(drbdIdOf(disk)).toEqual({
      nodes: [bed.uuidOf(NODE3), bed.uuidOf(NODE2)],
      minors: [0, 0],
      port,
      secret,
    });
    expect(disk.nodes).toEqual([bed.uuidOf(NODE3), bed.uuidOf(NODE2)]);
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    expect(ends()).toEqual([[], ["secondary"], ["primary"]]);
  });

  test("on nodes that an allocator chooses: not on one that is gone", async () => {
    await stopped("drbd");
    lose(NODE1, NODE2);
    await bed.setNode(NODE1, { offline: true });
    await bed.succeed("OP_INSTANCE_RECREATE_DISKS", { ...INSTANCE, iallocator: "hail" });
    const [disk = raise()] = bed.disks(NAME);
    expect(new Set(disk.nodes)).toEqual(new Set([NODE2, NODE3].map((node) => bed.uuidOf(node))));
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
  });

  test("that fails leaves rows and nodes as they were", async () => {
    await stopped("drbd");
    const before = { disks: bed.disks(NAME), node: bed.instance(NAME).primaryNode };
    lose(NODE1, NODE2);
    bed.nodes.failures = [{ method: "seed" }];
    const job = await bed.run("OP_INSTANCE_RECREATE_DISKS", { ...INSTANCE, nodes: [NODE3, NODE2], disks: [] });
    expect(job.status).toBe("error");
    expect(bed.nodes.leftovers()).toEqual([]);
    const stamps = { serialNo: expect.any(Number), mtime: expect.any(Number) };
    expect(bed.disks(NAME)).toEqual(before.disks.map((disk) => ({ ...disk, ...stamps })));
    expect(bed.instance(NAME).primaryNode).toBe(before.node);
    expect(await bed.ledgerText()).not.toContain(drbdIdOf(before.disks[0] ?? raise()).secret);
  });

  test("never overwrites what is still there", async () => {
    await stopped("drbd");
    lose(NODE1);
    const { result } = await bed.run("OP_INSTANCE_RECREATE_DISKS", INSTANCE);
    expect(result).toEqual(["OpPrereqError", [expect.stringMatching(/exists on node node2/), "already_exists"]]);
  });

  test.each([
    ["one of two on other nodes", { disks: [0], nodes: [NODE3, NODE2] }, "wrong_input"],
    ["on too few nodes", { nodes: [NODE3] }, "wrong_input"],
    ["a disk twice", { disks: [0, 0] }, "wrong_input"],
    ["a disk that is not there", { disks: [7] }, "wrong_input"],
    ["in another volume group", { disks: [[0, { vg: "fast" }]] }, "wrong_input"],
  ])("%s is refused", async (_what, change, code) => {
    await stopped("drbd", [{ size: 1024 }, { size: 1024 }]);
    const { result } = await bed.run("OP_INSTANCE_RECREATE_DISKS", { ...INSTANCE, ...change });
    expect(result).toEqual(["OpPrereqError", [expect.any(String), code]]);
    expect(bed.nodes.story("create")).toEqual([]);
  });
});

function raise(): never {
  throw new Error("a disk is missing");
}
