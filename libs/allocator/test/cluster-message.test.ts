import { type AllocatorLive, type AllocatorNodeLive, allocatorCluster } from "@gannet/allocator";
import {
  type ConfigView,
  type Disk,
  type DiskUuid,
  type GroupUuid,
  type Instance,
  type InstanceUuid,
  type NetworkUuid,
  type Node,
  type NodeUuid,
  newCluster,
  newGroup,
  newNode,
} from "@gannet/objects";
import { describe, expect, it } from "vitest";

function uuid<T extends string>(number: number): T {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}` as T;
}

const STAMPS = { ctime: 1, mtime: 1, serialNo: 1 };
const GROUP = uuid<GroupUuid>(1);
const [NODE_1, NODE_2] = [uuid<NodeUuid>(11), uuid<NodeUuid>(12)];
const NETWORK = uuid<NetworkUuid>(90);

const { cluster, node: node1 } = newCluster({
  uuid: uuid(0),
  name: "cluster.gannet.test",
  now: 1,
  group: { uuid: GROUP },
  node: { uuid: NODE_1, name: "node1.gannet.test", primaryIp: "192.0.2.1" },
  enabledHypervisors: ["fake"],
  enabledDiskTemplates: ["drbd", "plain", "file"],
});
const node2 = newNode({ uuid: NODE_2, name: "node2.gannet.test", primaryIp: "192.0.2.2" }, GROUP, 1, {
  masterCandidate: false,
});

function disk(number: number, own: Partial<Disk> = {}): Disk {
  return {
    ...STAMPS,
    uuid: uuid<DiskUuid>(number),
    name: null,
    template: "drbd",
    logicalId: [],
    nodes: [NODE_1, NODE_2],
    ivName: "disk/0",
    sizeMib: 1_000,
    mode: "rw",
    spindles: null,
    params: {},
    children: [],
    ...own,
  };
}

function instance(name: string, own: Partial<Instance> = {}): Instance {
  return {
    ...STAMPS,
    uuid: uuid<InstanceUuid>(50),
    name,
    primaryNode: NODE_1,
    os: "noop",
    hypervisor: "fake",
    hvparams: {},
    beparams: { minmem: 512, maxmem: 1_024, vcpus: 2 },
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

interface Rows {
  readonly nodes?: readonly Node[];
  readonly instances?: readonly Instance[];
  readonly disks?: readonly Disk[];
}

function viewOf({ nodes = [node1, node2], instances = [], disks = [] }: Rows): ConfigView {
  const group = {
    ...newGroup(GROUP, "default", 1),
    ipolicy: { "vcpu-ratio": 9 },
    ndparams: { spindle_count: 7 },
    networks: { [NETWORK]: { mode: "bridged", link: "br-net" } },
  };
  const disksOf = ({ disks: own }: Instance) => own.flatMap((wanted) => disks.find((row) => row.uuid === wanted) ?? []);
  const secondaryNodes = (row: Instance) =>
    [...new Set(disksOf(row).flatMap((own) => own.nodes))].filter((node) => node !== row.primaryNode);
  return {
    serial: 1,
    cluster,
    nodes: new Map(nodes.map((node) => [node.uuid, node])),
    groups: new Map([[GROUP, group]]),
    networks: new Map(),
    instances: new Map(instances.map((row, index) => [uuid<InstanceUuid>(50 + index), row])),
    disks: new Map(disks.map((row) => [row.uuid, row])),
    filters: new Map(),
    tokens: new Map(),
    findNode: () => undefined,
    findGroup: () => undefined,
    findInstance: () => undefined,
    findNetwork: () => undefined,
    disksOf,
    primaryInstances: (node) => instances.filter(({ primaryNode }) => primaryNode === node),
    secondaryInstances: (node) => instances.filter((row) => secondaryNodes(row).includes(node)),
    nodesOf: () => nodes,
    secondaryNodes,
  };
}

const MEASURED: AllocatorNodeLive = {
  memoryTotalMib: 8_192,
  memoryFreeMib: 6_000,
  memoryNodeMib: 256,
  diskTotalMib: 100_000,
  diskFreeMib: 90_000,
  spindlesTotal: 0,
  spindlesFree: 0,
  cpuTotal: 8,
  cpuNode: 1,
};

function live(guests: Readonly<Record<string, number>> = {}, own: Partial<AllocatorLive> = {}): AllocatorLive {
  return { storageType: "lvm-vg", node: () => MEASURED, guestMemoryMib: ({ name }) => guests[name], ...own };
}

function nodeMessage(rows: Rows, values: AllocatorLive, name = node1.name) {
  return allocatorCluster(viewOf(rows), values).nodes[name];
}

describe("allocatorCluster", () => {
  it("gives groups their complete policy and nodes their complete parameters", () => {
    const message = allocatorCluster(viewOf({}), live());
    expect(message.nodegroups[GROUP]).toMatchObject({
      name: "default",
      alloc_policy: "preferred",
      networks: [NETWORK],
      ipolicy: { "vcpu-ratio": 9, "spindle-ratio": cluster.ipolicy["spindle-ratio"], minmax: cluster.ipolicy.minmax },
    });
    expect(message.nodes[node1.name]?.ndparams).toMatchObject({ spindle_count: 7, exclusive_storage: false });
  });

  it("takes off a node's free memory what its running guests may still take, and those that shall run", () => {
    const instances = [
      instance("full"),
      instance("ballooned"),
      instance("crashed"),
      instance("stopped", { adminState: "down" }),
      instance("parked", { adminState: "offline" }),
    ];
    expect(nodeMessage({ instances }, live({ full: 1_024, ballooned: 600 }))).toMatchObject({
      total_memory: 8_192,
      reserved_memory: 256,
      free_memory: 6_000 - (1_024 - 600) - 1_024,
      i_pri_memory: 5 * 1_024,
      i_pri_up_memory: 3 * 1_024,
      total_cpus: 8,
      reserved_cpus: 1,
    });
  });

  it("takes off disk and memory what forthcoming instances have been promised, on each of their nodes", () => {
    const disks = [disk(70), disk(71, { template: "file", nodes: [NODE_1] }), disk(72)];
    const instances = [
      instance("promised", { forthcoming: true, disks: [uuid(70)], diskTemplate: "drbd" }),
      instance("elsewhere", { forthcoming: true, disks: [uuid(71)], diskTemplate: "file", adminState: "down" }),
      instance("there", { disks: [uuid(72)], diskTemplate: "drbd", adminState: "down" }),
    ];
    const values = live({ promised: 1_024 });
    expect(nodeMessage({ instances, disks }, values)).toMatchObject({
      free_disk: 90_000 - 1_128,
      free_memory: 6_000 - 1_024,
    });
    expect(nodeMessage({ instances, disks }, values, node2.name)).toMatchObject({ free_disk: 90_000 - 1_128 });
    expect(nodeMessage({ instances, disks }, live({}, { storageType: "file" }))).toMatchObject({
      free_disk: 90_000 - 1_000,
    });
  });

  it.each([
    ["offline", { ...node1, offline: true }, live()],
    ["not for guests", { ...node1, vmCapable: false }, live()],
    ["silent", node1, live({}, { node: () => undefined })],
  ])("leaves out the live values of a node that is %s", (_, node, values) => {
    const message = nodeMessage({ nodes: [node] }, values);
    expect(message).toMatchObject({ offline: node.offline, vm_capable: node.vmCapable, group: GROUP });
    expect(Object.keys(message ?? {}).filter((key) => /memory|disk|cpus|free_spindles/.test(key))).toEqual([]);
  });

  it("describes an instance with its nodes, the primary first, and what it takes", () => {
    const nics = [
      { uuid: uuid(80), name: null, mac: "aa:00:00:00:00:01", ip: null, network: NETWORK, nicparams: {} },
      {
        uuid: uuid(81),
        name: null,
        mac: "aa:00:00:00:00:02",
        ip: "192.0.2.9",
        network: null,
        nicparams: { mode: "routed", link: "7" },
      },
    ];
    const web = instance("web", {
      primaryNode: NODE_2,
      nics,
      disks: [uuid(70), uuid(71)],
      diskTemplate: "drbd",
      tags: ["svc:web"],
      beparams: { spindle_use: 3, maxmem: 2_048 },
    });
    const disks = [disk(70), disk(71, { sizeMib: 500, mode: "ro", spindles: 2 })];
    expect(allocatorCluster(viewOf({ instances: [web], disks }), live()).instances).toEqual({
      web: {
        tags: ["svc:web"],
        admin_state: "up",
        vcpus: 1,
        memory: 2_048,
        spindle_use: 3,
        os: "noop",
        nodes: [node2.name, node1.name],
        nics: [
          { mac: "aa:00:00:00:00:01", ip: null, mode: "bridged", link: "br-net", bridge: "br-net", network: NETWORK },
          { mac: "aa:00:00:00:00:02", ip: "192.0.2.9", mode: "routed", link: "7" },
        ],
        disks: [
          { type: "drbd", size: 1_000, mode: "rw", spindles: null },
          { type: "drbd", size: 500, mode: "ro", spindles: 2 },
        ],
        disk_template: "drbd",
        disks_active: true,
        hypervisor: "fake",
        disk_space_total: 1_000 + 500 + 2 * 128,
      },
    });
  });
});
