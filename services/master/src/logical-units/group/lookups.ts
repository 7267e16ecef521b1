/** Node groups as operations name them, and what is in them. Pure. */
import { OpPrereqError } from "@gannet/errors";
import type { LockWish } from "@gannet/locking";
import type { ConfigView, Instance, NodeGroup } from "@gannet/objects";
import type { exclusive } from "../../executor/lock-wishes.ts";

/** @throws OpPrereqError (unknown_entity) */
export function knownGroup(view: ConfigView, name: string): NodeGroup {
  const group = view.findGroup(name);
  if (group === undefined) throw new OpPrereqError(`Node group '${name}' is not known`, "unknown_entity");
  return group;
}

/** @throws OpPrereqError (already_exists) when it is a group's name or UUID */
export function freeGroupName(view: ConfigView, name: string): void {
  const other = view.findGroup(name);
  if (other === undefined) return;
  throw new OpPrereqError(
    `Desired group name '${name}' already exists as a node group (UUID: ${other.uuid})`,
    "already_exists",
  );
}

/** Instances of which a disk or the guest is on a node of the group, by name. */
export function groupInstances(view: ConfigView, group: NodeGroup): readonly Instance[] {
  const nodes = view.nodesOf(group.uuid);
  const instances = nodes.flatMap(({ uuid }) => [...view.primaryInstances(uuid), ...view.secondaryInstances(uuid)]);
  return [...new Map(instances.map((instance) => [instance.uuid, instance])).values()].sort((a, b) =>
    a.name < b.name ? -1 : 1,
  );
}

/** The lock of a group, where there is one of this name. */
export function groupLocks(
  view: ConfigView,
  name: string,
  mode: Pick<typeof exclusive, "nodegroup">,
): readonly LockWish[] {
  const group = view.findGroup(name);
  return group === undefined ? [] : [mode.nodegroup(group.uuid)];
}
