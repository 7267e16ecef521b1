/** Another node for an instance that exists: `relocate` and `allocate-secondary`. */
import { type DiskTemplate, diskUsageMib } from "@gannet/objects";
import { choiceInfo, failed } from "./allocate.ts";
import type { ClusterState, Placement } from "./cluster-state.ts";
import { type Candidates, searchPlacement } from "./placement-search.ts";
import type { AllocatorOutput, AllocatorRequest } from "./protocol.ts";
import type { SoftErrors } from "./refusals.ts";
import type { SizedInstance } from "./sized-instance.ts";

const SECONDARY_TEMPLATE: DiskTemplate = "drbd";

/** Answer a `relocate` request: a new secondary for DRBD, a new primary where every node sees the storage. */
export function relocate(
  state: ClusterState,
  { name, relocate_from }: Extract<AllocatorRequest, { readonly type: "relocate" }>,
  softErrors: SoftErrors,
): AllocatorOutput {
  const there = state.placed(name);
  if (there === undefined) return failed(`there is no instance ${name}`);
  const { instance, placement } = there;
  if (instance.mirroring === "none") return failed(cannotRelocate(instance));
  const leaves = new Set(relocate_from.map((node) => state.nodeIndex(node)));
  if (instance.mirroring === "internal" && leaves.has(placement.primary))
    return failed(`instance ${name} of template ${instance.template} can only be relocated from its secondary node`);
  state.remove(name);
  const targets = groupNodes(state, placement.primary).filter(
    (node) => !leaves.has(node) && node !== placement.primary && node !== placement.secondary,
  );
  const candidates =
    instance.mirroring === "internal"
      ? { primaries: [placement.primary], secondaries: targets }
      : { primaries: targets, secondaries: null };
  const found = searchFrom(state, instance, { ...candidates, from: placement }, softErrors);
  if (found.placement === undefined) return failed(`instance ${name}: ${found.reason}`);
  const { primary, secondary } = found.placement;
  const chosen = state.node(instance.mirroring === "internal" ? secondary : primary).name;
  return { success: true, info: `Request successful: ${found.info}`, result: [chosen] };
}

/** Answer an `allocate-secondary` request: where the second copy of an instance without one should be. */
export function allocateSecondary(state: ClusterState, name: string, softErrors: SoftErrors): AllocatorOutput {
  const there = state.placed(name);
  if (there === undefined) return failed(`there is no instance ${name}`);
  if (there.instance.mirroring !== "none")
    return failed(`instance ${name} of template ${there.instance.template} takes no secondary node`);
  const { instance, placement } = state.remove(name);
  const mirrored: SizedInstance = {
    ...instance,
    mirroring: "internal",
    template: SECONDARY_TEMPLATE,
    diskMib: instance.diskSizesMib.reduce((sum, sizeMib) => sum + diskUsageMib(SECONDARY_TEMPLATE, sizeMib), 0),
  };
  if (state.useOf(placement.primary).freeDiskMib < mirrored.diskMib)
    return failed(`instance ${name}: its primary node has no room for the metadata of mirrored disks`);
  const candidates = { primaries: [placement.primary], secondaries: groupNodes(state, placement.primary) };
  const found = searchFrom(state, mirrored, { ...candidates, from: placement }, softErrors);
  if (found.placement === undefined) return failed(`instance ${name}: ${found.reason}`);
  const chosen = state.node(found.placement.secondary).name;
  return { success: true, info: `Request successful: ${found.info}`, result: chosen };
}

export function cannotRelocate({ name, template }: SizedInstance): string {
  return `instance ${name} of template ${template} cannot be relocated`;
}

/** Of the group of a node, those that may take instances. */
export function groupNodes(state: ClusterState, node: number): readonly number[] {
  return state.groupOf(node)?.nodes ?? [];
}

/** The best place that there is, or why there is none. */
export type FoundPlacement =
  | { readonly placement: Placement; readonly info: string }
  | { readonly placement: undefined; readonly reason: string };

/**
 * The best of the candidates to which an instance can get within its group.
 * @param instance - nowhere in the state
 */
export function searchFrom(
  state: ClusterState,
  instance: SizedInstance,
  candidates: Candidates & { readonly from: Placement },
  softErrors: SoftErrors,
): FoundPlacement {
  const group = state.groupOf(candidates.from.primary);
  const search = group === undefined ? undefined : searchPlacement(state, group, instance, candidates, softErrors);
  if (search?.best !== undefined)
    return { placement: search.best.placement, info: choiceInfo(state, search, search.best) };
  const refusals = search?.refusals.toString() ?? "";
  const reason =
    refusals === "" ? "there is no other node in its group that may take it" : `no node can take it: ${refusals}`;
  return { placement: undefined, reason };
}
