import { ClusterActivateMasterIp } from "@gannet/opcodes";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { activateMasterAddress, masterAddressHooks, masterAddressOf } from "./master-address.ts";

/** The cluster's address comes up on the master's node; nothing happens where it is up. */
export const clusterActivateMasterIp = implement(ClusterActivateMasterIp, {
  locks: () => [exclusive.bigLock],
  checkPrereq: () => undefined,
  hooks: ({ cluster }) => masterAddressHooks(cluster, "turnup"),

  async exec(ctx) {
    await activateMasterAddress(ctx, masterAddressOf(ctx.config.cluster), ctx.step("activate"));
    return null;
  },
});
