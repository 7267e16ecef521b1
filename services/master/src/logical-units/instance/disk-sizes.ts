/** How large disks are where they lie, which may be more than they are recorded with: volumes are rounded up. */
import type { Instance } from "@gannet/objects";
import type { PrereqContext } from "../../executor/context.ts";
import type { PlacedDisk } from "./disk-ends.ts";
import { blockDeviceMessage } from "./messages.ts";

/** In MiB, as the primary node tells; 0 where there is no such disk. */
export async function measuredSizeMib(
  ctx: Pick<PrereqContext, "config" | "node" | "signal">,
  instance: Instance,
  { disk, index }: PlacedDisk,
): Promise<number> {
  // A DRBD disk is as large as its data volume.
  const measured = disk.children[0] ?? disk;
  const device = blockDeviceMessage(ctx.config, instance, measured, index, instance.primaryNode);
  const { exists, sizeMib } = await ctx
    .node(instance.primaryNode)
    .blockDevices.status({ device }, { signal: ctx.signal });
  return exists ? sizeMib : 0;
}
