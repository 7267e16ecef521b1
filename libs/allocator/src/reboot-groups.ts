/** In which order nodes can be rebooted, several at a time, as hroller(1) plans it. */
import { ClusterState, NOWHERE, type PlanGroup } from "./cluster-state.ts";
import type { AllocatorCluster } from "./protocol.ts";
import { compareNames } from "./refusals.ts";

export interface RebootOptions {
  /** UUIDs or names of node groups; all when left out. */
  readonly groups?: readonly string[];
  /** Only nodes with all of these tags. */
  readonly nodeTags?: readonly string[];
  /** Name; it comes last, for with it the cluster loses its leader. */
  readonly master?: string;
  /**
   * `live`: guests go to their secondary for the time of the reboot, and no two nodes send theirs to the same one.
   * `offline`: all guests are shut down.
   */
  readonly guests?: "live" | "offline";
}

/** Nodes that can be rebooted at the same time: no instance loses both of its copies. */
export interface RebootGroup {
  /** Names, in their order. */
  readonly nodes: readonly string[];
  /** Instances that have nowhere to go meanwhile, by name. */
  readonly stopped: readonly string[];
}

/** Groups in the order in which they are to be rebooted, the largest first. Nodes that are offline are left out. */
export function rebootGroups(cluster: AllocatorCluster, options: RebootOptions = {}): readonly RebootGroup[] {
  const state = new ClusterState(cluster);
  const { groups, nodeTags = [], master, guests = "live" } = options;
  const isWanted = (group: PlanGroup) =>
    groups === undefined || groups.includes(group.uuid) || groups.includes(group.message.name);
  const nodes = state.groups
    .filter(isWanted)
    .flatMap((group) => [...group.nodes, ...group.unusable])
    .filter((node) => {
      const message = cluster.nodes[state.node(node).name];
      return message?.offline === false && nodeTags.every((tag) => message.tags.includes(tag));
    });
  const colours = coloured(nodes, conflictsOf(state, guests));
  const planned = [...colours.values()].map((members) => ({
    nodes: members.map((node) => state.node(node).name).sort(compareNames),
    stopped: stoppedOn(state, new Set(members), guests),
  }));
  const last = (group: RebootGroup) => Number(master !== undefined && group.nodes.includes(master));
  return planned.sort(
    (a, b) => last(a) - last(b) || b.nodes.length - a.nodes.length || compareNames(a.nodes[0] ?? "", b.nodes[0] ?? ""),
  );
}

/** Nodes that must not be away together, both ways. */
function conflictsOf(state: ClusterState, guests: "live" | "offline"): ReadonlyMap<number, ReadonlySet<number>> {
  const conflicts = new Map<number, Set<number>>();
  const part = (a: number, b: number) => {
    if (a === b) return;
    for (const [one, other] of [
      [a, b],
      [b, a],
    ] as const)
      conflicts.set(one, (conflicts.get(one) ?? new Set()).add(other));
  };
  const primariesOf = new Map<number, Set<number>>();
  for (const name of state.instanceNames()) {
    const placement = state.placed(name)?.placement;
    if (placement === undefined || placement.secondary === NOWHERE) continue;
    const { primary, secondary } = placement;
    part(primary, secondary);
    primariesOf.set(secondary, (primariesOf.get(secondary) ?? new Set()).add(primary));
  }
  if (guests === "live")
    for (const primaries of primariesOf.values())
      for (const one of primaries) for (const other of primaries) part(one, other);
  return conflicts;
}

/** Few sets without a conflict (Welsh and Powell): the nodes with most conflicts choose first. */
function coloured(
  nodes: readonly number[],
  conflicts: ReadonlyMap<number, ReadonlySet<number>>,
): ReadonlyMap<number, readonly number[]> {
  const degree = (node: number) => conflicts.get(node)?.size ?? 0;
  const colourOf = new Map<number, number>();
  const members = new Map<number, number[]>();
  for (const node of [...nodes].sort((a, b) => degree(b) - degree(a) || a - b)) {
    const taken = new Set([...(conflicts.get(node) ?? [])].map((other) => colourOf.get(other)));
    let colour = 0;
    while (taken.has(colour)) colour += 1;
    colourOf.set(node, colour);
    members.set(colour, [...(members.get(colour) ?? []), node]);
  }
  return members;
}

function stoppedOn(state: ClusterState, members: ReadonlySet<number>, guests: "live" | "offline"): readonly string[] {
  return state.instanceNames().filter((name) => {
    const there = state.placed(name);
    if (there === undefined || !members.has(there.placement.primary)) return false;
    return guests === "offline" || there.instance.mirroring === "none" || hasNoSecondary(there);
  });
}

function hasNoSecondary({ instance, placement }: NonNullable<ReturnType<ClusterState["placed"]>>): boolean {
  return instance.mirroring === "internal" && placement.secondary === NOWHERE;
}
