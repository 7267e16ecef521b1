/** Storage units and volumes of nodes. */
import { NodeUnreachable } from "@gannet/errors";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;
const FIELDS = ["node", "name", "size", "used", "free", "allocatable", "type"];

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());

beforeEach(() => {
  for (const node of NODES) {
    const { units } = bed.nodes.named(node);
    units.length = 0;
    units.push(
      { name: "xenvg", type: "lvm-vg", sizeMib: 9, usedMib: 2, freeMib: 7, allocatable: true },
      { name: "fast", type: "lvm-vg", sizeMib: 5, usedMib: 1, freeMib: 4, allocatable: true },
      { name: "/dev/sdb1", type: "lvm-pv", sizeMib: 9, usedMib: 2, freeMib: 7, allocatable: true },
    );
  }
});
afterEach(async () => {
  bed.nodes.failures = [];
  await bed.setNode(NODE3, { offline: false });
  bed.nodes.calls.length = 0;
});

describe("OP_NODE_QUERY_STORAGE", () => {
  test("lists units by node and name, of the first template's type unless told", async () => {
    await bed.setNode(NODE3, { offline: true });
    const { result } = await bed.succeed("OP_NODE_QUERY_STORAGE", { output_fields: FIELDS, storage_type: null });
    expect(result).toEqual([
      [NODE1, "fast", 5, 1, 4, true, "lvm-vg"],
      [NODE1, "xenvg", 9, 2, 7, true, "lvm-vg"],
      [NODE2, "fast", 5, 1, 4, true, "lvm-vg"],
      [NODE2, "xenvg", 9, 2, 7, true, "lvm-vg"],
    ]);
    const request = { output_fields: ["name"], storage_type: "lvm-pv", nodes: [NODE2], name: "/dev/sdb1" };
    expect((await bed.succeed("OP_NODE_QUERY_STORAGE", request)).result).toEqual([["/dev/sdb1"]]);
  });

  test("goes on without a node that does not answer", async () => {
    bed.nodes.failures = [{ node: NODE1, method: "storage.listUnits", error: new NodeUnreachable(NODE1, "no answer") }];
    const job = await bed.succeed("OP_NODE_QUERY_STORAGE", { output_fields: ["node"], storage_type: "lvm-pv" });
    expect(job.result).toEqual([[NODE2], [NODE3]]);
    expect(job.log.join("\n")).toContain(`WARNING: Cannot get the storage of node ${NODE1}`);
  });

  test.each([
    [{ output_fields: ["nosuch"] }, "wrong_input"],
    [{ output_fields: ["toString"] }, "wrong_input"],
    [{ output_fields: ["name"], storage_type: "rados" }, "wrong_input"],
    [{ output_fields: ["name"], nodes: ["node9.gnt.test"] }, "unknown_entity"],
  ])("refuses %j", async (request, code) => {
    const { result } = await bed.run("OP_NODE_QUERY_STORAGE", request);
    expect(result).toEqual(["OpPrereqError", [expect.any(String), code]]);
  });
});

describe("OP_NODE_MODIFY_STORAGE", () => {
  const request = { node_name: NODE1, storage_type: "lvm-pv", name: "/dev/sdb1", changes: { allocatable: false } };

  test("makes a physical volume allocatable or not", async () => {
    await bed.succeed("OP_NODE_MODIFY_STORAGE", request);
    expect(bed.nodes.named(NODE1).units[2]).toMatchObject({ name: "/dev/sdb1", allocatable: false });
    expect(bed.nodes.named(NODE2).units[2]).toMatchObject({ allocatable: true });
  });

  test.each([
    { storage_type: "lvm-vg" },
    { changes: { size: 1 } },
    { changes: {} },
    { changes: { allocatable: "yes" } },
    { name: null },
  ])("refuses %j", async (change) => {
    const { result } = await bed.run("OP_NODE_MODIFY_STORAGE", { ...request, ...change });
    expect(result).toEqual(["OpPrereqError", [expect.any(String), "wrong_input"]]);
    expect(bed.nodes.story("storage.setAllocatable")).toEqual([]);
  });
});

test("OP_NODE_QUERYVOLS tells whose volumes are", async () => {
  await bed.succeed("OP_INSTANCE_CREATE", {
    ...{ instance_name: "web1.gnt.test", mode: "create", disk_template: "drbd", disks: [{ size: 1024 }], nics: [] },
    ...{ os_type: "noop", pnode: NODE1, snode: NODE2, hypervisor: "fake", start: false, ignore_ipolicy: true },
  });
  bed.nodes.named(NODE2).volumes.set("xenvg/foreign", { owner: undefined, sizeMib: 5, inUse: false, contents: "" });
  const fields = ["node", "phys", "vg", "name", "size", "instance"];
  const { result } = await bed.succeed("OP_NODE_QUERYVOLS", { output_fields: fields, nodes: [NODE2] });
  expect(result).toHaveLength(3);
  expect(result).toEqual(
    expect.arrayContaining([
      [NODE2, "/dev/sdb1", "xenvg", "foreign", 5, "-"],
      [NODE2, "/dev/sdb1", "xenvg", expect.stringMatching(/\.disk0_data$/), 1024, "web1.gnt.test"],
      [NODE2, "/dev/sdb1", "xenvg", expect.stringMatching(/\.disk0_meta$/), 128, "web1.gnt.test"],
    ]),
  );
});

describe("OP_REPAIR_NODE_STORAGE", () => {
  const request = { node_name: NODE1, storage_type: "lvm-vg", name: "xenvg" };

  test("repairs a volume group", async () => {
    await bed.succeed("OP_REPAIR_NODE_STORAGE", request);
    expect(bed.nodes.story("storage.repair")).toHaveLength(1);
  });

  test("is refused while the other node may hold no good copy, unless that is ignored", async () => {
    bed.nodes.named(NODE2).ends.clear();
    const { result } = await bed.run("OP_REPAIR_NODE_STORAGE", request);
    expect(result).toEqual(["OpPrereqError", [expect.stringMatching(/faulty disk\/0 on node node2/), "wrong_state"]]);
    expect(bed.nodes.story("storage.repair")).toEqual([]);
    const job = await bed.succeed("OP_REPAIR_NODE_STORAGE", { ...request, ignore_consistency: true });
    expect(job.log.join("\n")).toContain("WARNING");
  });

  test.each([{ storage_type: "lvm-pv" }, { name: null }])("refuses %j", async (change) => {
    const { result } = await bed.run("OP_REPAIR_NODE_STORAGE", { ...request, ...change });
    expect(result).toEqual(["OpPrereqError", [expect.any(String), "wrong_input"]]);
  });
});
