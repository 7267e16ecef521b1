import { OpPrereqError } from "@gannet/errors";
import { GroupRemove } from "@gannet/opcodes";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { masterHooks } from "../../hooks/cluster-hooks.ts";
import { groupLocks, knownGroup } from "./lookups.ts";

export const groupRemove = implement(GroupRemove, {
  locks: (op, view) => groupLocks(view, op.group_name, exclusive),

  /** The last group is never empty: the master is in one. */
  checkPrereq({ config }, op) {
    const group = knownGroup(config, op.group_name);
    const nodes = config.nodesOf(group.uuid);
    if (nodes.length > 0)
      throw new OpPrereqError(
        `Group '${group.name}' not empty, has the following nodes: ${nodes.map(({ name }) => name).join(", ")}`,
        "wrong_state",
      );
    return group;
  },

  hooks: (view, _op, { name }) => masterHooks(view, "group-remove", "GROUP", { GROUP_NAME: name }),

  async exec(ctx, _op, { uuid }) {
    await ctx.commit((view) => {
      const group = view.groups.get(uuid);
      return group === undefined ? [] : [{ kind: "nodegroup", remove: group }];
    });
    return null;
  },
});
