/** Rows for the tests: a small cluster, and instances in any number. */
import { createHash } from "node:crypto";
import {
  type ApiToken,
  type Cluster,
  type Disk,
  type DiskUuid,
  type Instance,
  type InstanceUuid,
  type Node,
  type NodeGroup,
  type NodeUuid,
  newCluster,
} from "@gannet/objects";

const CREATED = { ctime: 1_700_000_000, mtime: 1_700_000_000, serialNo: 0 };

/** A UUID that is always the same for the same name. */
export function uuidOf<U extends string>(name: string): U {
  const hex = createHash("sha256").update(name).digest("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join("-") as U;
}

const initial = newCluster({
  uuid: uuidOf("cluster"),
  name: "cluster.test",
  now: CREATED.ctime,
  group: { uuid: uuidOf("default") },
  node: { uuid: uuidOf("n1.test"), name: "n1.test", primaryIp: "192.0.2.1" },
  enabledHypervisors: ["fake"],
  enabledDiskTemplates: ["drbd", "plain"],
});
export const cluster: Cluster = initial.cluster;
export const group: NodeGroup = initial.group;

export function node(name: string, more: Partial<Node> = {}): Node {
  return { ...initial.node, uuid: uuidOf<NodeUuid>(name), name, ...more };
}

export function instance(name: string, more: Partial<Instance> = {}): Instance {
  const uuid = uuidOf<InstanceUuid>(name);
  return {
    ...CREATED,
    uuid,
    name,
    primaryNode: uuidOf<NodeUuid>("n1.test"),
    os: "noop",
    hypervisor: "fake",
    hvparams: { boot_order: "cdn" },
    beparams: { maxmem: 512, minmem: 512, vcpus: 2 },
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

function macOf(name: string): string {
  const hex = createHash("sha256").update(name).digest("hex");
  return `aa:${[0, 2, 4, 6, 8].map((at) => hex.slice(at, at + 2)).join(":")}`;
}

export function disk(name: string, nodes: readonly string[]): Disk {
  return {
    ...CREATED,
    uuid: uuidOf<DiskUuid>(name),
    name: null,
    template: nodes.length > 1 ? "drbd" : "plain",
    logicalId: ["xenvg", name],
    nodes: nodes.map((each) => uuidOf<NodeUuid>(each)),
    ivName: "disk/0",
    sizeMib: 1024,
    mode: "rw",
    spindles: null,
    params: {},
    children: [],
  };
}

/** `count` instances, a disk each, over ten nodes. */
export function manyRows(count: number) {
  const nodes = Array.from({ length: 10 }, (_, index) => node(`n${index + 1}.test`));
  const disks: Disk[] = [];
  const instances = Array.from({ length: count }, (_, index) => {
    const [primary = "", secondary = ""] = [nodes[index % 10]?.name, nodes[(index + 1) % 10]?.name];
    const own = disk(`disk of i${index}`, [primary, secondary]);
    disks.push(own);
    return instance(`i${index}.test`, { primaryNode: uuidOf(primary), disks: [own.uuid], diskTemplate: "drbd" });
  });
  return { cluster, groups: [group], nodes, instances, disks };
}

export function token(uuid: string): ApiToken {
  const rights = { instances: "write" } as const;
  return { ...CREATED, uuid, name: "ci", owner: "admin", rights, root: false, digest: "x", expires: 1, lastUsed: null };
}
