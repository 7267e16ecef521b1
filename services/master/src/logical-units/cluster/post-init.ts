import { ClusterPostInit } from "@gannet/opcodes";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { masterHooks } from "../../hooks/cluster-hooks.ts";
import { knownNode } from "../instance/lookups.ts";
import { setUpOpenvswitch } from "../node/openvswitch.ts";

/**
 * A cluster is whole once its first configuration is stored, but for the switch of its first node, where the parameters
 * ask for one. Scripts wait for this job.
 */
export const clusterPostInit = implement(ClusterPostInit, {
  locks: () => [exclusive.bigLock],
  checkPrereq: () => undefined,
  hooks: (view) => masterHooks(view, "cluster-init", "CLUSTER", {}, { pre: [] }),

  async exec(ctx) {
    const view = ctx.config;
    await setUpOpenvswitch(ctx, view, knownNode(view, view.cluster.masterNode));
    return true;
  },
});
