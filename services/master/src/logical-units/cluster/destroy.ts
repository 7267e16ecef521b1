import { OpPrereqError } from "@gannet/errors";
import { ClusterDestroy } from "@gannet/opcodes";
import { failureOf } from "../../executor/attempt.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { masterHooks } from "../../hooks/cluster-hooks.ts";
import { deactivateMasterAddress, masterAddressOf } from "./master-address.ts";

/**
 * The end of a cluster of which only the master is left: from here on every change is refused (destroyed-cluster.ts).
 * Answers the UUID of the node that was its master.
 */
export const clusterDestroy = implement(ClusterDestroy, {
  locks: () => [exclusive.bigLock],

  checkPrereq({ config: { cluster, nodes, instances } }) {
    const others = [...nodes.values()].filter(({ uuid }) => uuid !== cluster.masterNode);
    refuseMembers("node", others);
    refuseMembers("instance", [...instances.values()]);
  },

  hooks: (view) => masterHooks(view, "cluster-destroy", "CLUSTER", {}, { pre: [] }),

  async exec(ctx) {
    const where = masterAddressOf(ctx.config.cluster);
    const failure = await failureOf(ctx, () => deactivateMasterAddress(ctx, where, ctx.step("master-address/down")));
    if (failure !== undefined)
      ctx.feedback.warning(`The cluster's address ${where.address} was not taken down: ${failure.message}`);
    await ctx.commit(({ cluster }) => [{ kind: "cluster", put: { ...cluster, destroyed: true } }]);
    return where.node;
  },
});

function refuseMembers(what: string, left: readonly { readonly name: string }[]): void {
  if (left.length === 0) return;
  const names = left.map(({ name }) => name).sort();
  throw new OpPrereqError(
    `There are still ${left.length} ${what}(s) in this cluster: remove them first (${names.join(", ")})`,
    "wrong_input",
  );
}
