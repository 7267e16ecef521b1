/** Nodes with exclusive storage: what is placed, grown, moved and converted there, and what verification says of them. */
import type { BlockDevice } from "@gannet/rpc";
import { decodeParameters } from "@gannet/rpc";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";
import { told } from "./verified-cluster.ts";

const [NODE1, NODE2, NODE3] = NODES;
const WEB = "web1.gnt.test";
const GROUP_MIB = 10_000;

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed({ ndparams: { exclusive_storage: true }, drbdUsermodeHelper: "/bin/true" });
});
afterAll(() => bed[Symbol.asyncDispose]());
beforeEach(() => {
  for (const node of bed.nodes.all()) {
    node.groups.set("xenvg", GROUP_MIB);
    setFree(node.name, 4);
  }
});
afterEach(async () => {
  await exclusive(true);
  for (const { name } of bed.view.instances.values())
    await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: name, shutdown_timeout: 0 });
  for (const node of bed.nodes.all()) {
    node.volumes.clear();
    node.units.length = 0;
  }
  bed.nodes.calls.length = 0;
});

const exclusive = (value: boolean) =>
  bed.setCluster({ ndparams: { ...bed.view.cluster.ndparams, exclusive_storage: value } });

function setFree(node: string, freeMib: number): void {
  bed.nodes.named(node).spindles = [{ type: "lvm-pv", name: "xenvg", totalMib: 4, freeMib }];
}

const wanted = (more: Readonly<Record<string, unknown>> = {}) => ({
  ...{ instance_name: WEB, mode: "create", disk_template: "plain", disks: [{ size: 1024, spindles: 2 }], nics: [{}] },
  ...{ os_type: "noop", hypervisor: "fake", pnode: NODE1, start: false, ...more },
});
const create = (more: Readonly<Record<string, unknown>> = {}) => bed.run("OP_INSTANCE_CREATE", wanted(more));
const made = (more: Readonly<Record<string, unknown>> = {}) => bed.succeed("OP_INSTANCE_CREATE", wanted(more));
const refusal = (words: RegExp, code: string) => ["OpPrereqError", [expect.stringMatching(words), code]];
/** The disk's volume lies on these from now on. */
function layOut(node: string, devices: readonly string[]): void {
  for (const volume of bed.nodes.named(node).volumes.values()) volume.devices = devices;
}
function unit(name: string, freeMib: number) {
  return { name, type: "lvm-pv", sizeMib: 2048, usedMib: 2048 - freeMib, freeMib, allocatable: true };
}

describe("a new instance", () => {
  test("has its spindles told to the agent, and written down", async () => {
    await made();
    expect(bed.disks(WEB)).toMatchObject([{ spindles: 2 }]);
    const devices = bed.nodes.calls
      .filter(({ method }) => method === "create")
      .map(({ request }) => (request as { readonly device: BlockDevice }).device);
    expect(devices.map(({ params }) => decodeParameters(params))).toMatchObject([
      { exclusive_storage: true, spindles: 2 },
    ]);
  });

  test.each([
    [{ disks: [{ size: 1024 }] }, /spindles are missing/, "wrong_input"],
    [{ disk_template: "drbd", snode: NODE2 }, /drbd is not possible on node/, "wrong_input"],
    [{ disk_template: "file" }, /file is not possible on node/, "wrong_input"],
    [
      { disks: [{ size: 1024, spindles: 5 }] },
      /needed 5 empty physical volumes, available 4/,
      "insufficient_resources",
    ],
    [{ disks: [2, 3].map((spindles) => ({ size: 1024, spindles })) }, /needed 5 empty/, "insufficient_resources"],
  ])("is refused with %j", async (more, words, code) => {
    expect((await create(more)).result).toEqual(refusal(words, code));
    expect(bed.view.instances.size).toBe(0);
  });

  test("counts against the policy by its spindles, and not by how heavily it would share", async () => {
    for (const node of NODES)
      bed.nodes.named(node).spindles = [{ type: "lvm-pv", name: "xenvg", totalMib: 99, freeMib: 99 }];
    expect((await create({ disks: [{ size: 1024, spindles: 13 }] })).result).toEqual(
      refusal(/spindle-use value 13 is not in range/, "wrong_input"),
    );
    await made({ beparams: { spindle_use: 99 } });
  });

  test("cannot ask for spindles where storage is shared", async () => {
    await exclusive(false);
    expect((await create()).result).toEqual(refusal(/spindles are for nodes with exclusive storage/, "wrong_input"));
  });

  test("goes to the node that has as many spindles free", async () => {
    setFree(NODE1, 1);
    setFree(NODE2, 0);
    const { result } = await made({ pnode: null, iallocator: "hail" });
    expect(result).toEqual([NODE3]);
    setFree(NODE3, 1);
    expect((await create({ instance_name: "late", pnode: null, iallocator: "hail" })).result).toEqual(
      refusal(/FailSpindles|no place|No valid/i, "insufficient_resources"),
    );
  });
});

describe("a disk", () => {
  test("that is added needs spindles, and finds them", async () => {
    await made();
    const modify = (disk: object) =>
      bed.run("OP_INSTANCE_SET_PARAMS", { instance_name: WEB, disks: [["add", -1, disk]] });
    setFree(NODE1, 2);
    expect((await modify({ size: 1024 })).result).toEqual(refusal(/spindles are missing/, "wrong_input"));
    expect((await modify({ size: 1024, spindles: 3 })).result).toEqual(
      refusal(/needed 3 empty/, "insufficient_resources"),
    );
    expect((await modify({ size: 1024, spindles: 1 })).status).toBe("success");
    expect(bed.disks(WEB).map(({ spindles }) => spindles)).toEqual([2, 1]);
  });

  test("grows on its own physical volumes alone", async () => {
    await made();
    layOut(NODE1, ["/dev/sdb1", "/dev/sdc1"]);
    bed.nodes.named(NODE1).units.push(unit("/dev/sdb1", 100), unit("/dev/sdc1", 50), unit("/dev/sdd1", 2048));
    const grow = (amount: number) => bed.run("OP_INSTANCE_GROW_DISK", { instance_name: WEB, disk: 0, amount });
    expect((await grow(151)).result).toEqual(
      refusal(
        /its own physical volumes \(\/dev\/sdb1, \/dev\/sdc1\), which have 150 MiB free/,
        "insufficient_resources",
      ),
    );
    expect((await grow(150)).status).toBe("success");
    expect(bed.disks(WEB)).toMatchObject([{ sizeMib: 1174, spindles: 2 }]);
  });

  test("is mirrored nowhere", async () => {
    await made();
    const convert = { instance_name: WEB, disk_template: "drbd", remote_node: NODE2 };
    expect((await bed.run("OP_INSTANCE_SET_PARAMS", convert)).result).toEqual(
      refusal(/drbd is not possible on node/, "wrong_input"),
    );
    await exclusive(false);
    await bed.succeed("OP_INSTANCE_SET_PARAMS", convert);
    await exclusive(true);
    const replace = { instance_name: WEB, mode: "replace_new_secondary", remote_node: NODE3, disks: [] };
    expect((await bed.run("OP_INSTANCE_REPLACE_DISKS", replace)).result).toEqual(
      refusal(/drbd is not possible on node/, "wrong_input"),
    );
  });

  test("whose spindles nobody knows is neither moved nor made again there, until they are given", async () => {
    await exclusive(false);
    await made({ disks: [{ size: 1024 }] });
    await exclusive(true);
    const move = { instance_name: WEB, target_node: NODE2 };
    expect((await bed.run("OP_INSTANCE_MOVE", move)).result).toEqual(refusal(/Disk 0: its spindles/, "wrong_state"));
    bed.nodes.named(NODE1).volumes.clear();
    const again = (disks: readonly unknown[]) => bed.run("OP_INSTANCE_RECREATE_DISKS", { instance_name: WEB, disks });
    expect((await again([])).result).toEqual(refusal(/Disk 0: its spindles/, "wrong_state"));
    expect((await again([[0, { spindles: 5 }]])).result).toEqual(refusal(/needed 5 empty/, "insufficient_resources"));
    expect((await again([[0, { spindles: 2 }]])).status).toBe("success");
    expect(bed.disks(WEB)).toMatchObject([{ spindles: 2 }]);
  });
});

describe("repair of disk sizes and verification", () => {
  const verify = () => bed.succeed("OP_CLUSTER_VERIFY_GROUP", { group_name: "default", error_codes: true });

  test("find out how many spindles a disk has, and say that they are not known before", async () => {
    await exclusive(false);
    await made({ disks: [{ size: 1024 }] });
    await exclusive(true);
    layOut(NODE1, ["/dev/sdb1", "/dev/sdc1", "/dev/sdd1"]);
    const lines = () => verify().then(({ log }) => told(log).filter((line) => line.includes("EINSTANCEPOLICY")));
    expect(await lines()).toContainEqual(
      expect.stringMatching(/WARNING:EINSTANCEPOLICY:instance:web1.*repair-disk-sizes/),
    );
    const { result, log } = await bed.succeed("OP_CLUSTER_REPAIR_DISK_SIZES", {});
    expect(result).toEqual([[WEB, 0, "spindles", 3]]);
    expect(log.join("\n")).toMatch(/mismatched spindles, correcting: recorded none, actual 3/);
    expect(bed.disks(WEB)).toMatchObject([{ spindles: 3, sizeMib: 1024 }]);
    expect((await lines()).join()).not.toContain("repair-disk-sizes");
    expect((await bed.succeed("OP_CLUSTER_REPAIR_DISK_SIZES", {})).result).toEqual([]);
  });

  test("tell of physical volumes that several volumes lie on, and of instances that do not suit", async () => {
    await made({ instance_name: "a.gnt.test" });
    await made({ instance_name: "b.gnt.test" });
    layOut(NODE1, ["/dev/sdb1"]);
    const shared = told((await verify()).log);
    expect(shared).toContainEqual(
      expect.stringMatching(
        /ERROR:ENODELVM:node:node1.*PV \/dev\/sdb1 is shared among unrelated LVs \(xenvg\/.*, xenvg\//,
      ),
    );
    await exclusive(false);
    await made({ disk_template: "drbd", snode: NODE2, disks: [{ size: 1024 }] });
    expect(told((await verify()).log).join()).not.toContain("ENODELVM");
    await exclusive(true);
    expect(told((await verify()).log)).toContainEqual(expect.stringMatching(/EINSTANCEUNSUITABLENODE:instance:web1/));
  });
});
