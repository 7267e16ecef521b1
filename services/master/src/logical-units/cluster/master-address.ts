/** The cluster's own address, on the master's node. */
import { type Cluster, nodeUuid } from "@gannet/objects";
import { z } from "zod";
import type { ExecContext } from "../../executor/context.ts";
import type { HookPlan } from "../../hooks/hook-plan.ts";

/** Where the address is, or is to be. */
export const masterAddress = z.object({
  node: nodeUuid,
  address: z.string(),
  netmask: z.int(),
  netdev: z.string(),
  useExternalScript: z.boolean(),
});
export type MasterAddress = z.infer<typeof masterAddress>;

type Caller = Pick<ExecContext, "node" | "signal">;
type Step = ReturnType<ExecContext["step"]>;

export function masterAddressOf(cluster: Cluster): MasterAddress {
  return {
    node: cluster.masterNode,
    address: cluster.masterIp,
    netmask: cluster.masterNetmask,
    netdev: cluster.masterNetdev,
    useExternalScript: cluster.useExternalMipScript,
  };
}

export async function activateMasterAddress(ctx: Caller, where: MasterAddress, step: Step): Promise<void> {
  const { node, useExternalScript, ...address } = where;
  await ctx.node(node).node.activateMasterAddress({ step, address, useExternalScript }, { signal: ctx.signal });
}

export async function deactivateMasterAddress(ctx: Caller, where: MasterAddress, step: Step): Promise<void> {
  const { node, useExternalScript, ...address } = where;
  await ctx.node(node).node.deactivateMasterAddress({ step, address, useExternalScript }, { signal: ctx.signal });
}

/** Ganeti runs these hooks as operations of their own (spec/os-iallocator-hooks.json, `hooks.special`). */
export function masterAddressHooks(cluster: Cluster, event: "turnup" | "turndown"): HookPlan {
  const { masterNode, masterNetdev, masterIp, masterNetmask } = cluster;
  return {
    path: `master-ip-${event}`,
    opcode: event === "turnup" ? "OP_CLUSTER_IP_TURNUP" : "OP_CLUSTER_IP_TURNDOWN",
    object: "CLUSTER",
    environment: {
      MASTER_NETDEV: masterNetdev,
      MASTER_IP: masterIp,
      MASTER_NETMASK: masterNetmask,
      CLUSTER_IP_VERSION: masterIp.includes(":") ? 6 : 4,
    },
    pre: [masterNode],
    post: [masterNode],
  };
}
