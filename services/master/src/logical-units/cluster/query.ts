import { ClusterQuery } from "@gannet/opcodes";
import { clusterInfo } from "@gannet/query";
import { implement } from "../../executor/logical-unit.ts";
import { VERSIONS } from "../../rapi/versions.ts";

/** What `/2/info` answers. */
export const clusterQuery = implement(ClusterQuery, {
  locks: () => [],
  checkPrereq: () => undefined,
  exec: async (ctx) => ({ ...clusterInfo(ctx.config, VERSIONS) }),
});
