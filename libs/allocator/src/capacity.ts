/** How many more instances of the policy's standard size fit, by group and disk template, as hspace(1) counts. */
import { DISK_TEMPLATE_TRAITS, type DiskTemplate, diskUsageMib, type InstanceSpec } from "@gannet/objects";
import { ClusterState, NOWHERE, type PlanGroup } from "./cluster-state.ts";
import { PlacementProbe } from "./placement-probe.ts";
import { PlacementSearch } from "./placement-search.ts";
import type { AllocatorCluster } from "./protocol.ts";
import type { InstanceMessage, SizedInstance } from "./sized-instance.ts";

export interface CapacityOptions {
  /** UUIDs or names of groups; all when left out. */
  readonly groups?: readonly string[];
  /** Those that a group's policy allows when left out. */
  readonly templates?: readonly DiskTemplate[];
  /** Stop counting here. 100,000 when left out. */
  readonly maxInstances?: number;
}

export interface GroupCapacity {
  readonly group: string;
  readonly template: DiskTemplate;
  /** The size of each instance. */
  readonly spec: InstanceSpec;
  /** How many more fit. */
  readonly count: number;
  /** What the next one lacked, as `FailMem: 6, FailDisk: 2`; empty when counting stopped at its limit. */
  readonly limitedBy: string;
  readonly scoreBefore: number;
  readonly scoreAfter: number;
}

const DEFAULT_MAX_INSTANCES = 100_000;

/** Each template is counted as if all that is free were for it. */
export function capacity(cluster: AllocatorCluster, options: CapacityOptions = {}): readonly GroupCapacity[] {
  const { groups, templates } = options;
  return new ClusterState(cluster).groups
    .map(({ uuid, message }) => ({ uuid, message }))
    .filter(({ uuid, message }) => groups === undefined || groups.includes(uuid) || groups.includes(message.name))
    .flatMap(({ uuid, message }) =>
      (templates ?? message.ipolicy["disk-templates"]).map((template) => ofGroup(cluster, uuid, template, options)),
    );
}

function ofGroup(
  cluster: AllocatorCluster,
  uuid: string,
  template: DiskTemplate,
  { maxInstances = DEFAULT_MAX_INSTANCES }: CapacityOptions,
): GroupCapacity {
  const state = new ClusterState(cluster);
  const group = state.groups.find((candidate) => candidate.uuid === uuid);
  if (group === undefined) throw new RangeError(`there is no node group ${uuid}`);
  const { name, ipolicy, alloc_policy } = group.message;
  const scoreBefore = group.sums.score();
  const refusal = ipolicy["disk-templates"].includes(template)
    ? alloc_policy === "unallocable" && "the group is unallocable"
    : `the group's policy does not allow template ${template}`;
  const filled = refusal
    ? { count: 0, limitedBy: refusal }
    : fill(state, group, standard(ipolicy.std, template), maxInstances);
  return { group: name, template, spec: ipolicy.std, ...filled, scoreBefore, scoreAfter: group.sums.score() };
}

function standard(spec: InstanceSpec, template: DiskTemplate): InstanceMessage {
  const disks = template === "diskless" ? 0 : spec["disk-count"];
  return {
    tags: [],
    vcpus: spec["cpu-count"],
    memory: spec["memory-size"],
    spindle_use: spec["spindle-use"],
    nics: [],
    disks: Array.from({ length: disks }, () => ({ size: spec["disk-size"], mode: "rw", spindles: 1 })),
    disk_template: template,
    disk_space_total: disks * diskUsageMib(template, spec["disk-size"]),
  };
}

/** Put in as many as fit. */
function fill(
  state: ClusterState,
  group: PlanGroup,
  message: InstanceMessage,
  maxInstances: number,
): { readonly count: number; readonly limitedBy: string } {
  const probe = new PlacementProbe(state, group, "refuse");
  for (let count = 0; count < maxInstances; count += 1) {
    // No host has a blank in its name.
    const instance = state.newInstance(`new ${count}`, message);
    probe.aim(instance);
    const search = (secondaries: "best" | "all") => searchNodes(state, group, probe, instance, secondaries);
    const quick = search("best");
    const { best, refusals } = quick.best === undefined ? search("all") : quick;
    if (best === undefined) return { count, limitedBy: refusals.toString() || "too few nodes may take instances" };
    state.place(instance, best.placement);
  }
  return { count: maxInstances, limitedBy: "" };
}

/**
 * @param secondaries - `best`: of the node that would be the best primary if there were no secondaries. To try all pairs for
 *   each of thousands of instances would take minutes in a large group, so that is done only where nothing else fits
 */
function searchNodes(
  state: ClusterState,
  group: PlanGroup,
  probe: PlacementProbe,
  instance: SizedInstance,
  secondaries: "best" | "all",
): PlacementSearch {
  const begin = () => new PlacementSearch(state, probe, { instance, from: undefined, softErrors: "refuse" });
  const alone = begin();
  for (const node of group.nodes) alone.try(node, NOWHERE);
  if (alone.best === undefined || !DISK_TEMPLATE_TRAITS[instance.template].needsSecondary) return alone;
  const paired = begin();
  const primaries = secondaries === "all" ? group.nodes : [alone.best.placement.primary];
  for (const primary of primaries)
    for (const secondary of group.nodes) if (secondary !== primary) paired.try(primary, secondary);
  return paired;
}
