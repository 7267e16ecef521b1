/** Steps on an instance's primary node that several operations are made of. */
import type { Instance } from "@gannet/objects";
import type { ExecContext } from "../../executor/context.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { instanceMessage } from "./messages.ts";

/**
 * Start the guest with its disks; the undo stops it again.
 * @param instance - its row, with the parameters of this one start where they differ from what is kept
 */
export async function startGuest(
  ctx: ExecContext,
  instance: Instance,
  { paused }: { readonly paused: boolean } = { paused: false },
): Promise<void> {
  const { primaryNode: node, name, hypervisor } = instance;
  await ctx.undo(undoStep("stop-instance", { node, name, hypervisor }));
  await start(ctx, instance, paused);
}

/** Start a guest again that the operation has stopped: whatever becomes of the rest, it runs on. */
export async function resumeGuest(ctx: ExecContext, instance: Instance): Promise<void> {
  await start(ctx, instance, false);
}

async function start(ctx: ExecContext, instance: Instance, paused: boolean): Promise<void> {
  const { primaryNode: node } = instance;
  const request = { step: ctx.step("start"), instance: instanceMessage(ctx.config, instance), paused };
  ctx.live.noteInstance(node, await ctx.node(node).instances.start(request, { signal: ctx.signal }));
}

/** Take away what is left of a guest that has crashed: its process may be there still, and its devices in use. */
export async function clearCrashedGuest(ctx: ExecContext, instance: Instance): Promise<void> {
  if (ctx.live.instance(instance.name, instance.primaryNode)?.state.status !== "crashed") return;
  ctx.feedback.info(`Instance ${instance.name} had crashed; removing what is left of it`);
  await stopGuest(ctx, instance, 0);
}

/** Ask the guest to stop, and kill it when it takes longer than the timeout. */
export async function stopGuest(ctx: ExecContext, instance: Instance, timeoutSeconds: number): Promise<void> {
  const { primaryNode: node, name, hypervisor } = instance;
  const timeoutMs = timeoutSeconds * 1000;
  const { asOfMs } = await ctx
    .node(node)
    .instances.stop(
      { step: ctx.step("stop"), name, hypervisor, force: timeoutSeconds === 0, timeoutMs },
      { signal: ctx.signal },
    );
  ctx.live.noteInstanceGone(node, name, asOfMs);
}

/** The running guest stops and starts again by its agent alone, as it was started. */
export async function rebootGuest(ctx: ExecContext, instance: Instance, timeoutSeconds: number): Promise<void> {
  const { primaryNode: node, name, hypervisor } = instance;
  const timeoutMs = timeoutSeconds * 1000;
  const state = await ctx
    .node(node)
    .instances.reboot(
      { step: ctx.step("reboot"), name, hypervisor, force: timeoutSeconds === 0, timeoutMs },
      { signal: ctx.signal },
    );
  ctx.live.noteInstance(node, state);
}
