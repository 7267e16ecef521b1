/** A small cluster for the tests of the remote API: rows of the configuration, and what its nodes report. */
import { createHash } from "node:crypto";
import type { ConfigRows } from "@gannet/config-store";
import {
  type Disk,
  type DiskUuid,
  type GroupUuid,
  type Instance,
  type InstanceUuid,
  type Node,
  type NodeUuid,
  newCluster,
} from "@gannet/objects";
import type { InstanceState, LiveStateUpdate, NodeState } from "@gannet/rpc";
import { GANNET_VERSION } from "../../src/version.ts";

const NOW = 1_700_000_000;

/** A UUID that is always the same for the same name. */
export function uuidOf<U extends string>(name: string): U {
  const hex = createHash("sha256").update(name).digest("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join("-") as U;
}

export const NODE1 = "node1.gnt.test";
export const NODE2 = "node2.gnt.test";
export const NODE10 = "node10.gnt.test";

const initial = newCluster({
  uuid: uuidOf("cluster"),
  name: "cluster.gnt.test",
  now: NOW,
  group: { uuid: uuidOf<GroupUuid>("default") },
  node: { uuid: uuidOf<NodeUuid>(NODE1), name: NODE1, primaryIp: "192.0.2.1" },
  enabledHypervisors: ["fake", "kvm"],
  enabledDiskTemplates: ["file", "diskless"],
});

export function nodeRow(name: string, more: Partial<Node> = {}): Node {
  return { ...initial.node, uuid: uuidOf<NodeUuid>(name), name, primaryIp: "192.0.2.9", ...more };
}

export function instanceRow(name: string, more: Partial<Instance> = {}): Instance {
  return {
    ctime: NOW,
    mtime: NOW,
    serialNo: 0,
    uuid: uuidOf<InstanceUuid>(name),
    name,
    primaryNode: uuidOf<NodeUuid>(NODE2),
    os: "noop",
    hypervisor: "fake",
    hvparams: {},
    beparams: { maxmem: 128, minmem: 128, vcpus: 1 },
    osparams: {},
    osparamsPrivate: {},
    adminState: "up",
    adminStateSource: "admin",
    nics: [{ uuid: uuidOf(`nic ${name}`), name: null, mac: macOf(name), ip: null, network: null, nicparams: {} }],
    disks: [],
    diskTemplate: "diskless",
    disksActive: true,
    networkPort: null,
    forthcoming: false,
    tags: [],
    ...more,
  };
}

export function diskRow(name: string, more: Partial<Disk> = {}): Disk {
  return {
    ctime: NOW,
    mtime: NOW,
    serialNo: 0,
    uuid: uuidOf<DiskUuid>(name),
    name: null,
    template: "file",
    logicalId: ["loop", `/srv/${name}`],
    nodes: [uuidOf<NodeUuid>(NODE2)],
    ivName: "disk/0",
    sizeMib: 128,
    mode: "rw",
    spindles: null,
    params: {},
    children: [],
    ...more,
  };
}

function macOf(name: string): string {
  const hex = createHash("sha256").update(name).digest("hex");
  return `aa:00:00:${hex.slice(0, 2)}:${hex.slice(2, 4)}:${hex.slice(4, 6)}`;
}

/** Three nodes, and two instances on node2: inst1 runs and has tags, inst5 is down. */
export function smallCluster(): Required<Pick<ConfigRows, "cluster" | "nodes" | "groups" | "instances">> {
  return {
    cluster: initial.cluster,
    groups: [initial.group],
    nodes: [initial.node, nodeRow(NODE2), nodeRow(NODE10, { masterCandidate: false, offline: true })],
    instances: [
      instanceRow("inst1.gnt.test", { tags: ["zone:a", "blue"] }),
      instanceRow("inst5.gnt.test", { adminState: "down" }),
    ],
  };
}

export function guest(name: string, more: Partial<InstanceState> = {}): InstanceState {
  return {
    name,
    uuid: uuidOf(name),
    hypervisor: "fake",
    status: "running",
    memoryMib: 128,
    vcpus: 1,
    uptimeSeconds: 5,
    cpuSeconds: 1,
    asOfMs: 0,
    ...more,
  };
}

export function nodeState(name: string, more: Partial<NodeState> = {}): NodeState {
  return {
    nodeName: name,
    bootId: `boot of ${name}`,
    memoryTotalMib: 24_105,
    memoryFreeMib: 20_000,
    memoryNodeMib: 900,
    cpuTotal: 2,
    cpuSockets: 1,
    cpuNumaNodes: 1,
    cpuNode: 1,
    storage: [{ type: "file", name: "/srv/ganeti/file-storage", totalMib: 258_019, freeMib: 74_387 }],
    hypervisors: [],
    agentVersion: GANNET_VERSION,
    clockMs: 0,
    bridges: [],
    extStorage: [],
    ...more,
  };
}

/** A snapshot of a node with these guests; every node has the OSes noop, debian (two variants) and a broken one. */
export function snapshot(node: string, instances: readonly InstanceState[] = []): LiveStateUpdate {
  const os = {
    path: "/srv/ganeti/os",
    valid: true,
    problem: "",
    variants: [],
    parameters: [],
    apiVersions: [20],
    trusted: true,
  };
  return {
    update: {
      $case: "snapshot",
      value: {
        node: nodeState(node),
        instances: [...instances],
        asOfMs: 0,
        os: [
          { ...os, name: "noop" },
          {
            ...os,
            name: "debian",
            variants: ["bookworm", "trixie"],
            parameters: [{ name: "mirror", help: "Where packages come from" }],
          },
          { ...os, name: "broken", valid: false, problem: "no create script" },
        ],
      },
    },
  };
}
