import { ClusterDeactivateMasterIp } from "@gannet/opcodes";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { deactivateMasterAddress, masterAddressHooks, masterAddressOf } from "./master-address.ts";

/** The cluster's address leaves the master's node; nothing happens where it is down. */
export const clusterDeactivateMasterIp = implement(ClusterDeactivateMasterIp, {
  locks: () => [exclusive.bigLock],
  checkPrereq: () => undefined,
  hooks: ({ cluster }) => masterAddressHooks(cluster, "turndown"),

  async exec(ctx) {
    await deactivateMasterAddress(ctx, masterAddressOf(ctx.config.cluster), ctx.step("deactivate"));
    return null;
  },
});
