/** A node as it is planned with: what it has, and what of it is used. */
import type { AllocatorCluster, AllocatorNode } from "./protocol.ts";
import type { NodeTagSets } from "./site-tags.ts";
import type { SizedInstance } from "./sized-instance.ts";

/** What does not change about a node. */
export interface PlanNode extends NodeTagSets {
  readonly name: string;
  readonly group: number;
  /** Answers and is not marked offline: what it holds can be read. */
  readonly reachable: boolean;
  /** May take instances: neither offline nor drained, meant for guests, and known to be alive. */
  readonly usable: boolean;
  /** Why it may not, for people. */
  readonly unusable: "offline" | "drained" | "not vm_capable" | "without live values" | null;
  readonly totalMemoryMib: number;
  readonly totalDiskMib: number;
  readonly cpus: number;
  /** For comparing nodes of different speed. */
  readonly effectiveCpus: number;
  readonly exclusiveStorage: boolean;
  /** Of the node's own where they are not shared, else how much `spindle_use` the policy lets it bear. */
  readonly spindles: number;
  readonly maxVcpus: number;
}

/** What changes about a node. */
export interface NodeUse {
  freeMemoryMib: number;
  freeDiskMib: number;
  vcpus: number;
  spindles: number;
  primaries: number;
  copies: number;
  /** What would start here if one other node failed, by that node. */
  readonly peerMemoryMib: Map<number, number>;
  /** The most that the failure of any one node would start here. */
  reservedMib: number;
  /** How many primary instances have an exclusion tag. */
  readonly exclusion: Map<string, number>;
}

export function planNode(
  name: string,
  message: AllocatorNode,
  group: number,
  cluster: AllocatorCluster,
  tags: NodeTagSets,
): PlanNode {
  const policy = cluster.nodegroups[message.group]?.ipolicy ?? cluster.ipolicy;
  const cpus = message.total_cpus ?? 0;
  const exclusiveStorage = message.ndparams.exclusive_storage === true;
  const unusable = whyUnusable(message);
  return {
    ...tags,
    name,
    group,
    reachable: !message.offline && (!message.vm_capable || isMeasured(message)),
    usable: unusable === null,
    unusable,
    totalMemoryMib: message.total_memory ?? 0,
    totalDiskMib: message.total_disk ?? 0,
    cpus,
    effectiveCpus: cpus * numberOr(message.ndparams.cpu_speed, 1),
    exclusiveStorage,
    spindles: exclusiveStorage
      ? (message.total_spindles ?? 0)
      : numberOr(message.ndparams.spindle_count, 1) * policy["spindle-ratio"],
    maxVcpus: cpus * policy["vcpu-ratio"],
  };
}

function whyUnusable(node: AllocatorNode): PlanNode["unusable"] {
  if (node.offline) return "offline";
  if (node.drained) return "drained";
  if (!node.vm_capable) return "not vm_capable";
  return isMeasured(node) ? null : "without live values";
}

/** Nodes that take no guests are not measured. */
function isMeasured(node: AllocatorNode): boolean {
  return node.total_memory !== undefined && node.free_memory !== undefined;
}

/** Before its instances are counted. */
export function startingUse(node: AllocatorNode): NodeUse {
  return {
    freeMemoryMib: node.free_memory ?? 0,
    freeDiskMib: node.free_disk ?? 0,
    vcpus: 0,
    spindles: node.ndparams.exclusive_storage === true ? (node.total_spindles ?? 0) - (node.free_spindles ?? 0) : 0,
    primaries: 0,
    copies: 0,
    peerMemoryMib: new Map(),
    reservedMib: 0,
    exclusion: new Map(),
  };
}

/** The spindles an instance takes of a node: those of its disks, or how heavily it uses shared ones. */
export function spindlesOn(node: PlanNode, instance: SizedInstance): number {
  return node.exclusiveStorage ? instance.diskSpindles : instance.spindleUse;
}

function numberOr(value: unknown, otherwise: number): number {
  return typeof value === "number" ? value : otherwise;
}
