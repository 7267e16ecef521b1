/** Steps on an instance's disks that several operations are made of. */
import type { ConfigView, Instance } from "@gannet/objects";
import type { ExecContext } from "../../executor/context.ts";
import { blockDeviceMessage } from "./messages.ts";

function devicesOf(view: ConfigView, instance: Instance) {
  return view
    .disksOf(instance)
    .map((disk, index) => ({ index, device: blockDeviceMessage(view, instance, disk, index) }));
}

/** Make the disks usable on the primary node. */
export async function assembleDisks(ctx: ExecContext, view: ConfigView, instance: Instance): Promise<void> {
  for (const { index, device } of devicesOf(view, instance))
    await ctx
      .node(instance.primaryNode)
      .blockDevices.assemble({ step: ctx.step(`assemble-disk/${index}`), device }, { signal: ctx.signal });
}

/** The opposite of assembling; the data stay. */
export async function shutdownDisks(ctx: ExecContext, view: ConfigView, instance: Instance): Promise<void> {
  for (const { index, device } of devicesOf(view, instance))
    await ctx
      .node(instance.primaryNode)
      .blockDevices.shutdown({ step: ctx.step(`shutdown-disk/${index}`), device }, { signal: ctx.signal });
}

/** Destroy the disks and their data. */
export async function removeDisks(ctx: ExecContext, view: ConfigView, instance: Instance): Promise<void> {
  for (const { index, device } of devicesOf(view, instance))
    await ctx
      .node(instance.primaryNode)
      .blockDevices.remove({ step: ctx.step(`remove-disk/${index}`), device }, { signal: ctx.signal });
}
