/** Roles and parameters of nodes, and what refuses a change of them. */
import { NodeUnreachable } from "@gannet/errors";
import type { Node } from "@gannet/objects";
import { parseOpcode } from "@gannet/opcodes";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { LOGICAL_UNITS } from "../../src/logical-units/registry.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;
const INSTANCE = "web1.gnt.test";

let bed: LogicalUnitBed;
let standard: ReadonlyMap<string, Node>;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
  standard = new Map(NODES.map((name) => [name, row(name)]));
  await bed.succeed("OP_INSTANCE_CREATE", {
    ...{ instance_name: INSTANCE, mode: "create", disk_template: "drbd", disks: [{ size: 1024 }], nics: [] },
    ...{ os_type: "noop", pnode: NODE1, snode: NODE2, hypervisor: "fake", start: false, ignore_ipolicy: true },
  });
});
afterAll(() => bed[Symbol.asyncDispose]());
beforeEach(() => {
  bed.nodes.calls.length = 0;
});
afterEach(async () => {
  bed.nodes.failures = [];
  bed.nodes.silent.clear();
  for (const [name, { serialNo: _, ...before }] of standard) await bed.setNode(name, before);
  await bed.setCluster({ candidatePoolSize: 10 });
});

function row(name: string): Node {
  const found = bed.view.findNode(name);
  if (found === undefined) throw new Error(`no node ${name}`);
  return found;
}
const modify = (node_name: string, change: Readonly<Record<string, unknown>>) =>
  bed.run("OP_NODE_SET_PARAMS", { node_name, ...change });
const changed = async (name: string, change: Readonly<Record<string, unknown>>) => {
  const job = await bed.succeed("OP_NODE_SET_PARAMS", { node_name: name, ...change });
  return { ...job, node: row(name) };
};
async function refused(name: string, change: Readonly<Record<string, unknown>>, code: string, words: RegExp) {
  const before = [...bed.view.nodes.values()];
  const { status, result } = await modify(name, change);
  expect(status).toBe("error");
  expect(result).toEqual(["OpPrereqError", [expect.stringMatching(words), code]]);
  expect([...bed.view.nodes.values()]).toEqual(before);
}

describe("roles", () => {
  test("of one node after another, told as Ganeti tells them", async () => {
    const offline = await changed(NODE3, { offline: true });
    expect(offline.result).toEqual([
      ["master_candidate", "False"],
      ["offline", "True"],
    ]);
    expect(offline.node).toMatchObject({ offline: true, masterCandidate: false, drained: false });
    const back = await changed(NODE3, { master_candidate: true });
    expect(back.result).toEqual([
      ["master_candidate", "True"],
      ["offline", "False"],
    ]);
    expect(back.log.join("\n")).toContain("without being readded");
    expect((await changed(NODE3, { drained: true })).node).toMatchObject({ drained: true, masterCandidate: false });
    const regular = await changed(NODE3, { master_candidate: false, offline: false, drained: false });
    expect(regular.log).toContain(" - INFO: Ignoring request to unset flag offline, already unset");
    // The pool is not full, so that the node is a candidate again.
    expect(regular.node).toMatchObject({ drained: false, masterCandidate: true });
    expect(regular.log).toContain(" - INFO: Auto-promoting node to master candidate");
  });

  test("a candidate goes only while enough are left, or others take its place", async () => {
    await bed.setCluster({ candidatePoolSize: 2 });
    await bed.setNode(NODE3, { masterCandidate: false });
    await refused(NODE2, { master_candidate: false }, "wrong_state", /1 master candidates of the 2.*auto_promote/);
    const { log, node } = await changed(NODE2, { drained: true, auto_promote: true });
    expect(node).toMatchObject({ drained: true, masterCandidate: false });
    expect(row(NODE3).masterCandidate).toBe(true);
    expect(log).toContain(` - INFO: Promoted to master candidates: ${NODE3}`);
  });

  test("of two that go at the same time only as many go as can", async () => {
    await bed.setCluster({ candidatePoolSize: 2 });
    const jobs = await Promise.all([NODE2, NODE3].map((name) => modify(name, { master_candidate: false })));
    expect(jobs.map(({ status }) => status).sort()).toEqual(["error", "success"]);
    expect([...bed.view.nodes.values()].filter(({ masterCandidate }) => masterCandidate)).toHaveLength(2);
  });

  test("who cannot be a candidate does not take its place", async () => {
    await bed.setCluster({ candidatePoolSize: 2 });
    await bed.setNode(NODE3, { masterCandidate: false, masterCapable: false });
    await changed(NODE2, { offline: true, auto_promote: true });
    expect(row(NODE3).masterCandidate).toBe(false);
  });

  test("clearing master_capable demotes, setting it promotes", async () => {
    const lost = await changed(NODE3, { master_capable: false });
    expect(lost.node).toMatchObject({ masterCapable: false, masterCandidate: false });
    expect(lost.result).toEqual([
      ["master_capable", "False"],
      ["master_candidate", "False"],
    ]);
    await refused(NODE3, { master_candidate: true }, "wrong_state", /not master capable/);
    expect((await changed(NODE3, { master_capable: true })).node).toMatchObject({ masterCandidate: true });
  });

  test.each([{ offline: true }, { drained: false }, { master_candidate: false }, { master_capable: false }])(
    "the master's stays: %j",
    (change) => refused(NODE1, change, "wrong_input", /master/),
  );

  test("more than one at once, an unknown node, and nothing at all are refused", async () => {
    await refused(NODE2, { offline: true, drained: true }, "wrong_input", /one flag/);
    await refused(NODE2, {}, "wrong_input", /at least one/);
    await refused("node9.gnt.test", { offline: true }, "unknown_entity", /not known/);
  });

  test("a node that does not answer, or is of another release, stays offline", async () => {
    await bed.setNode(NODE3, { offline: true, masterCandidate: false });
    bed.nodes.failures = [{ node: NODE3, method: "node.describe", error: new NodeUnreachable(NODE3, "no answer") }];
    await refused(NODE3, { offline: false }, "wrong_state", /does not answer: no answer/);
    bed.nodes.failures = [];
    bed.nodes.named(NODE3).version = "9.9.9";
    await refused(NODE3, { offline: false }, "wrong_state", /runs version 9\.9\.9/);
    bed.nodes.named(NODE3).version = undefined;
    expect((await changed(NODE3, { offline: false })).node.offline).toBe(false);
  });
});

describe("parameters", () => {
  test("of the node, which it inherits again when told", async () => {
    const { node, result } = await changed(NODE2, { ndparams: { spindle_count: "3", oob_program: "/usr/bin/oob" } });
    expect(node.ndparams).toEqual({ spindle_count: 3, oob_program: "/usr/bin/oob" });
    expect(result).toEqual([
      ["ndparams/spindle_count", "3"],
      ["ndparams/oob_program", "/usr/bin/oob"],
    ]);
    expect((await changed(NODE2, { ndparams: { oob_program: "default" } })).node.ndparams).toEqual({
      spindle_count: 3,
    });
  });

  test("hypervisor and disk state", async () => {
    const hv_state = { kvm: { mem_node: 512 } };
    const disk_state = { plain: { xenvg: { disk_reserved: 1024 } } };
    expect((await changed(NODE2, { hv_state, disk_state })).node).toMatchObject({
      hvState: { kvm: { mem_node: 512 } },
      diskState: { plain: { xenvg: { disk_reserved: 1024 } } },
    });
  });

  test.each([
    [{ ndparams: { exclusive_storage: true } }, "wrong_input", /the cluster's and its groups'/],
    [{ ndparams: { oob_program: "relative" } }, "wrong_input", /absolute/],
    [{ hv_state: { vmware: {} } }, "wrong_input", /vmware/],
    [{ disk_state: { file: {} } }, "wrong_input", /file/],
    [{ powered: false }, "wrong_state", /no out-of-band program/],
    [{ vm_capable: false }, "wrong_state", /hosts instances \(web1/],
  ])("%j is refused", (change, code, words) => refused(NODE2, change, code, words));

  test("unknown and mistyped node parameters are refused", async () => {
    for (const ndparams of [{ nosuch: 1 }, { spindle_count: "many" }]) {
      const { result } = await modify(NODE2, { ndparams });
      expect(result).toEqual(["TypeEnforcementError", [expect.any(String)]]);
    }
  });

  test("power is noted of nodes that have an out-of-band program; one without power stays offline", async () => {
    await bed.setNode(NODE3, { offline: true, masterCandidate: false, ndparams: { oob_program: "/usr/bin/oob" } });
    expect(await changed(NODE3, { powered: false })).toMatchObject({
      result: [["powered", "False"]],
      node: { powered: false },
    });
    await refused(NODE3, { offline: false }, "wrong_state", /powered off/);
    expect((await changed(NODE3, { offline: false, powered: true })).node).toMatchObject({
      offline: false,
      powered: true,
    });
  });

  test("vm_capable of a node without instances", async () => {
    expect(await changed(NODE3, { vm_capable: false })).toMatchObject({
      result: [["vm_capable", "False"]],
      node: { vmCapable: false },
    });
  });
});

describe("the address for replication", () => {
  const NEW = "198.51.100.99";

  test("must be the node's own, and be reached from the master", async () => {
    await refused(NODE2, { secondary_ip: NEW }, "environment_error", /does not have the address/);
    bed.nodes.named(NODE2).addresses.add(NEW);
    bed.nodes.silent.add(NEW);
    await refused(NODE2, { secondary_ip: NEW }, "environment_error", /not reached from 198\.51\.100\.1/);
    bed.nodes.silent.clear();
    expect(await changed(NODE2, { secondary_ip: NEW })).toMatchObject({
      result: [["secondary_ip", NEW]],
      node: { secondaryIp: NEW },
    });
  });

  test.each([
    ["2001:db8::1", "wrong_input", /IPv4/],
    ["198.51.100.3", "resource_not_unique", /node3/],
    ["192.0.2.2", "wrong_input", /change the master node first/],
  ])("%s is refused", (secondary_ip, code, words) => refused(NODE2, { secondary_ip }, code, words));

  test("the master leads the way to one network only, with force", async () => {
    bed.nodes.named(NODE1).addresses.add("192.0.2.1");
    await refused(NODE1, { secondary_ip: "192.0.2.1" }, "wrong_input", /with force/);
    const { node, log } = await changed(NODE1, { secondary_ip: "192.0.2.1", force: true });
    expect(node.secondaryIp).toBe("192.0.2.1");
    expect(log.join("\n")).toContain("WARNING: The cluster gives up");
  });

  test("does not change under running instances, nor on an offline node with replicated disks", async () => {
    bed.nodes.named(NODE2).addresses.add(NEW);
    await bed.succeed("OP_INSTANCE_STARTUP", { instance_name: INSTANCE });
    await refused(NODE2, { secondary_ip: NEW }, "wrong_state", /while these run: web1/);
    await bed.succeed("OP_INSTANCE_SHUTDOWN", { instance_name: INSTANCE });
    await bed.setNode(NODE2, { offline: true, masterCandidate: false });
    await refused(NODE2, { secondary_ip: NEW }, "wrong_state", /is offline and has instances/);
  });
});

describe("locks", () => {
  const locksOf = (params: Readonly<Record<string, unknown>>) => {
    const { op, declaration } = parseOpcode({ OP_ID: "OP_NODE_SET_PARAMS", node_name: NODE2, ...params });
    const wishes = LOGICAL_UNITS.get(declaration.id)?.locks(op, bed.view) ?? [];
    return wishes.map(({ level, name, mode }) => `${mode} ${level}/${name === bed.uuidOf(NODE2) ? "node2" : name}`);
  };

  test("are the node's; all nodes' where others may be promoted; the replicated instances' for the address", () => {
    const own = ["exclusive node/node2", "exclusive node-res/node2"];
    expect(locksOf({ drained: true })).toEqual(own);
    expect(locksOf({ drained: false, auto_promote: true })).toEqual(own);
    expect(locksOf({ drained: true, auto_promote: true })).toEqual([
      "exclusive node/[lockset]",
      "exclusive node-res/[lockset]",
    ]);
    expect(locksOf({ secondary_ip: "198.51.100.9" })).toEqual([`shared instance/${INSTANCE}`, ...own]);
  });
});
