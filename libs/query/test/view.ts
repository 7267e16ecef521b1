/** Configurations and live values for tests, made of plain rows. */
import type {
  Cluster,
  ConfigView,
  Disk,
  GroupUuid,
  Instance,
  InstanceUuid,
  Network,
  Nic,
  Node,
  NodeGroup,
  NodeUuid,
} from "@gannet/objects";
import { newCluster, newGroup, newNode } from "@gannet/objects";
import type { ClusterFacts, LiveInstance, LiveNode, LiveValues, QuerySource } from "@gannet/query";

export interface Rows {
  readonly cluster: Cluster;
  readonly nodes?: readonly Node[];
  readonly groups?: readonly NodeGroup[];
  readonly networks?: readonly Network[];
  readonly instances?: readonly Instance[];
  readonly disks?: readonly Disk[];
}

export function viewOf(rows: Rows): ConfigView {
  const { cluster, nodes = [], groups = [], networks = [], instances = [], disks = [] } = rows;
  const sorted = [...instances].sort((a, b) => (a.name < b.name ? -1 : 1));
  const find = <T extends { name: string; uuid: string }>(list: readonly T[], wanted: string) =>
    list.find(({ name, uuid }) => name === wanted || uuid === wanted || name.startsWith(`${wanted}.`));
  const disksOf = (instance: Instance) =>
    instance.disks.flatMap((uuid) => disks.find((disk) => disk.uuid === uuid) ?? []);
  const secondaryNodes = (instance: Instance) =>
    [...new Set(disksOf(instance).flatMap((disk) => disk.nodes))].filter((uuid) => uuid !== instance.primaryNode);
  return {
    serial: 1,
    cluster,
    nodes: new Map(nodes.map((node) => [node.uuid, node])),
    groups: new Map(groups.map((group) => [group.uuid, group])),
    networks: new Map(networks.map((network) => [network.uuid, network])),
    instances: new Map(instances.map((instance) => [instance.uuid, instance])),
    disks: new Map(disks.map((disk) => [disk.uuid, disk])),
    filters: new Map(),
    tokens: new Map(),
    findNode: (name) => find(nodes, name),
    findGroup: (name) => find(groups, name),
    findInstance: (name) => find(instances, name),
    findNetwork: (name) => find(networks, name),
    disksOf,
    primaryInstances: (uuid) => sorted.filter(({ primaryNode }) => primaryNode === uuid),
    secondaryInstances: (uuid) => sorted.filter((instance) => secondaryNodes(instance).includes(uuid)),
    nodesOf: (uuid) => nodes.filter(({ group }) => group === uuid).sort((a, b) => (a.name < b.name ? -1 : 1)),
    secondaryNodes,
  };
}

/** `00000000-0000-4000-8000-00000000000n` */
export function uuid<T extends string>(number: number): T {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}` as T;
}

export const GROUP = uuid<GroupUuid>(1);
export const NODES = [2, 3, 4].map((number) => uuid<NodeUuid>(number)) as [NodeUuid, NodeUuid, NodeUuid];

/** A cluster of one node. */
export function testCluster(options: Partial<Parameters<typeof newCluster>[0]> = {}): Cluster {
  return newCluster({
    uuid: uuid(0),
    name: "cluster.test",
    now: 1000,
    group: { uuid: GROUP },
    node: { uuid: NODES[0], name: "node1.test", primaryIp: "192.0.2.1" },
    enabledHypervisors: ["kvm", "fake"],
    enabledDiskTemplates: ["file", "diskless", "drbd"],
    ...options,
  }).cluster;
}

export function testNode(number: number, own: Partial<Node> = {}): Node {
  const address = `192.0.2.${number}`;
  const node = { uuid: uuid<NodeUuid>(number + 1), name: `node${number}.test`, primaryIp: address };
  return { ...newNode(node, GROUP, 1000, { masterCandidate: true }), ...own };
}

export function testGroup(own: Partial<NodeGroup> = {}): NodeGroup {
  return { ...newGroup(GROUP, "default", 1000), ...own };
}

export function testNic(own: Partial<Nic> = {}): Nic {
  return { uuid: uuid(900), name: null, mac: "aa:00:00:00:00:01", ip: null, network: null, nicparams: {}, ...own };
}

export function testInstance(name: string, own: Partial<Instance> = {}): Instance {
  return {
    ctime: 1000,
    mtime: 1001,
    serialNo: 1,
    uuid: uuid<InstanceUuid>(100),
    name,
    primaryNode: NODES[0],
    os: "noop",
    hypervisor: "fake",
    hvparams: {},
    beparams: {},
    osparams: {},
    osparamsPrivate: {},
    adminState: "up",
    adminStateSource: "admin",
    nics: [],
    disks: [],
    diskTemplate: "diskless",
    disksActive: true,
    networkPort: null,
    forthcoming: false,
    tags: [],
    ...own,
  };
}

export const REPORT: LiveNode = {
  bootId: "boot-1",
  memoryTotalMib: 24_105,
  memoryFreeMib: 22_451,
  memoryNodeMib: 912,
  cpuTotal: 2,
  cpuSockets: 1,
  cpuNumaNodes: 1,
  cpuNode: 2,
  storage: [{ type: "file", name: "/srv/f", totalMib: 258_019, freeMib: 75_697 }],
  os: [],
};

export function liveOf(
  nodes: Readonly<Record<string, Partial<LiveNode>>>,
  instances: Readonly<Record<string, LiveInstance>> = {},
): LiveValues {
  return {
    node: (uuid) => (nodes[uuid] === undefined ? undefined : { ...REPORT, ...nodes[uuid] }),
    instance: ({ name }) => instances[name],
    console: ({ name }) => ({ instance: name, kind: "msg", message: "No console" }),
  };
}

export function running(node: NodeUuid, own: Partial<LiveInstance> = {}): LiveInstance {
  return { node, status: "running", memoryMib: 128, vcpus: 1, ...own };
}

export const FACTS: ClusterFacts = {
  softwareVersion: "3.0.2",
  protocolVersion: 3_000_000,
  configVersion: 3_000_000,
  osApiVersion: 20,
  exportVersion: 0,
  vcsVersion: "(ganeti) version 3.0.2-3",
  architecture: ["64bits", "x86_64"],
  queueDrained: false,
  watcherPausedUntil: null,
};

export function sourceOf(view: ConfigView, live: LiveValues, more: Partial<QuerySource> = {}): QuerySource {
  return { view, live, facts: FACTS, jobs: [], locks: [], ...more };
}
