import { randomUUID } from "node:crypto";
import { checkEntityName, type GroupUuid, newGroup } from "@gannet/objects";
import { GroupAdd } from "@gannet/opcodes";
import { implement } from "../../executor/logical-unit.ts";
import { masterHooks } from "../../hooks/cluster-hooks.ts";
import { COMMUNICATION_CONNECTION } from "../cluster/communication-network.ts";
import { changedGroup } from "./group-changes.ts";
import { freeGroupName } from "./lookups.ts";

/** Its lock would be that of a UUID that nobody else has yet. */
export const groupAdd = implement(GroupAdd, {
  locks: () => [],

  checkPrereq(ctx, op) {
    checkEntityName("node group", op.group_name);
    freeGroupName(ctx.config, op.group_name);
    const group = newGroup(randomUUID() as GroupUuid, op.group_name, ctx.now());
    changedGroup(ctx.config, group, op);
    return group;
  },

  hooks: (view, op) => masterHooks(view, "group-add", "GROUP", { GROUP_NAME: op.group_name }),

  async exec(ctx, op, group) {
    await ctx.commit((view) => {
      freeGroupName(view, op.group_name);
      const communication = view.findNetwork(view.cluster.instanceCommunicationNetwork);
      const networks = communication === undefined ? {} : { [communication.uuid]: COMMUNICATION_CONNECTION };
      return [{ kind: "nodegroup", put: changedGroup(view, { ...group, networks }, op) }];
    });
    return null;
  },
});
