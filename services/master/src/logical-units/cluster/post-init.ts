import { ClusterPostInit } from "@gannet/opcodes";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { masterHooks } from "../../hooks/cluster-hooks.ts";

/** There is nothing to finish: a cluster is whole once its first configuration is stored. Scripts wait for this job. */
export const clusterPostInit = implement(ClusterPostInit, {
  locks: () => [exclusive.bigLock],
  checkPrereq: () => undefined,
  hooks: (view) => masterHooks(view, "cluster-init", "CLUSTER", {}, { pre: [] }),

  exec: async () => true,
});
