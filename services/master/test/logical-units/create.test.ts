/** OP_INSTANCE_CREATE in every disk template: what nodes are told, what is written down, and what a failure leaves. */
import { BlockDeviceError, NodeUnreachable } from "@gannet/errors";
import { drbdIdOf } from "@gannet/objects";
import type { BlockDevice } from "@gannet/rpc";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;
const NAME = "web1.gnt.test";

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
  const { highestUsedPort, tcpudpPortPool } = bed.view.cluster;
  expect(tcpudpPortPool, "every port is free again").toHaveLength(highestUsedPort - 11_000 + 1);
  for (const node of NODES) bed.nodes.named(node).volumes.clear();
  bed.nodes.calls.length = 0;
});

function create(template: string, more: Readonly<Record<string, unknown>> = {}) {
  return {
    instance_name: NAME,
    mode: "create",
    disk_template: template,
    disks: [{ size: 1024 }],
    nics: [{}],
    os_type: "noop",
    pnode: NODE1,
    hypervisor: "fake",
    ...more,
  };
}
const drbd = (more: Readonly<Record<string, unknown>> = {}) => create("drbd", { snode: NODE2, ...more });

const sent = (method: string, node: string) =>
  bed.nodes.calls
    .filter((call) => call.method === method && call.node === node)
    .map((call) => (call.request as { readonly device: BlockDevice }).device);

describe("drbd", () => {
  test("is made on the secondary, then on the primary, connected, seeded, synchronised, installed and started", async () => {
    const job = await bed.succeed("OP_INSTANCE_CREATE", drbd());
    expect(job.result).toEqual([NODE1, NODE2]);
    expect(bed.nodes.story("create", "standBy", "seed", "os.create", "instances.start")).toEqual([
      `${NODE2} create drbd/0`,
      `${NODE1} create drbd/0`,
      `${NODE2} standBy drbd/0`,
      `${NODE1} seed drbd/0`,
      `${NODE1} os.create /0`,
      `${NODE1} instances.start /0`,
    ]);
    const install = bed.nodes.story().indexOf(`${NODE1} os.create /0`);
    expect(bed.nodes.story().lastIndexOf(`${NODE1} mirrorStatus drbd/0`), "in sync before").toBeLessThan(install);
    const progress = job.log.filter((line) => line.includes("% done"));
    expect(progress.length).toBeGreaterThan(1);
    expect(progress[0]).toMatch(/disk\/0: 0\.00% done, \d+s remaining \(estimated\)/);
    expect(job.log.join("\n")).toContain("disks are in sync");
    for (const node of [NODE1, NODE2])
      expect([...bed.nodes.named(node).volumes.values()].map(({ contents }) => contents)).toContain("installed");
    expect(bed.instance(NAME)).toMatchObject({ diskTemplate: "drbd", disksActive: true, adminState: "up" });
  });

  test("each node is told its own end, and the secret in its place only", async () => {
    await bed.succeed(
      "OP_INSTANCE_CREATE",
      drbd({ disks: [{ size: 1024 }, { size: 1040, name: "swap", vg: "fast", metavg: "fast" }] }),
    );
    const disks = bed.disks(NAME);
    for (const [index, disk] of disks.entries()) {
      const { port, secret, nodes, minors } = drbdIdOf(disk);
      expect(nodes).toEqual([bed.uuidOf(NODE1), bed.uuidOf(NODE2)]);
      expect(secret).toMatch(/^[0-9a-f]{40}$/);
      expect(minors).toEqual([index, index]);
      const [first, second] = [sent("create", NODE1)[index], sent("create", NODE2)[index]];
      expect(first?.link).toEqual({
        localAddress: "198.51.100.1",
        localMinor: index,
        peerAddress: "198.51.100.2",
        peerMinor: index,
        port,
        secret,
      });
      expect(second?.link).toMatchObject({ localAddress: "198.51.100.2", peerAddress: "198.51.100.1", port, secret });
      expect(first?.logicalId).toEqual([...nodes, port, ...minors].map(String));
      expect(first?.children.map(({ sizeMib }) => sizeMib)).toEqual([disk.sizeMib, 128]);
    }
    expect(new Set(disks.map((disk) => drbdIdOf(disk).secret)).size).toBe(2);
    expect(sent("create", NODE1)[1]).toMatchObject({
      name: "swap",
      children: [{ logicalId: ["fast", expect.any(String)] }, { logicalId: ["fast", expect.any(String)] }],
    });
    expect(bed.nodes.named(NODE2).freeMib("xenvg")).toBe(10_000 - 1024 - 128);
    expect(bed.nodes.named(NODE2).freeMib("fast")).toBe(10_000 - 1040 - 128);
  });

  test("stripes of data and metadata are the volumes' own", async () => {
    await bed.setCluster({ diskparams: { drbd: { "data-stripes": 2, "meta-stripes": 3, metavg: "fast" } } });
    await bed.succeed("OP_INSTANCE_CREATE", drbd());
    await bed.setCluster({ diskparams: {} });
    const [device] = sent("create", NODE1);
    expect(device?.children.map(({ params }) => params.stripes?.value)).toEqual([
      { $case: "integer", value: 2 },
      { $case: "integer", value: 3 },
    ]);
    expect(device?.children[1]?.logicalId[0]).toBe("fast");
  });

  test("the secret is in no job, log, undo list or answer", async () => {
    bed.nodes.onCall = async ({ method }) => {
      if (method === "os.create") await secrets();
    };
    bed.nodes.failures = [{ method: "os.create", times: 1 }];
    const secrets = async () => {
      const known = bed.nodes.calls.flatMap(({ request }) => {
        const { device } = request as { readonly device?: BlockDevice };
        return device?.link?.secret ? [device.link.secret] : [];
      });
      expect(known.length).toBeGreaterThan(0);
      const text = await bed.ledgerText();
      expect(text).toContain("INSTANCE_CREATE");
      if (bed.nodes.onCall !== undefined) expect(text, "the undo list").toContain("remove-block-device");
      for (const secret of new Set(known)) expect(text).not.toContain(secret);
    };
    expect((await bed.run("OP_INSTANCE_CREATE", drbd())).status).toBe("error");
    bed.nodes.onCall = undefined;
    await secrets();
    await bed.succeed("OP_INSTANCE_CREATE", drbd());
    const info = await bed.succeed("OP_INSTANCE_QUERY_DATA", { instances: [NAME], static: false });
    const [disk] = bed.disks(NAME);
    const told = (info.result as Record<string, { disks: readonly Record<string, unknown>[] }>)[NAME]?.disks[0];
    expect(told).toMatchObject({
      logical_id: [...(disk?.logicalId ?? []).slice(0, -1), null],
      drbd_info: { primary_node: NODE1, primary_minor: 0, secondary_node: NODE2, secondary_minor: 0 },
      pstatus: ["/dev/drbd0", 147, 0, null, null, false, 1],
      sstatus: ["/dev/drbd0", 147, 0, null, null, false, 1],
      children: [{ pstatus: [expect.stringContaining("/dev/xenvg/"), null, null, null, null, false, 1] }, {}],
    });
    await secrets();
  });

  test("an undo list is as good as none without secret: it holds all else that a removal needs", async () => {
    bed.nodes.failures = [{ method: "seed" }];
    expect((await bed.run("OP_INSTANCE_CREATE", drbd())).status).toBe("error");
    const removed = sent("remove", NODE2)[0];
    expect(removed).toEqual({ ...sent("create", NODE2)[0], link: { ...removed?.link, secret: "" } });
    expect(removed?.params).not.toEqual({});
  });

  test("without wait_for_sync it is installed while the resync is held up", async () => {
    const job = await bed.succeed("OP_INSTANCE_CREATE", drbd({ wait_for_sync: false, start: false }));
    expect(bed.nodes.story("pauseSync", "os.create")).toEqual([
      `${NODE1} pauseSync drbd/0`,
      `${NODE1} os.create /0`,
      `${NODE1} pauseSync drbd/0`,
    ]);
    expect(job.log.join("\n")).not.toContain("in sync");
    expect(bed.instance(NAME)).toMatchObject({ adminState: "down", disksActive: true });
  });

  test("minors are each node's own, and freed ones are used again", async () => {
    const named = (name: string, pnode: string, snode: string) =>
      drbd({ instance_name: name, pnode, snode, start: false });
    await bed.succeed("OP_INSTANCE_CREATE", named("a.gnt.test", NODE1, NODE2));
    await bed.succeed("OP_INSTANCE_CREATE", named("b.gnt.test", NODE2, NODE3));
    await bed.succeed("OP_INSTANCE_CREATE", named("c.gnt.test", NODE3, NODE1));
    const minors = (name: string) => bed.disks(name).map((disk) => drbdIdOf(disk).minors);
    expect([minors("a.gnt.test"), minors("b.gnt.test"), minors("c.gnt.test")]).toEqual([[[0, 0]], [[1, 0]], [[1, 1]]]);
    const [freed] = bed.disks("a.gnt.test").map((disk) => drbdIdOf(disk).port);
    await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: "a.gnt.test", shutdown_timeout: 0 });
    await bed.succeed("OP_INSTANCE_CREATE", named("d.gnt.test", NODE1, NODE2));
    expect(minors("d.gnt.test")).toEqual([[0, 0]]);
    expect(bed.disks("d.gnt.test").map((disk) => drbdIdOf(disk).port)).toEqual([freed]);
  });
});

describe("a step that fails leaves nothing", () => {
  test.each([
    ["drbd", NODE2, "create"],
    ["drbd", NODE1, "create"],
    ["drbd", NODE2, "standBy"],
    ["drbd", NODE1, "seed"],
    ["drbd", NODE1, "os.create"],
    ["drbd", NODE1, "instances.start"],
    ["plain", NODE1, "create"],
    ["plain", NODE1, "os.create"],
    ["file", NODE1, "instances.start"],
  ])("%s on %s in %s", async (template, node, method) => {
    const disks = [{ size: 1024 }, { size: 2048 }];
    const request = template === "drbd" ? drbd({ disks }) : create(template, { disks });
    for (const after of [false, true]) {
      bed.nodes.failures = [{ node, method, after }];
      const { status, result } = await bed.run("OP_INSTANCE_CREATE", request);
      expect({ status, result }).toEqual({ status: "error", result: ["BlockDeviceError", [expect.any(String)]] });
      expect(bed.view.findInstance(NAME)).toBeUndefined();
      expect([...bed.view.disks.values()]).toEqual([]);
      expect(bed.nodes.leftovers()).toEqual([]);
    }
  });

  test("also when the node cannot be reached for a moment", async () => {
    const error = new NodeUnreachable(NODE1, "no answer");
    bed.nodes.failures = [
      { node: NODE1, method: "seed", after: true, times: 1, error },
      { node: NODE1, method: "remove", times: 1, error },
    ];
    expect((await bed.run("OP_INSTANCE_CREATE", drbd())).status).toBe("error");
    expect(bed.nodes.leftovers()).toEqual([]);
  });
});

describe("prealloc_wipe_disks", () => {
  test("overwrites new disks before anything else, and tells how far it is", async () => {
    await bed.setCluster({ preallocWipeDisks: true });
    const job = await bed.succeed(
      "OP_INSTANCE_CREATE",
      drbd({ disks: [{ size: 2000 }], start: false, no_install: true }),
    );
    await bed.setCluster({ preallocWipeDisks: false });
    const parts = bed.nodes.calls
      .filter(({ method }) => method === "wipe")
      .map(({ request }) => request as { readonly offsetMib: number; readonly sizeMib: number });
    expect(parts.map(({ offsetMib }) => offsetMib)).toEqual(Array.from({ length: 10 }, (_, part) => part * 200));
    expect(parts.reduce((sum, { sizeMib }) => sum + sizeMib, 0)).toBe(2000);
    expect(job.log.join("\n")).toMatch(/done: 100\.0% ETA: 0s/);
    expect(bed.nodes.story("wipe", "pauseSync", "mirrorStatus").slice(0, 12)).toEqual([
      `${NODE1} pauseSync drbd/0`,
      ...Array.from({ length: 10 }, () => `${NODE1} wipe drbd/0`),
      `${NODE1} pauseSync drbd/0`,
    ]);
  });
});

describe("adoption", () => {
  const volume = (more: object = {}) => ({
    owner: undefined,
    sizeMib: 1777,
    inUse: false,
    contents: "precious",
    ...more,
  });

  test("takes a volume with its size and contents, under a disk's name", async () => {
    bed.nodes.named(NODE1).volumes.set("fast/old-data", volume());
    await bed.succeed("OP_INSTANCE_CREATE", create("plain", { disks: [{ adopt: "old-data", vg: "fast" }] }));
    const [disk] = bed.disks(NAME);
    expect(disk).toMatchObject({ sizeMib: 1777, logicalId: ["fast", `${disk?.uuid}.disk0`] });
    expect([...bed.nodes.named(NODE1).volumes]).toEqual([
      [disk?.logicalId.join("/"), expect.objectContaining({ contents: "precious" })],
    ]);
    expect(bed.nodes.story("create", "os.create", "wipe")).toEqual([]);
  });

  test("gives it back untouched when something fails later", async () => {
    const { volumes } = bed.nodes.named(NODE1);
    volumes.set("xenvg/old-data", volume());
    bed.nodes.failures = [{ method: "instances.start" }];
    const { status } = await bed.run("OP_INSTANCE_CREATE", create("plain", { disks: [{ adopt: "old-data" }] }));
    expect(status).toBe("error");
    expect(volumes.get("xenvg/old-data")).toMatchObject({ contents: "precious" });
    volumes.clear();
  });

  test.each([
    ["does not exist", undefined, "unknown_entity"],
    ["is in use", volume({ inUse: true }), "wrong_state"],
  ])("refuses what %s", async (_why, present, code) => {
    if (present !== undefined) bed.nodes.named(NODE1).volumes.set("xenvg/old-data", present);
    const { result } = await bed.run("OP_INSTANCE_CREATE", create("plain", { disks: [{ adopt: "old-data" }] }));
    expect(result).toEqual(["OpPrereqError", [expect.stringContaining("xenvg/old-data"), code]]);
  });

  test("of a block device makes, renames and removes nothing", async () => {
    bed.nodes.named(NODE1).volumes.set("manual//dev/disk/by-id/lun7", volume());
    const disks = [{ adopt: "/dev/disk/by-id/lun7" }];
    await bed.succeed("OP_INSTANCE_CREATE", create("blockdev", { disks }));
    expect(bed.disks(NAME)).toMatchObject([{ logicalId: ["manual", "/dev/disk/by-id/lun7"], sizeMib: 1777 }]);
    expect(bed.nodes.story("create", "rename", "os.create")).toEqual([]);
    const again = await bed.run("OP_INSTANCE_CREATE", create("blockdev", { disks, instance_name: "web2.gnt.test" }));
    expect(again.result).toEqual(["OpPrereqError", [expect.stringContaining("lun7"), "resource_not_unique"]]);
    await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: NAME, shutdown_timeout: 0 });
    const device = bed.nodes.named(NODE1).volumes.get("manual//dev/disk/by-id/lun7");
    expect(device).toMatchObject({ contents: "precious" });
    bed.nodes.named(NODE1).volumes.clear();
  });

  test("of a device of the policy's size is compared with the policy", async () => {
    bed.nodes.named(NODE1).volumes.set("xenvg/tiny", volume({ sizeMib: 4 }));
    const { result } = await bed.run("OP_INSTANCE_CREATE", create("plain", { disks: [{ adopt: "tiny" }] }));
    expect(result).toEqual(["OpPrereqError", [expect.stringContaining("disk-size/0 value 4"), "wrong_input"]]);
  });
});

describe("the other templates name their devices as Ganeti does", () => {
  test.each([
    ["sharedfile", {}, ["loop", /^\/srv\/ganeti\/shared-file-storage\/web1\.gnt\.test\/.*\.sharedfile\.disk0$/]],
    [
      "file",
      { file_driver: "blktap", file_storage_dir: "sub" },
      ["blktap", /file-storage\/sub\/web1\.gnt\.test\/.*\.file\.disk0$/],
    ],
    ["rbd", {}, ["rbd", /\.rbd\.disk0$/]],
    ["gluster", {}, ["loop", /^\/var\/run\/ganeti\/gluster\/ganeti\/.*\.0$/]],
    ["ext", { disks: [{ size: 2048, provider: "pvdr", lun: 7, access: "userspace" }] }, ["pvdr", /\.ext\.disk0$/]],
  ])("%s", async (template, more, logicalId) => {
    await bed.succeed("OP_INSTANCE_CREATE", create(template, more));
    const [first, second] = logicalId as [string, RegExp];
    expect(bed.disks(NAME)).toMatchObject([{ template, logicalId: [first, expect.stringMatching(second)] }]);
    if (template === "ext") {
      expect(bed.disks(NAME)[0]?.params).toEqual({ lun: 7, access: "userspace" });
      expect(sent("create", NODE1)[0]?.params).toMatchObject({ lun: { value: { value: 7 } } });
    }
  });

  test("diskless has none", async () => {
    await bed.succeed("OP_INSTANCE_CREATE", create("diskless", { disks: [] }));
    expect(bed.nodes.story("create", "assemble")).toEqual([]);
  });
});

describe("is refused", () => {
  const space = { size: 9_900 };
  test.each([
    ["a mirror without a secondary", drbd({ snode: null }), "wrong_input"],
    ["one node as both", drbd({ snode: NODE1 }), "wrong_input"],
    ["an unknown secondary", drbd({ snode: "node9.gnt.test" }), "unknown_entity"],
    ["an offline secondary", drbd({ snode: NODE3 }), "wrong_state"],
    ["more than the volume group has, metadata counted", drbd({ disks: [space] }), "insufficient_resources"],
    [
      "more than it has in several disks",
      create("plain", { disks: [{ size: 6000 }, { size: 6000 }] }),
      "insufficient_resources",
    ],
    [
      "a volume group that is not there",
      create("plain", { disks: [{ size: 1024, vg: "nosuch" }] }),
      "environment_error",
    ],
    ["a size below the policy", create("plain", { disks: [{ size: 4 }] }), "wrong_input"],
    ["a volume group for a file", create("file", { disks: [{ size: 1024, vg: "xenvg" }] }), "wrong_input"],
    ["adopting for drbd", drbd({ disks: [{ adopt: "x" }] }), "wrong_input"],
    ["adopting some", create("plain", { disks: [{ adopt: "x" }, { size: 1024 }] }), "wrong_input"],
    ["adopting one twice", create("plain", { disks: [{ adopt: "x" }, { adopt: "x" }] }), "wrong_input"],
    ["blockdev without adopting", create("blockdev"), "wrong_input"],
    ["a path outside /dev/disk", create("blockdev", { disks: [{ adopt: "/dev/disk/../sda" }] }), "wrong_input"],
    ["ext without a provider", create("ext"), "wrong_input"],
    ["a disk without a size", create("plain", { disks: [{}] }), "wrong_input"],
  ])("%s", async (_what, request, code) => {
    await bed.setNode(NODE3, { offline: true });
    const { status, result } = await bed.run("OP_INSTANCE_CREATE", request);
    await bed.setNode(NODE3, { offline: false });
    expect({ status, result }).toEqual({ status: "error", result: ["OpPrereqError", [expect.any(String), code]] });
    expect(bed.nodes.story("create", "rename")).toEqual([]);
  });

  test("what does not suit a node with exclusive storage; what does is told to the node", async () => {
    const spindles = create("plain", { disks: [{ size: 1024, spindles: 2 }] });
    const refusal = ["OpPrereqError", [expect.stringMatching(/exclusive storage/), "wrong_input"]];
    expect((await bed.run("OP_INSTANCE_CREATE", spindles)).result).toEqual(refusal);
    await bed.setNode(NODE1, { ndparams: { exclusive_storage: true } });
    bed.nodes.named(NODE1).spindles = [{ type: "lvm-pv", name: "xenvg", totalMib: 2, freeMib: 2 }];
    for (const request of [drbd(), create("file"), create("plain")])
      expect((await bed.run("OP_INSTANCE_CREATE", request)).result).toEqual(refusal);
    await bed.succeed("OP_INSTANCE_CREATE", spindles);
    await bed.setNode(NODE1, { ndparams: {} });
    expect(sent("create", NODE1)[0]?.params).toMatchObject({
      exclusive_storage: { value: { $case: "flag", value: true } },
      spindles: { value: { value: 2 } },
    });
  });

  test("a secondary is told of where the template has no use for it", async () => {
    const job = await bed.succeed("OP_INSTANCE_CREATE", create("plain", { snode: NODE2 }));
    expect(job.result).toEqual([NODE1]);
    expect(job.log.join("\n")).toMatch(/WARNING: .*secondary node is not used/);
  });

  test("a dry run names both nodes and makes nothing", async () => {
    const job = await bed.succeed("OP_INSTANCE_CREATE", drbd({ dry_run: true }));
    expect(job.result).toEqual([NODE1, NODE2]);
    expect(bed.nodes.story("create")).toEqual([]);
  });
});

test("a removal goes on past a secondary that is offline, and not past one that fails, unless told to", async () => {
  await bed.succeed("OP_INSTANCE_CREATE", drbd());
  bed.nodes.failures = [{ node: NODE2, method: "remove", error: new BlockDeviceError("held by something") }];
  const refused = await bed.run("OP_INSTANCE_REMOVE", { instance_name: NAME, shutdown_timeout: 0 });
  expect(refused).toMatchObject({
    status: "error",
    result: ["OpExecError", [expect.stringContaining("held by something")]],
  });
  expect(bed.instance(NAME).name).toBe(NAME);
  const job = await bed.succeed("OP_INSTANCE_REMOVE", {
    instance_name: NAME,
    shutdown_timeout: 0,
    ignore_failures: true,
  });
  expect(job.log.join("\n")).toContain("going on as asked");
  expect(bed.nodes.leftovers()).not.toEqual([]);
  bed.nodes.named(NODE2).volumes.clear();
  bed.nodes.named(NODE2).ends.clear();

  bed.nodes.failures = [];
  await bed.succeed("OP_INSTANCE_CREATE", drbd());
  await bed.setNode(NODE2, { offline: true });
  const offline = await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: NAME, shutdown_timeout: 0 });
  await bed.setNode(NODE2, { offline: false });
  expect(offline.log.join("\n")).toContain("marked offline");
  bed.nodes.named(NODE2).volumes.clear();
  bed.nodes.named(NODE2).ends.clear();
});
