/** The locks of operations on the cluster, its groups and networks (spec/locks.json). */
import type { LockWish } from "@gannet/locking";
import { parseOpcode } from "@gannet/opcodes";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LOGICAL_UNITS } from "../../src/logical-units/registry.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
  await bed.succeed("OP_GROUP_ADD", { group_name: "g2" });
  await bed.succeed("OP_GROUP_ASSIGN_NODES", { group_name: "g2", nodes: [NODE3] });
  await bed.succeed("OP_NETWORK_ADD", { network_name: "lan", network: "203.0.113.0/24" });
  await bed.succeed("OP_INSTANCE_CREATE", {
    ...{ instance_name: "web1", mode: "create", disk_template: "drbd", disks: [{ size: 1024 }], nics: [] },
    ...{ os_type: "noop", pnode: NODE1, snode: NODE2, hypervisor: "fake", ignore_ipolicy: true },
  });
});
afterAll(() => bed[Symbol.asyncDispose]());

/** `node/node1.gnt.test S`: names in place of UUIDs. */
function worded({ level, name, mode }: LockWish): string {
  const { nodes, groups, networks } = bed.view;
  const row = [...nodes.values(), ...groups.values(), ...networks.values()].find(({ uuid }) => uuid === name);
  return `${level}/${row?.name ?? name} ${mode === "shared" ? "S" : "X"}`;
}

const EVERYTHING = ["instance", "nodegroup", "node", "node-res", "network"].map((level) => `${level}/[lockset] S`);
const GROUP = { group_name: "default" };
const CONNECT = { ...GROUP, network_name: "lan", network_mode: "bridged", network_link: "br0" };

test.each([
  ["OP_CLUSTER_SET_PARAMS", {}, ["instance/[lockset] S", "nodegroup/[lockset] S", "node/[lockset] S"]],
  ["OP_CLUSTER_REDIST_CONF", {}, ["node/[lockset] S"]],
  ["OP_CLUSTER_RENAME", { name: "other.test" }, ["cluster/BGL X"]],
  ["OP_CLUSTER_POST_INIT", {}, ["cluster/BGL X"]],
  ["OP_CLUSTER_ACTIVATE_MASTER_IP", {}, ["cluster/BGL X"]],
  ["OP_CLUSTER_DEACTIVATE_MASTER_IP", {}, ["cluster/BGL X"]],
  ["OP_CLUSTER_DESTROY", {}, ["cluster/BGL X"]],
  ["OP_CLUSTER_RENEW_CRYPTO", {}, ["node/[lockset] X"]],
  ["OP_TEST_ALLOCATOR", { direction: "in", mode: "relocate", name: "web1" }, ["cluster/BGL X"]],
  ["OP_TEST_OS_PARAMS", {}, []],
  ["OP_QUERY", { what: "node", fields: ["name"] }, []],
  ["OP_QUERY_FIELDS", { what: "node" }, []],
  ["OP_CLUSTER_QUERY", {}, []],
  ["OP_CLUSTER_CONFIG_QUERY", { output_fields: ["name"] }, []],
  ["OP_CLUSTER_VERIFY", {}, []],
  ["OP_CLUSTER_VERIFY_CONFIG", {}, EVERYTHING],
  ["OP_CLUSTER_VERIFY_GROUP", GROUP, ["instance/web1 S", "nodegroup/default S", `node/${NODE1} S`, `node/${NODE2} S`]],
  ["OP_CLUSTER_VERIFY_DISKS", {}, ["nodegroup/[lockset] S"]],
  ["OP_CLUSTER_VERIFY_DISKS", { group_name: "g2" }, ["nodegroup/g2 S"]],
  ["OP_CLUSTER_REPAIR_DISK_SIZES", {}, ["instance/[lockset] X", "node-res/[lockset] S"]],
  ["OP_CLUSTER_REPAIR_DISK_SIZES", { instances: ["web1"] }, ["instance/web1 X", `node-res/${NODE1} S`]],
  ["OP_TAGS_SEARCH", { pattern: "x" }, []],
  ["OP_GROUP_ADD", { group_name: "new" }, []],
  ["OP_GROUP_REMOVE", { group_name: "g2" }, ["nodegroup/g2 X"]],
  ["OP_GROUP_RENAME", { group_name: "g2", new_name: "g3" }, ["nodegroup/g2 X"]],
  ["OP_GROUP_SET_PARAMS", GROUP, ["instance/web1 S", "nodegroup/default X"]],
  [
    "OP_GROUP_ASSIGN_NODES",
    { group_name: "g2", nodes: [NODE1] },
    ["nodegroup/g2 X", "nodegroup/default X", `node/${NODE1} X`],
  ],
  ["OP_GROUP_VERIFY_DISKS", GROUP, ["instance/web1 S", "nodegroup/default S", `node/${NODE1} S`, `node/${NODE2} S`]],
  ["OP_NETWORK_ADD", { network_name: "new", network: "198.18.0.0/24" }, ["node/[lockset] S"]],
  ["OP_NETWORK_ADD", { network_name: "new", network: "198.18.0.0/24", conflicts_check: false }, []],
  ["OP_NETWORK_REMOVE", { network_name: "lan" }, ["nodegroup/[lockset] S", "network/lan X"]],
  ["OP_NETWORK_RENAME", { network_name: "lan", new_name: "x" }, ["network/lan X"]],
  ["OP_NETWORK_SET_PARAMS", { network_name: "lan" }, ["network/lan X"]],
  ["OP_NETWORK_CONNECT", CONNECT, ["instance/web1 S", "nodegroup/default X", "network/lan S"]],
  ["OP_NETWORK_CONNECT", { ...CONNECT, conflicts_check: false }, ["nodegroup/default X"]],
  ["OP_NETWORK_DISCONNECT", { ...GROUP, network_name: "lan" }, ["instance/web1 S", "nodegroup/default X"]],
])("%s %j", (id, params, expected) => {
  const { op } = parseOpcode({ OP_ID: id, ...params });
  const wishes = LOGICAL_UNITS.get(id)?.locks(op, bed.view) ?? [];
  expect(wishes.map(worded).sort()).toEqual([...expected].sort());
});

test("OP_GROUP_VERIFY_DISKS that is not strict waits for nobody who works on an instance", () => {
  const { op } = parseOpcode({ OP_ID: "OP_GROUP_VERIFY_DISKS", ...GROUP, is_strict: false });
  const unit = LOGICAL_UNITS.get("OP_GROUP_VERIFY_DISKS");
  expect(unit?.locks(op, bed.view).map(worded)).toEqual(["nodegroup/default S"]);
  const candidates = unit?.candidates?.(op, bed.view);
  expect(candidates).toMatchObject({ levels: ["node"], mode: "shared", atLeast: 1 });
  expect(new Set(candidates?.names)).toEqual(new Set([NODE1, NODE2].map((name) => bed.uuidOf(name))));
});
