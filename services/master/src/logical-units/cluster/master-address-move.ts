/** The cluster's own address follows a change of the parameters that say where it is. */
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import type { SetParamsOp } from "./cluster-changes.ts";
import {
  activateMasterAddress,
  deactivateMasterAddress,
  type MasterAddress,
  masterAddressOf,
} from "./master-address.ts";

/**
 * Commit a change of the cluster's parameters, and let its address follow them: from one interface to another, or to
 * another netmask on the same. What cannot be done before the change fails it, unless `op` is forced; what cannot be
 * done afterwards is told of, and can be repeated with `gnt-cluster activate-master-ip`.
 */
export async function commitWithMasterAddress(
  ctx: ExecContext,
  op: Pick<SetParamsOp, "master_netdev" | "master_netmask" | "force">,
  commit: () => Promise<unknown>,
): Promise<void> {
  const before = masterAddressOf(ctx.config.cluster);
  if (!op.master_netdev) {
    await commit();
    if (op.master_netmask !== null && op.master_netmask !== before.netmask)
      await changeNetmask(ctx, before, op.master_netmask);
    return;
  }
  await takeDown(ctx, before, op.force);
  await commit();
  const after = masterAddressOf(ctx.config.cluster);
  ctx.feedback.info(`Starting the master IP on the new master netdev (${after.netdev})`);
  const failure = await failureOf(ctx, () => activateMasterAddress(ctx, after, ctx.step("master-address/up")));
  if (failure !== undefined)
    ctx.feedback.warning(`Could not re-enable the master IP on the master, activate it again: ${failure.message}`);
}

async function takeDown(ctx: ExecContext, before: MasterAddress, force: boolean): Promise<void> {
  ctx.feedback.info(`Shutting down the master IP on the current netdev (${before.netdev})`);
  await ctx.undo(undoStep("activate-master-address", before));
  const down = () => deactivateMasterAddress(ctx, before, ctx.step("master-address/down"));
  if (!force) return down();
  const failure = await failureOf(ctx, down);
  if (failure !== undefined) ctx.feedback.warning(`Could not disable the master IP: ${failure.message}`);
}

async function changeNetmask(ctx: ExecContext, before: MasterAddress, netmask: number): Promise<void> {
  ctx.feedback.info(`Changing the master IP's netmask to ${netmask}`);
  const { node, address, netdev } = before;
  const request = {
    step: ctx.step("master-address/netmask"),
    address: { address, netdev, netmask: before.netmask },
    newNetmask: netmask,
  };
  const failure = await failureOf(ctx, () => ctx.node(node).node.changeMasterNetmask(request, { signal: ctx.signal }));
  if (failure !== undefined) ctx.feedback.warning(`Could not change the master IP's netmask: ${failure.message}`);
}
