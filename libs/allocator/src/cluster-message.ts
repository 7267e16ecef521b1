/** The cluster as allocators read it: the configuration, with what its nodes have left now. */
import {
  type AdminState,
  type ConfigView,
  DISK_TEMPLATE_TRAITS,
  type Disk,
  diskUsageMib,
  filledBeparams,
  filledNdparams,
  filledPolicy,
  type Instance,
  type Nic,
  type Node,
  nicparamsOf,
  type Parameters,
  type StorageType,
} from "@gannet/objects";
import type {
  AllocatorCluster,
  AllocatorDisk,
  AllocatorGroup,
  AllocatorInstance,
  AllocatorNic,
  AllocatorNode,
  AllocatorNodeResources,
} from "./protocol.ts";

/** What a node has and has left, as it was measured. Sizes are MiB. */
export interface AllocatorNodeLive {
  readonly memoryTotalMib: number;
  readonly memoryFreeMib: number;
  /** Used by the node itself. */
  readonly memoryNodeMib: number;
  /** Of the storage that {@link AllocatorLive.storageType} names. */
  readonly diskTotalMib: number;
  readonly diskFreeMib: number;
  /** Physical volumes, where the node's disks are not shared (exclusive storage); else 0. */
  readonly spindlesTotal: number;
  readonly spindlesFree: number;
  readonly cpuTotal: number;
  /** Used by the node itself. */
  readonly cpuNode: number;
}

/** The live values that an allocator's input needs. */
export interface AllocatorLive {
  /**
   * Whose space the nodes' values tell: that of the request's template, such as `lvm-vg` for drbd and plain. The
   * protocol has one figure for a node.
   */
  readonly storageType: StorageType;
  /** Undefined while the node does not answer. */
  node(node: Node): AllocatorNodeLive | undefined;
  /** What a guest takes now; undefined for one that does not run. */
  guestMemoryMib(instance: Instance): number | undefined;
}

/** Everything of an allocator's input but the request (spec/os-iallocator-hooks.json, `iallocator.input`). */
export function allocatorCluster(view: ConfigView, live: AllocatorLive): AllocatorCluster {
  const { cluster } = view;
  return {
    version: 2,
    cluster_name: cluster.name,
    cluster_tags: cluster.tags,
    enabled_hypervisors: cluster.enabledHypervisors,
    ipolicy: cluster.ipolicy,
    nodegroups: Object.fromEntries(
      [...view.groups.values()].map((group): [string, AllocatorGroup] => [
        group.uuid,
        {
          name: group.name,
          alloc_policy: group.allocPolicy,
          networks: Object.keys(group.networks),
          ipolicy: filledPolicy(cluster, group),
          tags: group.tags,
        },
      ]),
    ),
    nodes: Object.fromEntries([...view.nodes.values()].map((node) => [node.name, nodeMessage(view, live, node)])),
    instances: Object.fromEntries(
      [...view.instances.values()].map((instance) => [instance.name, instanceMessage(view, instance)]),
    ),
  };
}

function nodeMessage(view: ConfigView, live: AllocatorLive, node: Node): AllocatorNode {
  const measured = node.vmCapable && !node.offline ? live.node(node) : undefined;
  return {
    tags: node.tags,
    primary_ip: node.primaryIp,
    secondary_ip: node.secondaryIp,
    offline: node.offline,
    drained: node.drained,
    master_candidate: node.masterCandidate,
    group: node.group,
    master_capable: node.masterCapable,
    vm_capable: node.vmCapable,
    ndparams: filledNdparams(view.cluster, { ndparams: view.groups.get(node.group)?.ndparams ?? {} }, node),
    ...(measured === undefined ? {} : nodeResources(view, live, node, measured)),
  };
}

function nodeResources(
  view: ConfigView,
  live: AllocatorLive,
  node: Node,
  measured: AllocatorNodeLive,
): AllocatorNodeResources {
  const primaries = view.primaryInstances(node.uuid).map((instance) => ({
    up: instance.adminState === "up",
    maxmemMib: memoryMib(view, instance),
    usedMib: instance.forthcoming ? 0 : (live.guestMemoryMib(instance) ?? 0),
  }));
  const up = primaries.filter((guest) => guest.up);
  const promised = promisedDisks(view, live.storageType, node);
  return {
    total_memory: measured.memoryTotalMib,
    reserved_memory: measured.memoryNodeMib,
    free_memory: measured.memoryFreeMib - sum(up, ({ maxmemMib, usedMib }) => Math.max(0, maxmemMib - usedMib)),
    total_disk: measured.diskTotalMib,
    free_disk: measured.diskFreeMib - sum(promised, ({ template, sizeMib }) => diskUsageMib(template, sizeMib)),
    total_spindles: measured.spindlesTotal,
    free_spindles: measured.spindlesFree - sum(promised, ({ spindles }) => spindles ?? 0),
    total_cpus: measured.cpuTotal,
    reserved_cpus: measured.cpuNode,
    i_pri_memory: sum(primaries, ({ maxmemMib }) => maxmemMib),
    i_pri_up_memory: sum(up, ({ maxmemMib }) => maxmemMib),
  };
}

/** Disks of forthcoming instances, which nobody can measure yet. */
function promisedDisks(view: ConfigView, storageType: StorageType, node: Node): readonly Disk[] {
  return [...view.primaryInstances(node.uuid), ...view.secondaryInstances(node.uuid)]
    .filter(({ forthcoming }) => forthcoming)
    .flatMap((instance) => view.disksOf(instance))
    .filter(
      ({ template }) =>
        DISK_TEMPLATE_TRAITS[template].storageType === storageType &&
        DISK_TEMPLATE_TRAITS[template].mirroring !== "external",
    );
}

function instanceMessage(view: ConfigView, instance: Instance): AllocatorInstance {
  const beparams = filledBeparams(view.cluster, instance);
  const disks = view.disksOf(instance);
  const nodes = [instance.primaryNode, ...view.secondaryNodes(instance)];
  return {
    tags: instance.tags,
    admin_state: instance.adminState satisfies AdminState,
    vcpus: Number(beparams.vcpus),
    memory: Number(beparams.maxmem),
    spindle_use: Number(beparams.spindle_use),
    os: instance.os,
    nodes: nodes.map((uuid) => view.nodes.get(uuid)?.name ?? uuid),
    nics: instance.nics.map((nic) => nicMessage(nic, nicparamsOf(view, instance, nic))),
    disks: disks.map(diskMessage),
    disk_template: instance.diskTemplate,
    disks_active: instance.disksActive,
    hypervisor: instance.hypervisor,
    disk_space_total: sum(disks, ({ template, sizeMib }) => diskUsageMib(template, sizeMib)),
  };
}

/**
 * A NIC as the protocol carries it; a bridged one's link is also its `bridge`.
 * @param filled - its complete parameters
 */
export function nicMessage(nic: Pick<Nic, "mac" | "ip" | "network">, filled: Parameters): AllocatorNic {
  const mode = String(filled.mode);
  const link = String(filled.link ?? "");
  return {
    mac: nic.mac,
    ip: nic.ip,
    mode,
    link,
    ...(mode === "bridged" ? { bridge: link } : {}),
    ...(nic.network === null ? {} : { network: nic.network }),
  };
}

function diskMessage({ template, sizeMib, mode, spindles }: Disk): AllocatorDisk {
  return { type: template, size: sizeMib, mode, spindles };
}

function memoryMib(view: ConfigView, instance: Instance): number {
  return Number(filledBeparams(view.cluster, instance).maxmem);
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
