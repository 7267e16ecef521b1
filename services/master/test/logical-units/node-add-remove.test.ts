/** Nodes that join the cluster, come back to it, and leave it. */
import { NodeUnreachable } from "@gannet/errors";
import { type NodeUuid, newGroup } from "@gannet/objects";
import { parseOpcode } from "@gannet/opcodes";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { LOGICAL_UNITS } from "../../src/logical-units/registry.ts";
import { uuidOf } from "../rapi/cluster-fixture.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;
const NEW = "node4.gnt.test";
const REPLICATION = "198.51.100.4";
const REQUEST = { node_name: NEW, primary_ip: "192.0.2.4", secondary_ip: REPLICATION };

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
  bed.nodes.add(uuidOf<NodeUuid>(NEW), NEW, REPLICATION);
});
afterAll(() => bed[Symbol.asyncDispose]());
beforeEach(() => {
  bed.nodes.named(NEW).addresses.add(REPLICATION);
  bed.nodes.calls.length = 0;
});
afterEach(async () => {
  bed.nodes.failures = [];
  bed.nodes.silent.clear();
  bed.nodes.named(NEW).version = undefined;
  await bed.setCluster({ candidatePoolSize: 10 });
  const added = bed.view.findNode(NEW);
  if (added !== undefined) await bed.commit(() => [{ kind: "node", remove: added }]);
});

async function refused(id: string, params: Readonly<Record<string, unknown>>, code: string, words: RegExp) {
  const before = [...bed.view.nodes.values()];
  expect((await bed.run(id, params)).result).toEqual(["OpPrereqError", [expect.stringMatching(words), code]]);
  expect([...bed.view.nodes.values()]).toEqual(before);
}
const locksOf = (opcode: Readonly<Record<string, unknown>>) => {
  const { declaration, op } = parseOpcode(opcode);
  return LOGICAL_UNITS.get(declaration.id)?.locks(op, bed.view);
};
const BIG_LOCK = [{ level: "cluster", name: "BGL", mode: "exclusive" }];

describe("OP_NODE_ADD", () => {
  test("asks the node's agent, and takes it as a candidate while there are too few", async () => {
    const more = { ndparams: { spindle_count: 2 }, hv_state: { kvm: { mem_node: 512 } } };
    const { log } = await bed.succeed("OP_NODE_ADD", { ...REQUEST, ...more });
    expect(bed.view.findNode(NEW)).toMatchObject({
      ...{ primaryIp: "192.0.2.4", secondaryIp: REPLICATION, group: bed.view.findNode(NODE1)?.group },
      ...{ masterCandidate: true, offline: false, drained: false, masterCapable: true, vmCapable: true, powered: true },
      ...{ ndparams: { spindle_count: 2 }, hvState: { kvm: { mem_node: 512 } }, serialNo: 1 },
    });
    expect(log).toContain(" - INFO: Node will be a master candidate");
    expect(log.join()).toContain(`Node ${NEW} cannot run guests of fake: its agent does not serve it`);
    expect(bed.nodes.story("node.describe", "node.checkAddresses")).toEqual([
      `${NEW} node.describe /0`,
      `${NEW} node.checkAddresses /0`,
      `${NODE1} node.checkAddresses /0`,
    ]);
    expect(locksOf({ OP_ID: "OP_NODE_ADD", ...REQUEST })).toEqual(BIG_LOCK);
  });

  test("takes it as no candidate where there are enough, or it is to be none", async () => {
    await bed.setCluster({ candidatePoolSize: 3 });
    await bed.succeed("OP_NODE_ADD", REQUEST);
    expect(bed.view.findNode(NEW)?.masterCandidate).toBe(false);
    await bed.setCluster({ candidatePoolSize: 10 });
    await bed.succeed("OP_NODE_ADD", { ...REQUEST, readd: true, master_capable: false, vm_capable: false });
    expect(bed.view.findNode(NEW)).toMatchObject({ masterCandidate: false, masterCapable: false, vmCapable: false });
  });

  test("brings a node back that was set up anew", async () => {
    await bed.succeed("OP_NODE_ADD", { ...REQUEST, ndparams: { spindle_count: 2 } });
    const { uuid } = bed.view.findNode(NEW) ?? {};
    await bed.setNode(NEW, { offline: true, masterCandidate: false, powered: false, tags: ["rack:3"] });
    const { log } = await bed.succeed("OP_NODE_ADD", { node_name: NEW, readd: true });
    expect(bed.view.findNode(NEW)).toMatchObject({
      ...{ uuid, offline: false, masterCandidate: true, powered: true, tags: ["rack:3"] },
      ...{ ndparams: { spindle_count: 2 }, secondaryIp: REPLICATION },
    });
    expect(log.join()).toContain(`Readding node ${NEW}`);
  });

  test("does not take a node that does not answer, is of another release, or is not reached", async () => {
    const error = new NodeUnreachable(NEW, "no certificate of this cluster");
    bed.nodes.failures = [{ node: NEW, method: "node.describe", error }];
    await refused("OP_NODE_ADD", REQUEST, "wrong_state", /does not answer: no certificate of this cluster/);
    bed.nodes.failures = [];
    bed.nodes.named(NEW).version = "0.9.1";
    await refused("OP_NODE_ADD", REQUEST, "wrong_state", /runs version 0\.9\.1/);
    bed.nodes.named(NEW).version = undefined;
    bed.nodes.silent.add(REPLICATION);
    await refused("OP_NODE_ADD", REQUEST, "environment_error", /not reached from 198\.51\.100\.1/);
    bed.nodes.named(NEW).addresses.clear();
    await refused("OP_NODE_ADD", REQUEST, "environment_error", /does not have the address/);
  });

  test.each([
    [{ node_name: NODE2 }, "already_exists", /in the cluster already/],
    [{ readd: true }, "unknown_entity", /cannot be readded/],
    [{ node_name: NODE1, readd: true }, "wrong_input", /is the master/],
    [{ node_name: NODE3, readd: true }, "wrong_input", /comes back with the same/],
    [{ node_name: NODE3, readd: true, group: "default" }, "wrong_input", /keeps its group/],
    [{ group: "nosuch" }, "unknown_entity", /nosuch/],
    [{ primary_ip: "198.51.100.2" }, "resource_not_unique", /node2/],
    [{ secondary_ip: "192.0.2.3" }, "resource_not_unique", /node3/],
    [{ secondary_ip: null }, "wrong_input", /needs one, too/],
    [{ secondary_ip: "2001:db8::4" }, "wrong_input", /IPv4/],
    [{ ndparams: { exclusive_storage: true } }, "wrong_input", /the cluster's/],
    [{ primary_ip: null, node_name: "node.invalid" }, "resolver_error", /primary_ip/],
  ])("refuses %j", (change, code, words) => refused("OP_NODE_ADD", { ...REQUEST, ...change }, code, words));

  test("must be told the group where there are several", async () => {
    const group = newGroup(uuidOf("second"), "second", 1);
    await bed.commit(() => [{ kind: "nodegroup", put: group }]);
    await refused("OP_NODE_ADD", REQUEST, "wrong_input", /more than one node group/);
    await bed.succeed("OP_NODE_ADD", { ...REQUEST, group: "second" });
    expect(bed.view.findNode(NEW)?.group).toBe(group.uuid);
    const added = bed.view.findGroup("second");
    await bed.succeed("OP_NODE_REMOVE", { node_name: NEW });
    if (added !== undefined) await bed.commit(() => [{ kind: "nodegroup", remove: added }]);
  });

  test("a setup over SSH is not to be had", () => {
    const { op } = parseOpcode({ OP_ID: "OP_NODE_ADD", ...REQUEST, node_setup: true });
    expect(LOGICAL_UNITS.get("OP_NODE_ADD")?.unavailable?.(op)).toContain("install the agent");
  });
});

describe("OP_NODE_REMOVE", () => {
  test("takes the node away, and makes others candidates in its place", async () => {
    await bed.setCluster({ candidatePoolSize: 3 });
    await bed.succeed("OP_NODE_ADD", REQUEST);
    await bed.setNode(NEW, { masterCandidate: true });
    await bed.setNode(NODE3, { masterCandidate: false });
    const { log } = await bed.succeed("OP_NODE_REMOVE", { node_name: NEW });
    expect(bed.view.findNode(NEW)).toBeUndefined();
    expect(bed.view.findNode(NODE3)?.masterCandidate).toBe(true);
    expect(log).toContain(` - INFO: Promoted to master candidates: ${NODE3}`);
    expect(locksOf({ OP_ID: "OP_NODE_REMOVE", node_name: NODE3 })).toEqual(BIG_LOCK);
  });

  test("is refused of the master, of an unknown node, and of one with instances", async () => {
    await refused("OP_NODE_REMOVE", { node_name: NODE1 }, "wrong_input", /is the master/);
    await refused("OP_NODE_REMOVE", { node_name: "node9.gnt.test" }, "unknown_entity", /not known/);
    await bed.succeed("OP_INSTANCE_CREATE", {
      ...{ instance_name: "web1.gnt.test", mode: "create", disk_template: "drbd", disks: [{ size: 1024 }], nics: [] },
      ...{ os_type: "noop", pnode: NODE2, snode: NODE3, hypervisor: "fake", start: false, ignore_ipolicy: true },
    });
    for (const node_name of [NODE2, NODE3])
      await refused("OP_NODE_REMOVE", { node_name }, "wrong_input", /has instances \(web1\.gnt\.test\): evacuate/);
    const readd = { primary_ip: "192.0.2.3", secondary_ip: "198.51.100.3", readd: true, vm_capable: false };
    await refused("OP_NODE_ADD", { node_name: NODE3, ...readd }, "wrong_state", /hosts instances/);
  });
});
