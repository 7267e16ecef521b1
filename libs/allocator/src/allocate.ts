/** Nodes for instances that are not there yet: `allocate` and `multi-allocate`. */
import { type AllocPolicy, policyViolations } from "@gannet/objects";
import { type ClusterState, NOWHERE, type Placement, type PlanGroup } from "./cluster-state.ts";
import { type PlacementSearch, type ScoredPlacement, searchPlacement } from "./placement-search.ts";
import type { AllocatorOutput, AllocatorResults, NewInstanceRequest } from "./protocol.ts";
import { RefusalTally, type SoftErrors } from "./refusals.ts";
import type { SizedInstance } from "./sized-instance.ts";

/** Groups are tried in this order; the unallocable are never. */
const POLICY_ORDER: Readonly<Record<Exclude<AllocPolicy, "unallocable">, number>> = { preferred: 0, last_resort: 1 };

/** Where an instance should go, or why it can go nowhere. */
export type Allocation =
  | {
      readonly placement: Placement;
      readonly group: PlanGroup;
      readonly score: number;
      readonly search: PlacementSearch;
    }
  | { readonly placement: undefined; readonly reason: string };

export interface AllocationLimits {
  /** Only groups for which there is no reason against. */
  readonly groupRefusal: (group: PlanGroup) => string | undefined;
  readonly nodeAllowed: (node: number) => boolean;
  readonly needsSecondary: boolean;
  readonly softErrors: SoftErrors;
  /** Where the instance is now, if it is somewhere. */
  readonly from?: Placement;
}

/** Answer an `allocate` request. The state then holds the instance. */
export function allocate(state: ClusterState, request: NewInstanceRequest, softErrors: SoftErrors): AllocatorOutput {
  const allocation = allocateNew(state, request, softErrors);
  if (allocation.placement === undefined) return failed(allocation.reason);
  return { success: true, info: successInfo(state, allocation), result: nodeNames(state, allocation.placement) };
}

/** Answer a `multi-allocate` request: each instance finds those before it in their places. */
export function multiAllocate(
  state: ClusterState,
  requests: readonly NewInstanceRequest[],
  softErrors: SoftErrors,
): AllocatorOutput {
  const placed: AllocatorResults["multi-allocate"]["placed"][number][] = [];
  const reasons: [name: string, reason: string][] = [];
  for (const request of requests) {
    const allocation = allocateNew(state, request, softErrors);
    if (allocation.placement === undefined) reasons.push([request.name, allocation.reason]);
    else placed.push([request.name, nodeNames(state, allocation.placement)]);
  }
  const failures = reasons.map(([name, reason]) => `; ${name}: ${reason}`).join("");
  return {
    success: true,
    info: `Request successful: placed ${placed.length} of ${requests.length} instances${failures}`,
    result: [placed, reasons.map(([name]) => name)],
  };
}

/** Find a place for a request's instance and put it there. */
function allocateNew(state: ClusterState, request: NewInstanceRequest, softErrors: SoftErrors): Allocation {
  if (state.placed(request.name) !== undefined)
    return { placement: undefined, reason: `there is an instance ${request.name} already` };
  const instance = state.newInstance(request.name, request);
  const only = request["restrict-to-nodes"];
  const allocation = findAllocation(state, instance, {
    groupRefusal: (group) => namedRefusal(group, request.group_name),
    nodeAllowed: (node) => only === undefined || only.includes(state.node(node).name),
    needsSecondary: request.required_nodes === 2,
    softErrors,
  });
  if (allocation.placement !== undefined) state.place(instance, allocation.placement);
  return allocation;
}

function namedRefusal(group: PlanGroup, name: string | null): string | undefined {
  return name === null || group.message.name === name || group.uuid === name ? undefined : `not the group ${name}`;
}

/**
 * The best group and nodes for an instance: of the groups that take it, the preferred before those of last resort,
 * and among these the one whose score is then the lowest.
 * @param instance - nowhere in the state, which stays as it is
 */
export function findAllocation(state: ClusterState, instance: SizedInstance, limits: AllocationLimits): Allocation {
  const refused: string[] = [];
  let best: Exclude<Allocation, { placement: undefined }> | undefined;
  for (const group of state.groups) {
    const refusal = limits.groupRefusal(group) ?? groupRefusal(group, instance);
    const search = refusal === undefined ? searchGroup(state, group, instance, limits) : undefined;
    if (search?.best === undefined) {
      refused.push(`Group ${group.message.name}: ${refusal ?? nodeRefusals(state, group, search, limits)}`);
      continue;
    }
    const { score, placement } = search.best;
    if (best === undefined || before(group, score, best)) best = { placement, group, score, search };
  }
  if (best !== undefined) return best;
  return { placement: undefined, reason: refused.length === 0 ? "the cluster has no node group" : refused.join("; ") };
}

function before(group: PlanGroup, score: number, than: { readonly group: PlanGroup; readonly score: number }): boolean {
  const [rank, otherRank] = [policyRank(group), policyRank(than.group)];
  return rank === otherRank ? score < than.score : rank < otherRank;
}

function policyRank({ message }: PlanGroup): number {
  return message.alloc_policy === "unallocable" ? Number.POSITIVE_INFINITY : POLICY_ORDER[message.alloc_policy];
}

/** Why no node of a group can take an instance: its policies and networks. */
function groupRefusal({ message }: PlanGroup, instance: SizedInstance): string | undefined {
  if (message.alloc_policy === "unallocable") return "unallocable";
  const missing = instance.networks.filter((network) => !message.networks.includes(network));
  if (missing.length > 0) return `not connected to network ${missing.join(", ")}`;
  const violations = policyViolations(message.ipolicy, {
    memoryMib: instance.maxMemoryMib,
    vcpus: instance.vcpus,
    diskSizesMib: instance.diskSizesMib,
    nicCount: instance.nicCount,
    spindleUse: instance.spindleUse,
    diskTemplate: instance.template,
  });
  return violations.length > 0 ? `against its policy: ${violations.join(", ")}` : undefined;
}

function searchGroup(
  state: ClusterState,
  group: PlanGroup,
  instance: SizedInstance,
  { nodeAllowed, needsSecondary, softErrors, from }: AllocationLimits,
): PlacementSearch {
  const nodes = group.nodes.filter(nodeAllowed);
  const candidates = { primaries: nodes, secondaries: needsSecondary ? nodes : null, from };
  return searchPlacement(state, group, instance, candidates, softErrors);
}

/** `FailMem: 2, FailDisk: 1, offline: 1`. */
function nodeRefusals(
  state: ClusterState,
  group: PlanGroup,
  search: PlacementSearch | undefined,
  { nodeAllowed, needsSecondary }: AllocationLimits,
): string {
  const left = new RefusalTally();
  for (const node of group.unusable) left.add(state.node(node).unusable ?? "unusable");
  left.add("not among the allowed nodes", group.nodes.filter((node) => !nodeAllowed(node)).length);
  const usable = group.nodes.filter(nodeAllowed).length;
  const needed = needsSecondary ? 2 : 1;
  return [
    ...(usable < needed ? [`${usable} of its nodes may take instances, ${needed} are needed`] : []),
    search?.refusals.toString() ?? "",
    left.toString(),
  ]
    .filter((text) => text !== "")
    .join(", ");
}

function successInfo(
  state: ClusterState,
  { placement, group, score, search }: Exclude<Allocation, { placement: undefined }>,
): string {
  const chosen = `Selected group: ${group.message.name} (${group.message.alloc_policy})`;
  return `Request successful: ${chosen}, ${choiceInfo(state, search, { placement, score })}`;
}

/** How good a choice is, and among how many. */
export function choiceInfo(
  state: ClusterState,
  { found, refusals }: PlacementSearch,
  { placement, score }: ScoredPlacement,
): string {
  const nodes = nodeNames(state, placement).join("/");
  return `score: ${score.toFixed(8)}, successes ${found}, failures ${refusals.total} (${refusals}) for node(s) ${nodes}`;
}

/** The answer that says that nothing was found. */
export function failed(reason: string): AllocatorOutput {
  return { success: false, info: `Request failed: ${reason}`, result: [] };
}

/** Names of an instance's nodes, the primary first. */
export function nodeNames(state: ClusterState, { primary, secondary }: Placement): readonly string[] {
  return [primary, secondary].filter((node) => node !== NOWHERE).map((node) => state.node(node).name);
}
