/** Steps that make an instance's disks: new devices, devices that are adopted, and what is overwritten before use. */
import { allEnded } from "@gannet/errors";
import {
  type ChildDisk,
  type ConfigView,
  DISK_TEMPLATE_TRAITS,
  type Disk,
  type Instance,
  type LogicalId,
} from "@gannet/objects";
import type { ExecContext } from "../../executor/context.ts";
import { onDevice, undoStep } from "../../executor/undo-actions.ts";
import { type DiskEnd, endsOf, type PlacedDisk } from "./disk-ends.ts";
import { standBy } from "./disk-steps.ts";
import { blockDeviceMessage, type DiskOwner } from "./messages.ts";
import { durationText, withoutSync } from "./mirror-steps.ts";

/** A disk is overwritten in parts of a tenth of it, and no more than this, so that the work can be told of. */
const LARGEST_WIPE_MIB = 1024;
const WIPE_PARTS = 10;
const WIPE_NEWS_INTERVAL_MS = 10_000;

/**
 * Make the devices of new disks on all their nodes; the undo removes them. Of a mirrored disk both ends are up
 * afterwards, its primary's contents being the truth that the other is filled with.
 * @param owner - whose they are to be, with its primary node
 * @param undo - `remove-unused-device`: where an instance's row naming them is what makes the operation done
 */
export async function createDisks(
  ctx: ExecContext,
  view: ConfigView,
  owner: DiskOwner,
  disks: readonly PlacedDisk[],
  { undo = "remove-block-device" }: { readonly undo?: "remove-block-device" | "remove-unused-device" } = {},
): Promise<void> {
  for (const placed of disks) {
    ctx.feedback.step(`disk ${placed.index}, size ${placed.disk.sizeMib}M`);
    const ends = endsOf(view, owner, placed).toReversed();
    for (const { node, device } of ends) await ctx.undo(undoStep(undo, onDevice(node, device)));
    const isMirrored = DISK_TEMPLATE_TRAITS[placed.disk.template].mirroring === "internal";
    await allEnded(
      ends.map(async (end) => {
        const request = { step: ctx.step(`create-disk/${end.device.uuid}/${end.node}`), device: end.device };
        await ctx.node(end.node).blockDevices.create(request, { signal: ctx.signal });
        if (isMirrored) await bringUp(ctx, end);
      }),
    );
  }
}

/** Connect the ends of a new mirrored disk, and take the primary's contents as the truth. */
export async function pairEnds(ctx: ExecContext, ends: readonly DiskEnd[]): Promise<void> {
  await allEnded(ends.map((end) => bringUp(ctx, end)));
}

/** Which end is up first does not matter: when they meet, the secondary's contents are those that were never written. */
async function bringUp(ctx: ExecContext, end: DiskEnd): Promise<void> {
  await (end.role === "primary" ? seed(ctx, end) : standBy(ctx, end));
}

async function seed(ctx: ExecContext, { node, device }: DiskEnd): Promise<void> {
  const request = { step: ctx.step(`seed-disk/${device.uuid}/${node}`), device };
  await ctx.node(node).blockDevices.seed(request, { signal: ctx.signal });
}

/**
 * Give a device that exists the name of a disk's; the undo gives it back its own.
 * @param was - the disk that it has been until now, whose it is again after the undo; nobody's when absent
 */
export async function renameDevice(
  ctx: ExecContext,
  view: ConfigView,
  owner: DiskOwner,
  { index, disk }: { readonly index: number; readonly disk: Disk | ChildDisk },
  { from, was = disk }: { readonly from: LogicalId; readonly was?: Disk | ChildDisk },
): Promise<void> {
  const node = owner.primaryNode;
  const device = blockDeviceMessage(view, owner, disk, index, node);
  const original = { ...device, logicalId: from.map(String) };
  if (device.logicalId.join("\n") === original.logicalId.join("\n")) return;
  const before = { ...blockDeviceMessage(view, owner, was, index, node), logicalId: device.logicalId };
  await ctx.undo(undoStep("rename-block-device", { ...onDevice(node, before), logicalId: original.logicalId }));
  const step = ctx.step(`rename-disk/${device.uuid}/${node}`);
  const request = { step, device: original, logicalId: device.logicalId };
  await ctx.node(node).blockDevices.rename(request, { signal: ctx.signal });
}

/** A disk, of which everything from a place on is new. */
export interface DiskToWipe extends PlacedDisk {
  /** 0 for all of it. */
  readonly fromMib: number;
}

/** Overwrite disks with zeros on the primary node, telling how far it is; their copies are held up meanwhile. */
export async function wipeDisks(
  ctx: ExecContext,
  view: ConfigView,
  instance: Instance,
  disks: readonly DiskToWipe[],
): Promise<void> {
  await withoutSync(ctx, view, instance, disks, {
    name: "wipe",
    async run() {
      for (const each of disks) await wipeDisk(ctx, view, instance, each);
    },
  });
}

async function wipeDisk(ctx: ExecContext, view: ConfigView, instance: Instance, { index, disk, fromMib }: DiskToWipe) {
  const node = instance.primaryNode;
  const device = blockDeviceMessage(view, instance, disk, index, node);
  const wholeMib = disk.sizeMib - fromMib;
  const partMib = Math.min(LARGEST_WIPE_MIB, Math.max(1, Math.floor(wholeMib / WIPE_PARTS)));
  ctx.feedback.step(`wiping disk ${index}, ${wholeMib}M`);
  const begun = performance.now();
  let told = Number.NEGATIVE_INFINITY;
  for (let doneMib = 0; doneMib < wholeMib; ) {
    const offsetMib = fromMib + doneMib;
    const sizeMib = Math.min(partMib, wholeMib - doneMib);
    const request = { step: ctx.step(`wipe-disk/${device.uuid}/${offsetMib}`), device, offsetMib, sizeMib };
    await ctx.node(node).blockDevices.wipe(request, { signal: ctx.signal });
    doneMib += sizeMib;
    const now = performance.now();
    if (now - told < WIPE_NEWS_INTERVAL_MS && doneMib < wholeMib) continue;
    told = now;
    const left = ((now - begun) / 1000 / doneMib) * (wholeMib - doneMib);
    ctx.feedback.info(`- done: ${((doneMib / wholeMib) * 100).toFixed(1)}% ETA: ${durationText(left)}`);
  }
}
