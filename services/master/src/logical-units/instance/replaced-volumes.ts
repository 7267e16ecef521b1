/** Giving one end of mirrored disks new volumes, which its peer fills: replace-disks on the primary or the secondary. */
import type { ConfigView, Instance, Node } from "@gannet/objects";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { onDevice, undoStep } from "../../executor/undo-actions.ts";
import { type DiskEnd, endsOf, type PlacedDisk } from "./disk-ends.ts";
import { named } from "./volume-restoring.ts";

/** A volume that was replaced, under the name it has now, with the node it is on. */
export interface OldVolume {
  readonly node: Node;
  readonly device: DiskEnd["device"];
}

/**
 * The old volumes are put aside under other names, and new ones take theirs.
 * @returns the old volumes, which nothing uses any more
 */
export async function replaceVolumes(
  ctx: ExecContext,
  view: ConfigView,
  instance: Instance,
  { disks, node }: { readonly disks: readonly PlacedDisk[]; readonly node: Node },
): Promise<readonly OldVolume[]> {
  const old: OldVolume[] = [];
  for (const placed of disks)
    for (const end of endsOf(view, instance, placed).filter((each) => each.node === node.uuid)) {
      ctx.feedback.step(`replacing the volumes of ${end.title}`);
      for (const device of await replaceOne(ctx, end)) old.push({ node, device });
    }
  return old;
}

async function replaceOne(ctx: ExecContext, { node, device }: DiskEnd): Promise<readonly DiskEnd["device"][]> {
  const { blockDevices } = ctx.node(node);
  const aside = device.children.map(({ logicalId: [group = "", name = ""] }) => [
    group,
    `${name}_replaced-${ctx.jobId}`,
  ]);
  await ctx.undo(undoStep("restore-volumes", { ...onDevice(node, device), aside }));
  const request = (what: string, of = device) => ({ step: ctx.step(`${what}/${of.uuid}`), device: of });
  await blockDevices.detachVolumes(request("detach-volumes"), { signal: ctx.signal });
  // Of a faulty end they may be lost: then there is nothing to put aside.
  const present = await Promise.all(
    device.children.map((child) => blockDevices.status({ device: child }, { signal: ctx.signal })),
  );
  const moved = device.children
    .map((child, position) => ({ child, old: named(child, aside[position]) }))
    .filter((_each, position) => present[position]?.exists === true);
  for (const { child, old } of moved)
    await blockDevices.rename({ ...request("put-aside", child), logicalId: old.logicalId }, { signal: ctx.signal });
  await blockDevices.attachVolumes(request("attach-volumes"), { signal: ctx.signal });
  return moved.map(({ old }) => old);
}

/** Remove what was replaced; what cannot be removed is told of and left. */
export async function removeOldVolumes(ctx: ExecContext, volumes: readonly OldVolume[]): Promise<void> {
  ctx.feedback.step("removing old volumes");
  for (const { node, device } of volumes) {
    const request = { step: ctx.step(`remove-old/${device.uuid}/${node.uuid}`), device };
    const failure = await failureOf(ctx, () =>
      ctx.node(node.uuid).blockDevices.remove(request, { signal: ctx.signal }),
    );
    if (failure !== undefined)
      ctx.feedback.warning(
        `Could not remove ${device.logicalId.join("/")} on ${node.name}: ${failure.message}; remove it by hand`,
      );
  }
}
