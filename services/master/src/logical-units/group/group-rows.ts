/** Configuration changes of one node group, as pure functions from a view to changes. */
import type { ConfigChange } from "@gannet/config-store";
import type { ConfigView, GroupUuid, NodeGroup } from "@gannet/objects";

/** Change a group's row, if it is still there. */
export function withGroup(
  view: ConfigView,
  uuid: GroupUuid,
  change: (group: NodeGroup) => NodeGroup,
): readonly ConfigChange[] {
  const row = view.groups.get(uuid);
  return row === undefined ? [] : [{ kind: "nodegroup", put: change(row) }];
}
