/** Operations on nodes, groups and networks, each step failing once; what only submits jobs changes nothing itself. */
import type { NodeUuid } from "@gannet/objects";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type LogicalUnitBed, startLogicalUnitBed } from "../logical-units/logical-unit-bed.ts";
import { uuidOf } from "../rapi/cluster-fixture.ts";
import { type ClusterImage, imageOf, restore } from "./cluster-image.ts";
import { failEachStep, type Scenario } from "./failing-steps.ts";
import { NODE2, NODE3, running, stopped } from "./scenarios.ts";

const NEW = "node4.gnt.test";
const NEW_ADDRESS = "198.51.100.4";
const UNIT = { name: "/dev/sdb1", type: "lvm-pv", sizeMib: 100, usedMib: 0, freeMib: 100, allocatable: true };

let bed: LogicalUnitBed;
let fresh: ClusterImage;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
  bed.nodes.syncLooks = 0;
  bed.nodes.add(uuidOf<NodeUuid>(NEW), NEW, NEW_ADDRESS);
  bed.nodes.named(NEW).addresses.add(NEW_ADDRESS);
  bed.nodes.named(NODE2).oobOutputs.set(NODE2, "");
  bed.nodes.named(NODE2).units.push(UNIT);
  fresh = imageOf(bed);
});
afterAll(() => bed[Symbol.asyncDispose]());
afterEach(() => restore(bed, fresh));

const setNode = (change: object): Scenario["run"] => ["OP_NODE_SET_PARAMS", { node_name: NODE2, ...change }];
const addNode = (more: object = {}): Scenario["run"] => [
  "OP_NODE_ADD",
  { node_name: NEW, primary_ip: "192.0.2.4", secondary_ip: NEW_ADDRESS, ...more },
];

const SCENARIOS: readonly Scenario[] = [
  { name: "node add", run: addNode() },
  {
    name: "node readd",
    given: [addNode(), ["OP_NODE_SET_PARAMS", { node_name: NEW, offline: true, auto_promote: true }]],
    run: addNode({ readd: true, primary_ip: null }),
  },
  { name: "node remove", given: [addNode()], run: ["OP_NODE_REMOVE", { node_name: NEW }] },
  { name: "node drained", given: running("drbd"), run: setNode({ drained: true, auto_promote: true }) },
  { name: "node offline", run: setNode({ offline: true, auto_promote: true }) },
  {
    name: "node back from offline",
    given: [setNode({ offline: true, auto_promote: true })],
    run: setNode({ offline: false }),
  },
  {
    name: "node quiesced",
    given: [...running("drbd"), setNode({ offline: true, auto_promote: true })],
    prepare: ({ nodes }) => {
      nodes.named(NODE2).guests.add("stray.gnt.test");
    },
    run: ["OP_NODE_QUIESCE", { node_name: NODE2 }],
    documented: [
      {
        at: /stop|describeDrbd| shutdown /,
        outcome: "to be repeated",
        because: "what has been stopped on a node that is to have nothing is not started again",
      },
    ],
  },
  { name: "powercycle", run: ["OP_NODE_POWERCYCLE", { node_name: NODE2 }] },
  {
    name: "storage modify",
    run: [
      "OP_NODE_MODIFY_STORAGE",
      { node_name: NODE2, storage_type: "lvm-pv", name: UNIT.name, changes: { allocatable: false } },
    ],
  },
  {
    name: "storage repair",
    given: running("drbd"),
    run: ["OP_REPAIR_NODE_STORAGE", { node_name: NODE2, storage_type: "lvm-vg", name: "xenvg" }],
  },
  {
    name: "group assign nodes",
    given: [["OP_GROUP_ADD", { group_name: "other" }]],
    run: ["OP_GROUP_ASSIGN_NODES", { group_name: "other", nodes: [NODE3] }],
  },
  {
    name: "network connect",
    given: [["OP_NETWORK_ADD", { network_name: "lan", network: "203.0.113.0/28" }], ...stopped("plain")],
    run: [
      "OP_NETWORK_CONNECT",
      { network_name: "lan", group_name: "default", network_mode: "bridged", network_link: "br0", network_vlan: "" },
    ],
  },
];

test.each(SCENARIOS)("$name", async (scenario) => {
  expect(await failEachStep(bed, scenario)).toEqual([]);
});
