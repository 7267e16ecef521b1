/** Clusters for tests, of rows that say only what matters, and arbitrary ones. */
import type {
  AllocatorCluster,
  AllocatorGroup,
  AllocatorInstance,
  AllocatorNode,
  AllocatorRequest,
  NewInstanceRequest,
} from "@gannet/allocator";
import { DEFAULT_POLICY, type DiskTemplate, diskUsageMib, type InstancePolicy } from "@gannet/objects";
import fc from "fast-check";

export const GROUP_A = "00000000-0000-4000-8000-00000000000a";
export const GROUP_B = "00000000-0000-4000-8000-00000000000b";
const GIB = 1_024;

export interface NodeRow extends Partial<AllocatorNode> {
  readonly group?: string;
  /** Before what its instances take. */
  readonly memory?: number;
  readonly disk?: number;
}

export interface InstanceRow extends Partial<AllocatorInstance> {
  readonly nodes: readonly string[];
}

export interface ClusterRows {
  readonly nodes: Readonly<Record<string, NodeRow>>;
  readonly instances?: Readonly<Record<string, InstanceRow>>;
  readonly groups?: Readonly<Record<string, Partial<AllocatorGroup>>>;
  readonly tags?: readonly string[];
}

export function policy(changes: Partial<InstancePolicy> = {}): InstancePolicy {
  return { ...DEFAULT_POLICY, ...changes };
}

/** Nodes of 16 GiB and 1 TiB, less what is on them, in a group that takes everything. */
export function clusterOf({
  nodes,
  instances = {},
  groups = { [GROUP_A]: {} },
  tags = [],
}: ClusterRows): AllocatorCluster {
  const filled = Object.fromEntries(Object.entries(instances).map(([name, row]) => [name, instanceOf(row)]));
  return {
    version: 2,
    cluster_name: "cluster.gannet.test",
    cluster_tags: tags,
    enabled_hypervisors: ["fake"],
    ipolicy: policy(),
    nodegroups: Object.fromEntries(
      Object.entries(groups).map(([uuid, row]) => [
        uuid,
        {
          name: `group-${uuid.slice(-1)}`,
          alloc_policy: "preferred",
          networks: [],
          ipolicy: policy(),
          tags: [],
          ...row,
        },
      ]),
    ),
    nodes: Object.fromEntries(Object.entries(nodes).map(([name, row]) => [name, nodeOf(name, row, filled)])),
    instances: filled,
  };
}

function instanceOf(row: InstanceRow): AllocatorInstance {
  const template = row.disk_template ?? "drbd";
  const disks = row.disks ?? (template === "diskless" ? [] : [{ size: 10 * GIB, mode: "rw" }]);
  return {
    tags: [],
    admin_state: "up",
    vcpus: 1,
    memory: GIB,
    spindle_use: 1,
    os: "noop",
    nics: [{ mac: "aa:00:00:00:00:02", ip: null, mode: "bridged", link: "br0" }],
    disk_template: template,
    disks_active: true,
    hypervisor: "fake",
    disks,
    disk_space_total: disks.reduce((sum, { size }) => sum + diskUsageMib(template as DiskTemplate, size), 0),
    ...row,
  };
}

function nodeOf(name: string, row: NodeRow, instances: Readonly<Record<string, AllocatorInstance>>): AllocatorNode {
  const { memory = 16 * GIB, disk = 1_024 * GIB, ...rest } = row;
  const here = Object.values(instances).filter(({ nodes }) => nodes.includes(name));
  const up = here.filter(({ nodes, admin_state }) => nodes[0] === name && admin_state === "up");
  const local = here.filter(({ disk_template }) => ["plain", "drbd", "file"].includes(disk_template));
  const node: AllocatorNode = {
    tags: [],
    primary_ip: "192.0.2.1",
    secondary_ip: "192.0.2.1",
    offline: false,
    drained: false,
    master_candidate: true,
    group: GROUP_A,
    master_capable: true,
    vm_capable: true,
    ndparams: {},
    total_memory: memory,
    reserved_memory: 0,
    free_memory: memory - up.reduce((sum, instance) => sum + instance.memory, 0),
    total_disk: disk,
    free_disk: disk - local.reduce((sum, { disk_space_total }) => sum + disk_space_total, 0),
    total_spindles: 0,
    free_spindles: 0,
    total_cpus: 8,
    reserved_cpus: 0,
    i_pri_memory: 0,
    i_pri_up_memory: 0,
    ...rest,
  };
  return node.offline || !node.vm_capable ? withoutLiveValues(node) : node;
}

/** A node that does not answer. */
export function withoutLiveValues(node: AllocatorNode): AllocatorNode {
  const { total_memory, reserved_memory, free_memory, total_disk, free_disk, ...rest } = node;
  const { total_spindles, free_spindles, total_cpus, reserved_cpus, i_pri_memory, i_pri_up_memory, ...unmeasured } =
    rest;
  return unmeasured;
}

export function newInstance(changes: Partial<NewInstanceRequest> = {}): NewInstanceRequest {
  const template = changes.disk_template ?? "drbd";
  const disks = changes.disks ?? (template === "diskless" ? [] : [{ size: 10 * GIB, mode: "rw" }]);
  return {
    name: "new.gannet.test",
    disk_template: template,
    group_name: null,
    tags: [],
    os: "noop",
    vcpus: 1,
    memory: GIB,
    spindle_use: 1,
    disks,
    disk_space_total: disks.reduce((sum, { size }) => sum + diskUsageMib(template as DiskTemplate, size), 0),
    nics: [{ mac: "aa:00:00:00:00:01", ip: null, mode: "bridged", link: "br0" }],
    required_nodes: template === "drbd" ? 2 : 1,
    hypervisor: "fake",
    ...changes,
  };
}

export function allocateRequest(
  changes: Partial<NewInstanceRequest> = {},
): Extract<AllocatorRequest, { type: "allocate" }> {
  return { type: "allocate", ...newInstance(changes) };
}

const TAGS = ["svc:a", "svc:b", "other:a"];
const template = fc.constantFrom("drbd", "drbd", "plain", "diskless");

/** Of one or two groups and few nodes, on which some instances are tight or in each other's way. */
export const anyCluster: fc.Arbitrary<AllocatorCluster> = fc
  .record({
    nodes: fc.array(
      fc.record({
        group: fc.constantFrom(GROUP_A, GROUP_A, GROUP_B),
        memory: fc.constantFrom(4 * GIB, 8 * GIB),
        disk: fc.constantFrom(30 * GIB, 60 * GIB),
        total_cpus: fc.constantFrom(1, 4),
        state: fc.constantFrom("ok", "ok", "ok", "ok", "offline", "drained", "not vm_capable"),
      }),
      { minLength: 1, maxLength: 6 },
    ),
    instances: fc.array(
      fc.record({
        at: fc.nat(5),
        offset: fc.nat(4),
        disk_template: template,
        admin_state: fc.constantFrom("up", "up", "down", "offline"),
        memory: fc.constantFrom(512, GIB, 2 * GIB),
        vcpus: fc.integer({ min: 1, max: 2 }),
        size: fc.constantFrom(2 * GIB, 8 * GIB),
        tags: fc.subarray(TAGS, { maxLength: 1 }),
      }),
      { maxLength: 10 },
    ),
    policyA: fc.constantFrom("preferred", "last_resort", "unallocable"),
    templatesA: fc.constantFrom<DiskTemplate[]>(["drbd", "plain", "diskless"], ["drbd"]),
  })
  .map(({ nodes, instances, policyA, templatesA }) => {
    const names = nodes.map((_, index) => `node${index}`);
    const groupOf = (index: number) => nodes[index]?.group;
    const placed = instances.flatMap(({ at, offset, size, ...row }, index): [string, InstanceRow][] => {
      const primary = at % names.length;
      const peers = names.filter((_, other) => other !== primary && groupOf(other) === groupOf(primary));
      const peer = peers[offset % Math.max(1, peers.length)];
      if (row.disk_template === "drbd" && peer === undefined) return [];
      const home = [names[primary] ?? "", ...(row.disk_template === "drbd" && peer !== undefined ? [peer] : [])];
      const disks = row.disk_template === "diskless" ? [] : [{ size, mode: "rw" }];
      return [[`instance${index}`, { ...row, disks, nodes: home }]];
    });
    return clusterOf({
      tags: ["htools:iextags:svc"],
      groups: {
        [GROUP_A]: { alloc_policy: policyA, ipolicy: policy({ "disk-templates": templatesA }) },
        [GROUP_B]: { alloc_policy: "preferred" },
      },
      nodes: Object.fromEntries(
        nodes.map(({ state, ...row }, index) => [
          names[index],
          {
            ...row,
            offline: state === "offline",
            drained: state === "drained",
            vm_capable: state !== "not vm_capable",
          },
        ]),
      ),
      instances: Object.fromEntries(placed),
    });
  });

export const anyNewInstance: fc.Arbitrary<NewInstanceRequest> = fc
  .record({
    disk_template: template,
    memory: fc.constantFrom(512, GIB, 3 * GIB),
    vcpus: fc.integer({ min: 1, max: 4 }),
    size: fc.constantFrom(2 * GIB, 12 * GIB),
    tags: fc.subarray(TAGS, { maxLength: 1 }),
    group_name: fc.constantFrom(null, null, "group-a", "group-b"),
  })
  .map(({ size, ...row }) =>
    newInstance({ ...row, disks: row.disk_template === "diskless" ? [] : [{ size, mode: "rw" }] }),
  );
