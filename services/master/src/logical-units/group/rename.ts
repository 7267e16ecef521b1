import { checkEntityName } from "@gannet/objects";
import { GroupRename } from "@gannet/opcodes";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { masterHooks } from "../../hooks/cluster-hooks.ts";
import { withMaster } from "../../hooks/hook-plan.ts";
import { withGroup } from "./group-rows.ts";
import { freeGroupName, groupLocks, knownGroup } from "./lookups.ts";

export const groupRename = implement(GroupRename, {
  locks: (op, view) => groupLocks(view, op.group_name, exclusive),

  checkPrereq({ config }, op) {
    const group = knownGroup(config, op.group_name);
    checkEntityName("node group", op.new_name);
    freeGroupName(config, op.new_name);
    return group;
  },

  hooks(view, op, { uuid, name }) {
    const nodes = withMaster(view, ...view.nodesOf(uuid).map((node) => node.uuid));
    const names = { OLD_NAME: name, NEW_NAME: op.new_name };
    return masterHooks(view, "group-rename", "GROUP", names, { pre: nodes, post: nodes });
  },

  async exec(ctx, op, { uuid }) {
    await ctx.commit((view) => {
      freeGroupName(view, op.new_name);
      return withGroup(view, uuid, (group) => ({ ...group, name: op.new_name }));
    });
    return op.new_name;
  },
});
