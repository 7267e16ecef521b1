/** Moving the second copies of an instance's disks to another node: replace-disks with a new secondary. */
import { allocateMinor, type ConfigView, drbdMinorsInUse, type Instance, type Node } from "@gannet/objects";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { onDevice, undoStep } from "../../executor/undo-actions.ts";
import { endsOf, placedDisks } from "./disk-ends.ts";
import { type DiskShape, reshapedDisks, shapeOf } from "./disk-rows.ts";
import { standBy } from "./disk-steps.ts";
import type { OldVolume } from "./replaced-volumes.ts";

export interface SecondaryChange {
  readonly instance: Instance;
  readonly primary: Node;
  readonly before: Node;
  readonly after: Node;
}

/**
 * The old secondary may be dead: what it would have to do is tried, told of when it fails, and not waited for.
 * @returns the disks as the old secondary has them, which nothing uses any more
 */
export async function changeSecondary(
  ctx: ExecContext,
  { instance, primary, before, after }: SecondaryChange,
): Promise<readonly OldVolume[]> {
  const old = placedDisks(ctx.config, instance);
  const oldEnds = old.flatMap((placed) => endsOf(ctx.config, instance, placed));
  await ctx.undo(undoStep("reconnect-disks", { instance: instance.uuid }));
  ctx.feedback.step(`shutting down the disks on old secondary ${before.name}`);
  for (const { device, title } of oldEnds.filter(({ node }) => node === before.uuid)) {
    const request = { step: ctx.step(`shutdown-old/${device.uuid}`), device };
    const failure = await failureOf(ctx, () =>
      ctx.node(before.uuid).blockDevices.shutdown(request, { signal: ctx.signal }),
    );
    if (failure !== undefined)
      ctx.feedback.warning(`Could not shut down ${title}: ${failure.message}; clean up by hand as soon as possible`);
  }
  ctx.feedback.step(`detaching primary ${primary.name} from the network of the old one`);
  for (const { device } of oldEnds.filter(({ node }) => node === primary.uuid)) {
    const request = { step: ctx.step(`disconnect/${device.uuid}`), device };
    await ctx.node(primary.uuid).blockDevices.disconnect(request, { signal: ctx.signal });
  }

  const shapes = old.map(({ disk }) => shapeOf(disk));
  await ctx.undo(
    undoStep("restore-disks", { instance: instance.uuid, primaryNode: instance.primaryNode, shapes: [...shapes] }),
  );
  const view = await ctx.commit((now) => reshapedDisks(now, movedShapes(now, shapes, primary, after)));
  for (const placed of placedDisks(view, instance)) {
    const ends = endsOf(view, instance, placed);
    for (const end of ends.filter(({ node }) => node === after.uuid)) {
      ctx.feedback.step(`adding a copy of disk/${end.index} on ${after.name}`);
      await ctx.undo(undoStep("remove-block-device", onDevice(end.node, end.device)));
      const request = { step: ctx.step(`create-disk/${end.device.uuid}/${end.node}`), device: end.device };
      await ctx.node(end.node).blockDevices.create(request, { signal: ctx.signal });
      await standBy(ctx, end);
    }
    for (const { device } of ends.filter(({ node }) => node === primary.uuid)) {
      const request = { step: ctx.step(`connect/${device.uuid}`), device, dualPrimary: false };
      await ctx.node(primary.uuid).blockDevices.connect(request, { signal: ctx.signal });
    }
  }
  return oldEnds.filter(({ node }) => node === before.uuid).map(({ device }) => ({ node: before, device }));
}

/** The same pairs with the new node, on minors that are free there; the primary keeps its own. */
function movedShapes(view: ConfigView, shapes: readonly DiskShape[], primary: Node, after: Node): readonly DiskShape[] {
  let inUse = drbdMinorsInUse(view.disks.values());
  return shapes.map((shape) => {
    if (shape.pair === null) return shape;
    const allocated = allocateMinor(inUse, after.uuid, after.name);
    inUse = allocated.inUse;
    const own = shape.pair.minors[shape.pair.nodes.indexOf(primary.uuid)] ?? 0;
    return {
      ...shape,
      nodes: [primary.uuid, after.uuid],
      pair: { nodes: [primary.uuid, after.uuid], minors: [own, allocated.minor] },
    };
  });
}
