/** Locks that several instance operations take. */
import type { LockWish } from "@gannet/locking";
import type { ConfigView, Instance } from "@gannet/objects";
import { exclusive } from "../../executor/lock-wishes.ts";

/** The nodes that hold the instance's disks. */
export function nodeLocks(view: ConfigView, instance: Instance): readonly LockWish[] {
  return [instance.primaryNode, ...view.secondaryNodes(instance)].map(exclusive.node);
}

/** The same nodes, as nodes and as places of disk-heavy work. */
export function diskNodeLocks(view: ConfigView, instance: Instance): readonly LockWish[] {
  const nodes = [instance.primaryNode, ...view.secondaryNodes(instance)];
  return [...nodes.map(exclusive.node), ...nodes.map(exclusive.nodeRes)];
}

/** The instance's own lock; its name as asked for when it is not known, so that the check comes under the lock. */
export function instanceLock(view: ConfigView, name: string): LockWish {
  return exclusive.instance(view.findInstance(name)?.name ?? name);
}
