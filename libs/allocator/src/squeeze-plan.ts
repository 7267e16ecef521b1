/** Which nodes a cluster can do without for now, and be switched off, as hsqueeze(1) plans it. */
import { type BalanceMove, balancePlan } from "./balance.ts";
import type { AllocatorCluster, AllocatorNode } from "./protocol.ts";
import { compareNames } from "./refusals.ts";

/** A node with such a tag may be switched off while it is not needed; what follows the prefix is for people. */
const STANDBY_TAG = "htools:standby:";

export interface SqueezeOptions {
  /**
   * What each node that stays on must have left afterwards, in instances of its group's standard size; 2 when left out.
   */
  readonly target?: number;
  /** The least that each node must have left before another one is switched on; 1 when left out. */
  readonly minimal?: number;
}

export interface SqueezePlan {
  /** In the order in which they are to be emptied and switched off. */
  readonly switchOff: readonly { readonly node: string; readonly moves: readonly BalanceMove[] }[];
  /**
   * The node to be switched on, when what there is does not suffice. One at a time: what it brings is known when it is
   * there.
   */
  readonly switchOn: string | undefined;
}

/** A node with an instance whose disks only it has stays on. */
export function squeezePlan(cluster: AllocatorCluster, options: SqueezeOptions = {}): SqueezePlan {
  const { target = 2, minimal = 1 } = options;
  const standby = Object.entries(cluster.nodes)
    .filter(([, { tags }]) => tags.some((tag) => tag.startsWith(STANDBY_TAG)))
    .map(([name]) => name);
  if (!hasLeft(cluster, minimal)) {
    const off = standby.filter((name) => cluster.nodes[name]?.offline === true).sort(compareNames);
    return { switchOff: [], switchOn: off[0] };
  }
  const switchOff: { node: string; moves: readonly BalanceMove[] }[] = [];
  let left = cluster;
  for (const node of leastLoaded(cluster, standby)) {
    const emptied = withoutNode(left, node);
    if (emptied === undefined || !hasLeft(emptied.cluster, target)) continue;
    switchOff.push({ node, moves: emptied.moves });
    left = emptied.cluster;
  }
  return { switchOff, switchOn: undefined };
}

function isOn({ offline, drained, vm_capable: takesGuests, free_memory: memory }: AllocatorNode): boolean {
  return !offline && !drained && takesGuests && memory !== undefined;
}

/** Those that are on, with the fewest instances first: they are emptied soonest. */
function leastLoaded({ nodes, instances }: AllocatorCluster, names: readonly string[]): readonly string[] {
  const load = (name: string) => Object.values(instances).filter((instance) => instance.nodes.includes(name)).length;
  return names
    .filter((name) => nodes[name] !== undefined && isOn(nodes[name]))
    .sort((a, b) => load(a) - load(b) || compareNames(a, b));
}

/** Whether each node that is on has room for so many instances of its group's standard size. */
function hasLeft({ nodes, nodegroups, ipolicy }: AllocatorCluster, factor: number): boolean {
  const on = Object.values(nodes).filter(isOn);
  return (
    on.length > 0 &&
    on.every((node) => {
      const { std } = nodegroups[node.group]?.ipolicy ?? ipolicy;
      const { free_memory: memory = 0, free_disk: disk = 0 } = node;
      return memory >= factor * std["memory-size"] && disk >= factor * std["disk-count"] * std["disk-size"];
    })
  );
}

/** The cluster with the node empty and off; undefined when something of it has nowhere to go. */
function withoutNode(
  cluster: AllocatorCluster,
  name: string,
): { readonly cluster: AllocatorCluster; readonly moves: readonly BalanceMove[] } | undefined {
  const node = cluster.nodes[name];
  if (node === undefined) return undefined;
  const leaving = { ...cluster, nodes: { ...cluster.nodes, [name]: { ...node, drained: true } } };
  const [plan] = balancePlan(leaving, { groups: [node.group], mode: "evacuate" });
  const moves = plan?.moves ?? [];
  const after = moves.reduce(moved, leaving);
  if (Object.values(after.instances).some(({ nodes }) => nodes.includes(name))) return undefined;
  const off = { ...after, nodes: { ...after.nodes, [name]: { ...node, offline: true } } };
  return { cluster: off, moves };
}

/** What nodes have free is measured; after a move it is reckoned. */
function moved(cluster: AllocatorCluster, { instance: name, from, to }: BalanceMove): AllocatorCluster {
  const instance = cluster.instances[name];
  if (instance === undefined) return cluster;
  const memory = instance.admin_state === "up" ? instance.memory : 0;
  const takenFrom = (nodes: readonly string[], node: string) => ({
    memory: nodes[0] === node ? memory : 0,
    disk: nodes.includes(node) ? instance.disk_space_total : 0,
  });
  const nodes = Object.entries(cluster.nodes).map(([node, row]) => {
    if (row.free_memory === undefined || row.free_disk === undefined) return [node, row] as const;
    const [gain, loss] = [takenFrom(from, node), takenFrom(to, node)];
    return [
      node,
      {
        ...row,
        free_memory: row.free_memory + gain.memory - loss.memory,
        free_disk: row.free_disk + gain.disk - loss.disk,
      },
    ] as const;
  });
  return {
    ...cluster,
    nodes: Object.fromEntries(nodes),
    instances: { ...cluster.instances, [name]: { ...instance, nodes: to } },
  };
}
