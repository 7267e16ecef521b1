/** Single devices of a running guest: what its agent is told. */
import type { ConfigView, Disk, Instance } from "@gannet/objects";
import { type HotplugRequest, HotplugRequest_Action } from "@gannet/rpc";
import type { ExecContext } from "../../executor/context.ts";
import { blockDeviceMessage } from "./messages.ts";

type HotplugContext = Pick<ExecContext, "config" | "node" | "signal">;
type Device = Pick<HotplugRequest, "step" | "action" | "device" | "index">;

/** @throws what the agent throws when the guest does not take the device, or let go of it */
export async function hotplug(
  ctx: HotplugContext,
  { name, hypervisor, primaryNode }: Instance,
  device: Device,
): Promise<void> {
  await ctx.node(primaryNode).instances.hotplug({ name, hypervisor, ...device }, { signal: ctx.signal });
}

/** Put one of the instance's disks into its running guest. */
export async function plugDisk(
  ctx: HotplugContext,
  instance: Instance,
  disk: Disk,
  step: ReturnType<ExecContext["step"]>,
): Promise<void> {
  const device = diskDevice(ctx.config, instance, disk, instance.disks.indexOf(disk.uuid));
  await hotplug(ctx, instance, { step, action: HotplugRequest_Action.ACTION_ADD, ...device });
}

/** @param index - its place among the guest's disks */
export function diskDevice(
  view: ConfigView,
  instance: Instance,
  disk: Disk,
  index: number,
): Pick<Device, "device" | "index"> {
  const value = blockDeviceMessage(view, instance, disk, index, instance.primaryNode);
  return { device: { $case: "disk", value }, index };
}
