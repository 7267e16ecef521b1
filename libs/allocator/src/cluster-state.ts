/**
 * A cluster in the middle of being planned: who is where, what each node has left, and the sums from which a
 * group's score is computed. Placing or taking away an instance costs what its own nodes cost, not the cluster.
 */
import { GroupSums, nodeMetrics } from "./group-score.ts";
import { type NodeUse, type PlanNode, planNode, spindlesOn, startingUse } from "./plan-node.ts";
import type { AllocatorCluster, AllocatorGroup, AllocatorNode } from "./protocol.ts";
import { compareNames } from "./refusals.ts";
import { siteTags } from "./site-tags.ts";
import { type InstanceMessage, type SizedInstance, sizedInstance } from "./sized-instance.ts";

/** No node. */
export const NOWHERE = -1;

/** Where an instance is; `NOWHERE` as the secondary of an instance that has none. */
export interface Placement {
  readonly primary: number;
  readonly secondary: number;
}

export interface PlanGroup {
  readonly uuid: string;
  readonly message: AllocatorGroup;
  /** Nodes that may take instances, in the order of their names. */
  readonly nodes: readonly number[];
  /** All others of the group. */
  readonly unusable: readonly number[];
  readonly sums: GroupSums;
}

export class ClusterState {
  /** In the order of their names. */
  readonly nodes: readonly PlanNode[];
  readonly use: readonly NodeUse[];
  /** In the order of their names. */
  readonly groups: readonly PlanGroup[];
  readonly #nodeIndex: ReadonlyMap<string, number>;
  readonly #placed = new Map<string, { readonly instance: SizedInstance; readonly placement: Placement }>();
  /** How many primary instances have an exclusion tag in a location. */
  readonly #exclusionInLocation = new Map<string, number>();
  readonly #sized: (name: string, message: InstanceMessage, adminState: string) => SizedInstance;

  constructor(cluster: AllocatorCluster) {
    const tags = siteTags(cluster.cluster_tags);
    const groupUuids = Object.keys(cluster.nodegroups).sort((a, b) =>
      compareNames(cluster.nodegroups[a]?.name ?? a, cluster.nodegroups[b]?.name ?? b),
    );
    const names = Object.keys(cluster.nodes).sort(compareNames);
    this.nodes = names.map((name) => {
      const message = cluster.nodes[name] as AllocatorNode;
      return planNode(name, message, groupUuids.indexOf(message.group), cluster, tags.ofNode(message.tags));
    });
    this.use = names.map((name) => startingUse(cluster.nodes[name] as AllocatorNode));
    this.#nodeIndex = new Map(names.map((name, index) => [name, index]));
    this.groups = groupUuids.map((uuid, group) => this.#planGroup(uuid, group, cluster));
    this.#sized = (name, message, adminState) =>
      sizedInstance(name, message, adminState, tags.ofInstance(message.tags));
    this.#placeExisting(cluster);
  }

  /** @returns undefined for a name that no node has */
  nodeIndex(name: string): number | undefined {
    return this.#nodeIndex.get(name);
  }

  node(index: number): PlanNode {
    return at(this.nodes, index);
  }

  useOf(index: number): NodeUse {
    return at(this.use, index);
  }

  /** @returns undefined when the node is in no known group */
  groupOf(node: number): PlanGroup | undefined {
    return this.groups[this.node(node).group];
  }

  /** An instance that is not there yet. */
  newInstance(name: string, message: InstanceMessage): SizedInstance {
    return this.#sized(name, message, "up");
  }

  /** @returns undefined for an instance that is not there */
  placed(name: string): { readonly instance: SizedInstance; readonly placement: Placement } | undefined {
    return this.#placed.get(name);
  }

  /** Sorted by name. */
  instanceNames(): readonly string[] {
    return [...this.#placed.keys()].sort(compareNames);
  }

  /** Put an instance that is nowhere on its nodes. Whether it fits is the caller's to know. */
  place(instance: SizedInstance, placement: Placement): void {
    this.#put(instance, placement);
    this.#measure(placement);
  }

  /** Take an instance off its nodes. @returns what {@link place} puts back */
  remove(name: string): { readonly instance: SizedInstance; readonly placement: Placement } {
    const there = this.#placed.get(name);
    if (there === undefined) throw new Error(`instance ${name} is on no node of this plan`);
    this.#placed.delete(name);
    this.#change(there.instance, there.placement, -1);
    this.#measure(there.placement);
    return there;
  }

  /** Causes of failure that are common to both nodes. */
  sharedLocations(a: number, b: number): number {
    const others = this.node(b).locations;
    return this.node(a).locations.filter((location) => others.includes(location)).length;
  }

  /** How often an instance would share an exclusion tag with others in the locations of a primary node. */
  exclusionInLocations(instance: SizedInstance, primary: number): number {
    let count = 0;
    for (const location of this.node(primary).locations)
      for (const tag of instance.exclusion) count += this.#exclusionInLocation.get(`${location} ${tag}`) ?? 0;
    return count;
  }

  /** How many of the locations an instance would like to be in its primary node is not in. */
  missedLocations(instance: SizedInstance, primary: number): number {
    const { locations } = this.node(primary);
    return instance.desired.filter((location) => !locations.includes(location)).length;
  }

  /** Sum anew what adding and taking away has left rounding errors in. */
  resum(): void {
    for (const { nodes, sums } of this.groups)
      sums.resum(nodes.map((index) => [index, nodeMetrics(this.node(index), this.useOf(index))]));
  }

  #planGroup(uuid: string, group: number, cluster: AllocatorCluster): PlanGroup {
    const members = this.nodes.flatMap((node, index) => (node.group === group ? [index] : []));
    return {
      uuid,
      message: cluster.nodegroups[uuid] as AllocatorGroup,
      nodes: members.filter((index) => this.node(index).usable),
      unusable: members.filter((index) => !this.node(index).usable),
      sums: new GroupSums(),
    };
  }

  /** What is there has been taken off disk and memory by whoever measured them, but for what is down. */
  #placeExisting(cluster: AllocatorCluster): void {
    for (const [name, message] of Object.entries(cluster.instances)) {
      const instance = this.#sized(name, message, message.admin_state);
      const [primary = NOWHERE, secondary = NOWHERE] = message.nodes.map((node) => this.#nodeIndex.get(node));
      if (primary === NOWHERE) continue;
      const onNodes = [primary, ...(instance.mirroring === "internal" && secondary !== NOWHERE ? [secondary] : [])];
      for (const node of onNodes) {
        const use = this.useOf(node);
        use.freeDiskMib += instance.diskMib;
        // A node whose disks are not shared tells how many spindles are free; all others are counted here.
        if (this.node(node).exclusiveStorage) use.spindles -= instance.diskSpindles;
      }
      if (message.admin_state === "up") this.useOf(primary).freeMemoryMib += instance.memoryMib;
      this.#put(instance, { primary, secondary: onNodes[1] ?? NOWHERE });
    }
    this.resum();
  }

  #put(instance: SizedInstance, placement: Placement): void {
    this.#placed.set(instance.name, { instance, placement });
    this.#change(instance, placement, 1);
  }

  #change(instance: SizedInstance, { primary, secondary }: Placement, sign: 1 | -1): void {
    const use = this.useOf(primary);
    use.freeMemoryMib -= sign * instance.memoryMib;
    use.vcpus += sign * instance.vcpus;
    use.primaries += sign;
    for (const tag of instance.exclusion) this.#countExclusion(primary, tag, sign);
    this.#changeCopy(instance, primary, sign);
    const sums = this.groupOf(primary)?.sums;
    if (sums !== undefined) {
      sums.missedLocations += sign * this.missedLocations(instance, primary);
      if (!this.node(primary).usable) sums.offlinePrimaries += sign;
    }
    if (secondary !== NOWHERE) {
      const peer = this.useOf(secondary);
      const memory = (peer.peerMemoryMib.get(primary) ?? 0) + sign * instance.memoryMib;
      if (memory === 0) peer.peerMemoryMib.delete(primary);
      else peer.peerMemoryMib.set(primary, memory);
      peer.reservedMib = sign === 1 ? Math.max(peer.reservedMib, memory) : Math.max(0, ...peer.peerMemoryMib.values());
      this.#changeCopy(instance, secondary, sign);
      if (sums !== undefined) sums.sharedLocations += sign * this.sharedLocations(primary, secondary);
    }
    const onOffline = !this.node(primary).usable || (secondary !== NOWHERE && !this.node(secondary).usable);
    if (sums !== undefined && onOffline) sums.offlineInstances += sign;
  }

  /** What primary and secondary have in common. */
  #changeCopy(instance: SizedInstance, node: number, sign: 1 | -1): void {
    const use = this.useOf(node);
    use.freeDiskMib -= sign * instance.diskMib;
    use.spindles += sign * spindlesOn(this.node(node), instance);
    use.copies += sign;
  }

  /** Bring the sums up to date with what has changed on these nodes. */
  #measure({ primary, secondary }: Placement): void {
    for (const node of [primary, secondary])
      if (node !== NOWHERE && this.node(node).usable)
        this.groupOf(node)?.sums.update(node, nodeMetrics(this.node(node), this.useOf(node)));
  }

  #countExclusion(primary: number, tag: string, sign: 1 | -1): void {
    const { exclusion } = this.useOf(primary);
    const sums = this.groupOf(primary)?.sums;
    const before = addTo(exclusion, tag, sign);
    if (sums !== undefined) sums.exclusionConflicts += sign * Math.min(1, before - (sign === 1 ? 0 : 1));
    for (const location of this.node(primary).locations) {
      const others = addTo(this.#exclusionInLocation, `${location} ${tag}`, sign);
      if (sums !== undefined) sums.exclusionInLocations += sign * (sign === 1 ? others : others - 1);
    }
  }
}

/** @returns what was there before */
function addTo(counts: Map<string, number>, key: string, difference: number): number {
  const before = counts.get(key) ?? 0;
  if (before + difference === 0) counts.delete(key);
  else counts.set(key, before + difference);
  return before;
}

function at<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new RangeError(`no item ${index} of ${items.length}`);
  return item;
}
