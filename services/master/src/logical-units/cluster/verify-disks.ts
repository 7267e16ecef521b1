import { ClusterVerifyDisks } from "@gannet/opcodes";
import { submitting } from "../../executor/follow-up-jobs.ts";
import { shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { groupLocks, knownGroup } from "../group/lookups.ts";

/** A job for each group. */
export const clusterVerifyDisks = implement(ClusterVerifyDisks, {
  locks: (op, view) => (op.group_name ? groupLocks(view, op.group_name, shared) : [shared.all("nodegroup")]),

  checkPrereq({ config }, op) {
    if (op.group_name) return [knownGroup(config, op.group_name)];
    return [...config.groups.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  },

  async exec(_ctx, op, groups) {
    return submitting(
      groups.map(({ name }) => [{ OP_ID: "OP_GROUP_VERIFY_DISKS", group_name: name, is_strict: op.is_strict }]),
    );
  },
});
