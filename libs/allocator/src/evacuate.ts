/** Instances off their nodes: `node-evacuate` within their groups, `change-group` to others. */
import { type Allocation, failed, findAllocation, nodeNames } from "./allocate.ts";
import { type ClusterState, NOWHERE, type Placement } from "./cluster-state.ts";
import { opcodesOf, wayBetween } from "./move-steps.ts";
import type { Candidates } from "./placement-search.ts";
import type { AllocatorOutput, AllocatorRequest, MovePlan } from "./protocol.ts";
import type { SoftErrors } from "./refusals.ts";
import { cannotRelocate, groupNodes, searchFrom } from "./relocate.ts";
import type { SizedInstance } from "./sized-instance.ts";

type NodeEvacuate = Extract<AllocatorRequest, { readonly type: "node-evacuate" }>;
type ChangeGroup = Extract<AllocatorRequest, { readonly type: "change-group" }>;

/** Where an instance goes, or why it stays. */
type Target = { readonly to: Placement } | { readonly reason: string };

/** Answer a `node-evacuate` request. No instance is placed on a node that another one of them leaves. */
export function nodeEvacuate(
  state: ClusterState,
  { instances, evac_mode }: NodeEvacuate,
  softErrors: SoftErrors,
): AllocatorOutput {
  const left = new Set(
    instances.flatMap((name) => {
      const there = state.placed(name);
      return there === undefined ? [] : nodesLeft(there.placement, evac_mode);
    }),
  );
  return moveAll(state, instances, softErrors, (instance, from) => {
    const candidates = evacuationCandidates(state, instance, { from, mode: evac_mode, left });
    if ("reason" in candidates) return candidates;
    const found = searchFrom(state, instance, { ...candidates, from }, softErrors);
    return found.placement === undefined ? { reason: found.reason } : { to: found.placement };
  });
}

function nodesLeft({ primary, secondary }: Placement, mode: NodeEvacuate["evac_mode"]): readonly number[] {
  const leaves = { "primary-only": [primary], "secondary-only": [secondary], all: [primary, secondary] }[mode];
  return leaves.filter((node) => node !== NOWHERE);
}

function evacuationCandidates(
  state: ClusterState,
  instance: SizedInstance,
  request: { readonly from: Placement; readonly mode: NodeEvacuate["evac_mode"]; readonly left: ReadonlySet<number> },
): Candidates | { readonly reason: string } {
  const { from, mode, left } = request;
  const targets = groupNodes(state, from.primary).filter((node) => !left.has(node));
  if (instance.mirroring === "none") return { reason: cannotRelocate(instance) };
  if (instance.mirroring === "external") {
    if (mode === "secondary-only") return { reason: `template ${instance.template} has no secondary node` };
    return { primaries: targets, secondaries: null };
  }
  if (from.secondary === NOWHERE) return { reason: "it has no secondary node" };
  switch (mode) {
    case "primary-only":
      // It changes places with its secondary, so that no disk is copied.
      if (!targets.includes(from.secondary))
        return { reason: `its secondary node ${state.node(from.secondary).name} takes no instances now` };
      return { primaries: [from.secondary], secondaries: [from.primary] };
    case "secondary-only":
      return { primaries: [from.primary], secondaries: targets };
    case "all":
      return { primaries: targets, secondaries: targets };
  }
}

/** Answer a `change-group` request. */
export function changeGroup(
  state: ClusterState,
  { instances, target_groups }: ChangeGroup,
  softErrors: SoftErrors,
): AllocatorOutput {
  const unknown = target_groups.filter((uuid) => state.groups.every((group) => group.uuid !== uuid));
  if (unknown.length > 0) return failed(`there is no node group ${unknown.join(", ")}`);
  const present = new Set(instances.map((name) => groupUuid(state, name)));
  const targets = new Set(
    state.groups
      .map(({ uuid }) => uuid)
      .filter((uuid) => !present.has(uuid) && (target_groups.length === 0 || target_groups.includes(uuid))),
  );
  if (targets.size === 0) return failed("there is no node group to which the instances could go");
  return moveAll(state, instances, softErrors, (instance, from) => {
    if (instance.mirroring === "none") return { reason: cannotRelocate(instance) };
    const found: Allocation = findAllocation(state, instance, {
      groupRefusal: ({ uuid }) => (targets.has(uuid) ? undefined : "not among the target groups"),
      nodeAllowed: () => true,
      needsSecondary: instance.mirroring === "internal",
      softErrors,
      from,
    });
    return found.placement === undefined ? { reason: found.reason } : { to: found.placement };
  });
}

function groupUuid(state: ClusterState, name: string): string | undefined {
  const there = state.placed(name);
  return there === undefined ? undefined : state.groupOf(there.placement.primary)?.uuid;
}

/** Move instances one after another, each finding those before it where they will be. */
function moveAll(
  state: ClusterState,
  names: readonly string[],
  softErrors: SoftErrors,
  targetOf: (instance: SizedInstance, from: Placement) => Target,
): AllocatorOutput {
  const moved: MovePlan["moved"][number][] = [];
  const failures: MovePlan["failed"][number][] = [];
  const jobs: MovePlan["jobs"][number][] = [];
  for (const name of new Set(names)) {
    if (state.placed(name) === undefined) {
      failures.push([name, `there is no instance ${name}`]);
      continue;
    }
    const { instance, placement: from } = state.remove(name);
    const target = targetOf(instance, from);
    const way = "to" in target ? wayBetween(state, instance, { from, to: target.to, softErrors }) : target;
    const moves = "to" in target && "steps" in way;
    const to = moves ? target.to : from;
    state.place(instance, to);
    if (moves) {
      moved.push([name, state.groupOf(to.primary)?.message.name ?? "", nodeNames(state, to)]);
      jobs.push(opcodesOf(state, name, way.steps));
    } else failures.push([name, "reason" in way ? way.reason : "there is no way to its new nodes"]);
  }
  return {
    success: true,
    info: `Request successful: ${failures.length} instances failed to move and ${moved.length} were moved successfully`,
    result: [moved, failures, jobs],
  };
}
