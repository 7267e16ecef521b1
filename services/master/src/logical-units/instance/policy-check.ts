/** Instances against the policy of their node group. Pure. */
import { OpPrereqError } from "@gannet/errors";
import {
  type ConfigView,
  filledBeparams,
  filledPolicy,
  type Instance,
  type InstanceUse,
  type Node,
  policyViolations,
} from "@gannet/objects";

/** What an instance takes, or would take after a change of its disks. */
export function useOf(
  view: Pick<ConfigView, "cluster" | "disksOf">,
  instance: Instance,
  changed: Partial<Pick<InstanceUse, "diskSizesMib" | "diskTemplate">> = {},
): InstanceUse {
  const beparams = filledBeparams(view.cluster, instance);
  return {
    memoryMib: Number(beparams.maxmem),
    vcpus: Number(beparams.vcpus),
    spindleUse: Number(beparams.spindle_use),
    diskSizesMib: view.disksOf(instance).map((disk) => disk.sizeMib),
    nicCount: instance.nics.length,
    diskTemplate: instance.diskTemplate,
    ...changed,
  };
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
