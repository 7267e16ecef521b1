import { ClusterRedistConf } from "@gannet/opcodes";
import { shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { tellHostsFiles } from "./hosts-files.ts";

/**
 * Nodes keep no copy of the configuration but the names in their hosts files: each call brings what it needs. Who
 * follows the configuration (masters that stand by) is sent the cluster's row anew.
 */
export const clusterRedistConf = implement(ClusterRedistConf, {
  locks: () => [shared.all("node")],

  checkPrereq: () => undefined,

  async exec(ctx) {
    await ctx.commit(({ cluster }) => [{ kind: "cluster", put: cluster }]);
    await tellHostsFiles(ctx);
    return null;
  },
});
