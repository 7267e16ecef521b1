/** Which disks are to be looked after: those of nodes that have rebooted, and of groups at intervals; pure. */
import type { ConfigView, DiskTemplate, Instance, NodeGroup, NodeUuid } from "@gannet/objects";

/** Nodes whose boot id is another than the one that is known. */
export function rebootedNodes(
  known: Readonly<Record<string, string>>,
  now: Readonly<Record<string, string>>,
): readonly string[] {
  return Object.entries(now).flatMap(([node, bootId]) =>
    known[node] === undefined || known[node] === bootId ? [] : [node],
  );
}

/**
 * Instances that run elsewhere and have a copy of their disks on this node, which it does not use since its reboot.
 * Those that ran on it are started, which activates theirs.
 */
export function copiesOn(view: ConfigView, node: NodeUuid): readonly Instance[] {
  return [...view.instances.values()].filter(
    (instance) => wantsDisks(instance) && instance.primaryNode !== node && view.secondaryNodes(instance).includes(node),
  );
}

export function wantsDisks({ adminState, disksActive, forthcoming }: Instance): boolean {
  return adminState === "up" && disksActive && !forthcoming;
}

/** Disks of these cannot be found inactive: their providers keep them, or there are none. */
const NEVER_VERIFIED: ReadonlySet<DiskTemplate> = new Set(["ext", "diskless"]);

export function groupsToVerify(view: ConfigView): readonly NodeGroup[] {
  const uuids = new Set(
    [...view.instances.values()]
      .filter((instance) => wantsDisks(instance) && !NEVER_VERIFIED.has(instance.diskTemplate))
      .map(({ primaryNode }) => view.nodes.get(primaryNode)?.group),
  );
  return [...view.groups.values()].filter(({ uuid }) => uuids.has(uuid));
}
