/** Another disk template for an instance: the data are there afterwards, and after every failure on the way. */
import { drbdIdOf } from "@gannet/objects";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { unavailableIn } from "../../src/logical-units/registry.ts";
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
  for (const { name } of bed.view.instances.values())
    await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: name, shutdown_timeout: 0 });
  expect(bed.nodes.leftovers()).toEqual([]);
  expect([...bed.view.disks.values()]).toEqual([]);
  bed.nodes.calls.length = 0;
});

/** A stopped instance of two disks, with something on them. */
async function stopped(template: string): Promise<void> {
  await bed.succeed("OP_INSTANCE_CREATE", {
    ...{ ...INSTANCE, mode: "create", disk_template: template, nics: [{}], os_type: "noop", hypervisor: "fake" },
    ...{
      pnode: NODE1,
      start: false,
      disks: [
        { size: 1024, name: "root" },
        { size: 2048, mode: "ro" },
      ],
    },
    ...(template === "drbd" ? { snode: NODE2 } : {}),
    ...(template === "ext" ? { disks: [{ size: 1024, provider: "pvdr" }] } : {}),
  });
  await bed.succeed("OP_INSTANCE_DEACTIVATE_DISKS", INSTANCE);
  expect(contents(NODE1)).toContain("installed");
  bed.nodes.calls.length = 0;
}

/** What is on the volumes of a node that are not metadata. */
function contents(node: string): readonly string[] {
  return [...bed.nodes.named(node).volumes]
    .filter(([id]) => !id.endsWith("_meta"))
    .map(([, volume]) => volume.contents);
}

const convert = (template: string, more: object = {}) => ({ ...INSTANCE, disk_template: template, ...more });
const toDrbd = (more: object = {}) => convert("drbd", { remote_node: NODE2, ...more });

describe("plain to drbd", () => {
  test("keeps the volumes with their data, and fills a second copy", async () => {
    await stopped("plain");
    const before = bed.disks(NAME);
    const job = await bed.succeed("OP_INSTANCE_SET_PARAMS", toDrbd());
    expect(job.result).toEqual([["disk_template", "drbd"]]);
    const after = bed.disks(NAME);
    expect(after).toMatchObject([
      { template: "drbd", sizeMib: 1024, name: "root", ivName: "disk/0" },
      { template: "drbd", sizeMib: 2048, mode: "ro", ivName: "disk/1" },
    ]);
    expect(after.map(({ children }) => children[0]?.uuid)).toEqual(before.map(({ uuid }) => uuid));
    expect(contents(NODE1)).toEqual(["installed", "installed"]);
    expect(contents(NODE2)).toEqual(["installed", "installed"]);
    expect(bed.nodes.story("convert")).toEqual([]);
    expect(bed.instance(NAME)).toMatchObject({ diskTemplate: "drbd", disksActive: false });
    expect(bed.nodes.named(NODE1).ends.size).toBe(0);
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
  });

  test.each([
    [NODE2, "create"],
    [NODE1, "rename"],
    [NODE1, "create"],
    [NODE2, "standBy"],
    [NODE1, "seed"],
  ])("that fails on %s in %s leaves the plain volumes as they were", async (node, method) => {
    await stopped("plain");
    const volumes = () => [...bed.nodes.named(NODE1).volumes].map(([id, volume]) => [id, { ...volume }]);
    const [before, disks, ports] = [volumes(), bed.disks(NAME), bed.view.cluster.tcpudpPortPool];
    for (const after of [false, true]) {
      bed.nodes.failures = [{ node, method, after }];
      const { status } = await bed.run("OP_INSTANCE_SET_PARAMS", toDrbd());
      expect(status).toBe("error");
      bed.nodes.failures = [];
      expect(new Map(volumes() as [string, object][])).toEqual(new Map(before as [string, object][]));
      expect(contents(NODE2)).toEqual([]);
      expect(bed.disks(NAME)).toEqual(disks);
      expect(bed.nodes.named(NODE1).ends.size + bed.nodes.named(NODE2).ends.size).toBe(0);
    }
    expect(bed.view.cluster.tcpudpPortPool.length).toBeGreaterThanOrEqual(ports.length);
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
  });

  test("fills it on the node that an allocator chooses", async () => {
    await stopped("plain");
    await bed.succeed("OP_INSTANCE_SET_PARAMS", convert("drbd", { iallocator: "hail" }));
    const [secondary] = bed.view.secondaryNodes(bed.instance(NAME));
    expect([bed.uuidOf(NODE2), bed.uuidOf(NODE3)]).toContain(secondary);
    const both = { ...toDrbd(), iallocator: "hail" };
    const { result } = await bed.run("OP_INSTANCE_SET_PARAMS", both);
    expect(result).toEqual(["OpPrereqError", [expect.stringContaining("not both"), "wrong_input"]]);
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
  });

  test("without waiting leaves the disks active while they are filled", async () => {
    await stopped("plain");
    const job = await bed.succeed("OP_INSTANCE_SET_PARAMS", toDrbd({ wait_for_sync: false }));
    expect(job.log.join("\n")).toContain("left active");
    expect(bed.instance(NAME).disksActive).toBe(true);
    expect(bed.nodes.named(NODE2).ends.size).toBe(2);
  });
});

describe("drbd to plain", () => {
  test("keeps the data volumes, removes the rest, and frees the ports", async () => {
    await stopped("drbd");
    const ports = bed.disks(NAME).map((disk) => drbdIdOf(disk).port);
    const volumes = bed.disks(NAME).map(({ children }) => children[0]?.logicalId.join("/"));
    await bed.succeed("OP_INSTANCE_SET_PARAMS", convert("plain"));
    expect([...bed.nodes.named(NODE1).volumes.keys()]).toEqual(volumes);
    expect(contents(NODE1)).toEqual(["installed", "installed"]);
    expect(bed.nodes.named(NODE2).volumes.size).toBe(0);
    expect(bed.disks(NAME)).toMatchObject([
      { template: "plain", name: "root", sizeMib: 1024, ivName: "disk/0", children: [], nodes: [bed.uuidOf(NODE1)] },
      { template: "plain", sizeMib: 2048, mode: "ro", ivName: "disk/1" },
    ]);
    expect(bed.view.cluster.tcpudpPortPool).toEqual(expect.arrayContaining(ports));
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
  });

  test("is done even when the secondary's volumes cannot be removed, which is told", async () => {
    await stopped("drbd");
    bed.nodes.failures = [{ node: NODE2, method: "remove" }];
    const job = await bed.succeed("OP_INSTANCE_SET_PARAMS", convert("plain"));
    expect(job.log.join("\n")).toMatch(/WARNING: Left behind what was of disk\/0 on node2/);
    expect(bed.instance(NAME).diskTemplate).toBe("plain");
    bed.nodes.named(NODE2).volumes.clear();
  });
});

describe("other templates are copied", () => {
  test.each([
    ["file", "plain", {}],
    ["plain", "file", {}],
    ["plain", "rbd", {}],
    ["sharedfile", "drbd", { remote_node: NODE2 }],
    ["drbd", "file", {}],
    ["plain", "ext", { ext_params: { provider: "pvdr", lun: 3 } }],
    ["ext", "gluster", {}],
  ])("from %s to %s", async (from, to, more) => {
    await stopped(from);
    const old = [...bed.nodes.named(NODE1).volumes.keys()];
    await bed.succeed("OP_INSTANCE_SET_PARAMS", convert(to, more));
    const now = [...bed.nodes.named(NODE1).volumes.keys()];
    expect(now.filter((id) => old.includes(id))).toEqual([]);
    expect(new Set(contents(NODE1))).toEqual(new Set(["installed"]));
    if (to === "drbd") expect(new Set(contents(NODE2))).toEqual(new Set(["installed"]));
    if (from === "drbd") expect(bed.nodes.named(NODE2).volumes.size).toBe(0);
    if (to === "ext")
      expect(bed.disks(NAME)[0]).toMatchObject({ logicalId: ["pvdr", expect.any(String)], params: { lun: 3 } });
    expect(bed.instance(NAME)).toMatchObject({ diskTemplate: to, disksActive: false });
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
  });

  test.each(["create", "convert"])("and stay what they were when %s fails", async (method) => {
    await stopped("file");
    const before = [...bed.nodes.named(NODE1).volumes.keys()];
    for (const after of [false, true]) {
      bed.nodes.failures = [{ method, after }];
      expect((await bed.run("OP_INSTANCE_SET_PARAMS", convert("plain"))).status).toBe("error");
      expect([...bed.nodes.named(NODE1).volumes.keys()]).toEqual(before);
      expect(bed.instance(NAME).diskTemplate).toBe("file");
    }
  });
});

test.each([
  ["file", {}],
  ["drbd", { remote_node: NODE2 }],
])(
  "a disk has the whole of its volume as %s, too: its guest had the use of what that was rounded up by",
  async (to, more) => {
    await stopped("plain");
    for (const volume of bed.nodes.named(NODE1).volumes.values()) volume.sizeMib += 2;
    await bed.succeed("OP_INSTANCE_SET_PARAMS", convert(to, more));
    expect(bed.disks(NAME)).toMatchObject([{ sizeMib: 1026 }, { sizeMib: 2050 }]);
    if (to === "drbd") expect(bed.disks(NAME).map(({ children }) => children[0]?.sizeMib)).toEqual([1026, 2050]);
  },
);

describe("is refused", () => {
  test.each([
    ["drbd on the primary itself", convert("drbd", { remote_node: NODE1 }), "wrong_input"],
    ["a node for what has no copy", convert("file", { remote_node: NODE2 }), "wrong_input"],
    ["the same template", convert("plain"), "wrong_input"],
    ["to diskless", convert("diskless"), "wrong_input"],
    ["to blockdev", convert("blockdev"), "wrong_input"],
    ["ext without a provider", convert("ext"), "wrong_input"],
    ["nothing at all", INSTANCE, "wrong_input"],
  ])("%s", async (_what, request, code) => {
    await stopped("plain");
    const { result } = await bed.run("OP_INSTANCE_SET_PARAMS", request);
    expect(result).toEqual(["OpPrereqError", [expect.any(String), code]]);
  });

  test("without a node where no allocator could choose one", async () => {
    await stopped("plain");
    const { defaultIallocator } = bed.view.cluster;
    await bed.setCluster({ defaultIallocator: "" });
    const { result } = await bed.run("OP_INSTANCE_SET_PARAMS", convert("drbd"));
    await bed.setCluster({ defaultIallocator });
    expect(result).toEqual(["OpPrereqError", [expect.stringContaining("allocator"), "wrong_input"]]);
  });

  test("while the instance runs", async () => {
    await stopped("plain");
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    const { result } = await bed.run("OP_INSTANCE_SET_PARAMS", toDrbd());
    expect(result).toEqual(["OpPrereqError", [expect.stringContaining("running"), "wrong_state"]]);
  });

  test("at submission, whatever cannot be done yet", () => {
    const lacking = (params: object) => unavailableIn({ OP_ID: "OP_INSTANCE_SET_PARAMS", ...INSTANCE, ...params });
    expect(lacking({ disk_template: "drbd", remote_node: NODE2, force: true, hotplug: false })).toBeUndefined();
    expect(lacking({ disk_template: "drbd", iallocator: "hail" })).toBeUndefined();
    expect(lacking({ instance_communication: true })).toBeUndefined();
    expect(unavailableIn({ OP_ID: "OP_INSTANCE_STARTUP", ...INSTANCE })).toBeUndefined();
  });
});
