/** The node groups to which instances may be moved. Pure. */
import { OpPrereqError } from "@gannet/errors";
import type { LockWish } from "@gannet/locking";
import type { ConfigView, NodeGroup } from "@gannet/objects";
import { shared } from "../../executor/lock-wishes.ts";
import { knownGroup } from "./lookups.ts";

/** Those groups and their nodes, and those that are left; all when none is asked for (spec/locks.json). */
export function targetGroupLocks(
  view: ConfigView,
  asked: readonly string[] | null | undefined,
  left: readonly NodeGroup[],
): readonly LockWish[] {
  const named = (asked ?? []).flatMap((name) => view.findGroup(name) ?? []);
  const groups = asked?.length ? [...new Set([...left, ...named])] : [...view.groups.values()];
  return groups.flatMap(({ uuid }) => [
    shared.nodegroup(uuid),
    ...view.nodesOf(uuid).map((node) => shared.node(node.uuid)),
  ]);
}

/**
 * @param left - groups that the instances are in now
 * @returns the groups that are asked for; all others when none is
 * @throws OpPrereqError: unknown_entity; wrong_input when one is asked for that they are in, or there is no other
 */
export function targetGroups(
  view: ConfigView,
  asked: readonly string[] | null | undefined,
  left: readonly NodeGroup[],
): readonly NodeGroup[] {
  const targets = asked?.length
    ? asked.map((name) => knownGroup(view, name))
    : [...view.groups.values()].filter((group) => !left.includes(group));
  const same = targets.find((group) => left.includes(group));
  if (same !== undefined)
    throw new OpPrereqError(`What is to be moved is in group ${same.name} already: name another`, "wrong_input");
  if (targets.length === 0) throw new OpPrereqError("There is no other node group", "wrong_input");
  return targets;
}
