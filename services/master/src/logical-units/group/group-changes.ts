/** A node group's row after a change of its parameters. Pure; everything is checked as a whole. */
import {
  type ConfigView,
  changedDiskParameters,
  changedDiskState,
  changedGroupPolicy,
  changedHypervisorState,
  changedNodeParameters,
  type NodeGroup,
} from "@gannet/objects";
import type { GroupSetParams, Op } from "@gannet/opcodes";

/** What adding a group and changing one have in common; null leaves as it is. */
export type GroupSettings = Pick<
  Op<typeof GroupSetParams>,
  "alloc_policy" | "ndparams" | "diskparams" | "hv_state" | "disk_state" | "ipolicy"
>;

/** @throws OpPrereqError (wrong_input) or TypeEnforcementError, naming what cannot be set so */
export function changedGroup({ cluster }: ConfigView, group: NodeGroup, asked: GroupSettings): NodeGroup {
  const part = <Asked, Value>(given: Asked | null, present: Value, change: (given: Asked) => Value): Value =>
    given === null ? present : change(given);
  return {
    ...group,
    allocPolicy: asked.alloc_policy ?? group.allocPolicy,
    ndparams: part(asked.ndparams, group.ndparams, (given) => changedNodeParameters(group.ndparams, given)),
    diskparams: part(asked.diskparams, group.diskparams, (given) => changedDiskParameters(group.diskparams, given)),
    hvState: part(asked.hv_state, group.hvState, (given) => changedHypervisorState(group.hvState, given)),
    diskState: part(asked.disk_state, group.diskState, (given) => changedDiskState(group.diskState, given)),
    ipolicy: part(asked.ipolicy, group.ipolicy, (given) => changedGroupPolicy(group.ipolicy, given, cluster.ipolicy)),
  };
}
