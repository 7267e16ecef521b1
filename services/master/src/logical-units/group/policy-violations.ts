/** What a change of policies means for the instances that there are. Pure. */
import {
  type Cluster,
  type ConfigView,
  filledPolicy,
  type Instance,
  type NodeGroup,
  policyViolations,
} from "@gannet/objects";
import { useOf } from "../instance/policy-check.ts";

/**
 * Instances that would break the policy of their group and do not break it now, one line each: they go on, and the job's
 * log tells of them (as in Ganeti).
 * @param changed - the rows that would be others
 */
export function newPolicyViolations(
  view: ConfigView,
  changed: { readonly cluster?: Cluster; readonly group?: NodeGroup },
): readonly string[] {
  const cluster = changed.cluster ?? view.cluster;
  const groups =
    changed.group === undefined ? view.groups : new Map([...view.groups, [changed.group.uuid, changed.group]]);
  const after = { cluster, groups, nodes: view.nodes, disksOf: (instance: Instance) => view.disksOf(instance) };
  return [...view.instances.values()].flatMap((instance) => {
    const node = view.nodes.get(instance.primaryNode);
    const group = node === undefined ? undefined : view.groups.get(node.group);
    if (group === undefined) return [];
    const nextGroup = changed.group?.uuid === group.uuid ? changed.group : group;
    const before = policyViolations(filledPolicy(view.cluster, group), useOf(view, instance));
    const added = policyViolations(filledPolicy(cluster, nextGroup), useOf(after, instance)).filter(
      (violation) => !before.includes(violation),
    );
    return added.length === 0 ? [] : [`Instance ${instance.name} violates the new policy: ${added.join("; ")}`];
  });
}
