/** Instances against the policy of their node group. Pure. */
import { OpPrereqError } from "@gannet/errors";
import {
  type ConfigView,
  filledBeparams,
  filledPolicy,
  type Instance,
  type InstanceUse,
  type Node,
  type NodeUuid,
  type Parameters,
  policyViolations,
} from "@gannet/objects";
import { hasExclusiveStorage } from "./exclusive-storage.ts";

/** What an instance takes, or would take after a change of its disks. */
export function useOf(
  view: Pick<ConfigView, "cluster" | "disksOf" | "groups" | "nodes">,
  instance: Instance,
  changed: Partial<Pick<InstanceUse, "diskSizesMib" | "diskTemplate">> = {},
): InstanceUse {
  const beparams = filledBeparams(view.cluster, instance);
  return {
    memoryMib: Number(beparams.maxmem),
    vcpus: Number(beparams.vcpus),
    spindleUse: spindleUse(
      view,
      instance.primaryNode,
      beparams,
      view.disksOf(instance).map(({ spindles }) => spindles),
    ),
    diskSizesMib: view.disksOf(instance).map((disk) => disk.sizeMib),
    nicCount: instance.nics.length,
    diskTemplate: instance.diskTemplate,
    ...changed,
  };
}

/**
 * How heavily an instance uses the disks that it shares with others; where its own have physical volumes for themselves,
 * how many these are.
 * @param spindles - of each disk, null where it is not known
 */
export function spindleUse(
  view: Pick<ConfigView, "cluster" | "groups" | "nodes">,
  primaryNode: NodeUuid,
  filledBeparams: Parameters,
  spindles: readonly (number | null)[],
): number {
  if (spindles.length === 0 || !hasExclusiveStorage(view, primaryNode)) return Number(filledBeparams.spindle_use);
  return spindles.reduce<number>((sum, each) => sum + (each ?? 0), 0);
}

/** @throws OpPrereqError (wrong_input) listing what the policy of the node's group does not allow */
export function checkPolicy(view: ConfigView, node: Node, use: InstanceUse): void {
  const group = view.groups.get(node.group);
  const policy = group === undefined ? view.cluster.ipolicy : filledPolicy(view.cluster, group);
  const violations = policyViolations(policy, use);
  if (violations.length === 0) return;
  throw new OpPrereqError(
    `Instance allocation to group ${group?.uuid} (${group?.name}) violates policy: ${violations.join("; ")}`,
    "wrong_input",
  );
}
