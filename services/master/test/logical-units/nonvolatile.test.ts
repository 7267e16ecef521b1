/** UEFI variables and a TPM go where their instance goes while it is off, and end with it. */
import { HypervisorError, NodeUnreachable } from "@gannet/errors";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2] = NODES;
const NAME = "uefi.gnt.test";
const INSTANCE = { instance_name: NAME };
const TO_NODE2 = { ...INSTANCE, target_node: NODE2 };

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
  await bed.setCluster({ enabledHypervisors: ["fake", "kvm"] });
});
afterAll(() => bed[Symbol.asyncDispose]());

afterEach(async () => {
  bed.nodes.failures = [];
  for (const node of NODES) await bed.setNode(node, { offline: false });
  for (const { name } of bed.view.instances.values())
    await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: name, shutdown_timeout: 0 });
  expect(bed.nodes.leftovers()).toEqual([]);
  bed.nodes.calls.length = 0;
});

type Template = "diskless" | "plain" | "drbd";

const creation = (template: Template, hvparams: object) => ({
  ...{ ...INSTANCE, mode: "create", disk_template: template, nics: [{}], os_type: "noop", hypervisor: "kvm" },
  ...{ pnode: NODE1, start: true, hvparams },
  disks: template === "diskless" ? [] : [{ size: 1024 }],
  ...(template === "drbd" ? { snode: NODE2 } : {}),
});
const create = (template: Template, hvparams: object = { uefi: true }) =>
  bed.succeed("OP_INSTANCE_CREATE", creation(template, hvparams));

/** Where there are variables, and where they were made. */
const variables = () =>
  NODES.flatMap((node) => [...bed.nodes.named(node).nonvolatile.values()].map((state) => `${node}: ${state}`));

const asked = () => bed.nodes.calls.flatMap(({ method }) => (method.endsWith("Nonvolatile") ? [method] : []));

test("a failover takes them along", async () => {
  await create("drbd");
  await bed.succeed("OP_INSTANCE_FAILOVER", INSTANCE);
  expect(variables()).toEqual([`${NODE2}: made on ${NODE1}`]);
  expect([...bed.nodes.named(NODE2).guests]).toEqual([NAME]);
});

test.each([
  ["that does not answer", new NodeUnreachable("node1", "node1 does not answer")],
  ["that can do nothing any more", new HypervisorError("it is broken")],
])("a failover from a dead node %s goes without them, and says so", async (_, error) => {
  await create("drbd");
  await bed.setNode(NODE1, { offline: true });
  bed.nodes.named(NODE1).ends.clear();
  const broken = ["instances.stop", "instances.readNonvolatile"];
  bed.nodes.failures = broken.map((method) => ({ node: NODE1, method, error }));
  const { log } = await bed.succeed("OP_INSTANCE_FAILOVER", { ...INSTANCE, ignore_consistency: true });
  expect(log.join("\n")).toMatch(/WARNING: .*UEFI variables/);
  expect(variables()).toContain(`${NODE2}: made on ${NODE2}`);
  bed.nodes.named(NODE1).guests.clear();
});

test.each(["instances.readNonvolatile", "instances.writeNonvolatile", "instances.start"])(
  "a failover that fails in %s leaves them where they were",
  async (method) => {
    await create("drbd");
    bed.nodes.failures = [{ method, times: 1 }];
    expect((await bed.run("OP_INSTANCE_FAILOVER", INSTANCE)).status).toBe("error");
    expect(bed.instance(NAME).primaryNode).toBe(bed.uuidOf(NODE1));
    expect(variables()).toContain(`${NODE1}: made on ${NODE1}`);
  },
);

test("a move takes them along", async () => {
  await create("plain");
  await bed.succeed("OP_INSTANCE_MOVE", TO_NODE2);
  expect(variables()).toEqual([`${NODE2}: made on ${NODE1}`]);
});

test("a new primary node gets them", async () => {
  await create("diskless");
  await bed.succeed("OP_INSTANCE_SHUTDOWN", { ...INSTANCE, timeout: 0 });
  await bed.succeed("OP_INSTANCE_SET_PARAMS", { ...INSTANCE, pnode: NODE2, force: true });
  expect(variables()).toEqual([`${NODE2}: made on ${NODE1}`]);
});

test("an instance that has none is not asked for them when it moves", async () => {
  await create("plain", {});
  await bed.succeed("OP_INSTANCE_MOVE", TO_NODE2);
  expect(asked()).toEqual(["instances.removeNonvolatile"]);
});

test("one whose creation fails leaves none", async () => {
  bed.nodes.failures = [{ method: "instances.start", node: NODE1, after: true, times: 1 }];
  expect((await bed.run("OP_INSTANCE_CREATE", creation("plain", { uefi: true }))).status).toBe("error");
  expect(variables()).toEqual([]);
});

test("a removal that a node does not answer says what it leaves", async () => {
  await create("plain");
  bed.nodes.failures = [{ method: "instances.removeNonvolatile" }];
  const { log } = await bed.succeed("OP_INSTANCE_REMOVE", { ...INSTANCE, shutdown_timeout: 0 });
  expect(log.join("\n")).toMatch(/WARNING: UEFI variables and the TPM of uefi.gnt.test.*node1/);
  bed.nodes.named(NODE1).nonvolatile.clear();
});
