/** Instances whose nodes would be in several groups after nodes have moved. Pure. */
import { type ConfigView, DISK_TEMPLATE_TRAITS, type GroupUuid, type Instance, type Node } from "@gannet/objects";

export interface SplitInstances {
  /** Would be torn apart by the move. */
  readonly added: readonly Instance[];
  /** Are torn apart already, and would stay so. */
  readonly kept: readonly Instance[];
}

/**
 * Only instances whose disks are mirrored between nodes are looked at: no operation puts the two copies of a disk into
 * different groups, and none works on them there.
 */
export function splitInstances(view: ConfigView, moved: readonly Node[], target: GroupUuid): SplitInstances {
  const movedUuids = new Set(moved.map(({ uuid }) => uuid));
  const isSplit = (instance: Instance, groupOf: (node: Node) => GroupUuid) => {
    const nodes = [instance.primaryNode, ...view.secondaryNodes(instance)].flatMap(
      (uuid) => view.nodes.get(uuid) ?? [],
    );
    return new Set(nodes.map(groupOf)).size > 1;
  };
  const after = (node: Node) => (movedUuids.has(node.uuid) ? target : node.group);
  const split = [...view.instances.values()]
    .filter((instance) => DISK_TEMPLATE_TRAITS[instance.diskTemplate].mirroring === "internal")
    .filter((instance) => isSplit(instance, after))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const wasSplit = (instance: Instance) => isSplit(instance, ({ group }) => group);
  return { added: split.filter((instance) => !wasSplit(instance)), kept: split.filter(wasSplit) };
}

/** Instances whose NICs would be in networks that the group is not connected to. */
export function cutOffInstances(view: ConfigView, moved: readonly Node[], target: GroupUuid): readonly Instance[] {
  const networks = view.groups.get(target)?.networks ?? {};
  return moved
    .filter(({ group }) => group !== target)
    .flatMap(({ uuid }) => view.primaryInstances(uuid))
    .filter(({ nics }) => nics.some(({ network }) => network !== null && networks[network] === undefined));
}
