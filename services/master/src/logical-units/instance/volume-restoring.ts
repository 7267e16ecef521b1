/** How an operation on the ends of mirrored disks that broke off is taken back. Idempotent, whoever died when. */
import type { Instance, NodeUuid } from "@gannet/objects";
import type { BlockDevice } from "@gannet/rpc";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { endsOf, placedDisks } from "./disk-ends.ts";

type RestoringContext = Pick<ExecContext, "config" | "node" | "step" | "signal">;
type TellingContext = RestoringContext & Pick<ExecContext, "feedback">;

/** The logical ids that a disk's volumes had while others took their names, in the order of its children. */
export type AsideIds = readonly (readonly string[])[];

/**
 * Give a disk's end the volumes back that were put aside; what was made in their place is removed.
 * @param device - as it is known on the node
 * @param step - begins the names of the steps
 */
export async function restoreVolumes(
  ctx: RestoringContext,
  { node, device, aside }: { readonly node: NodeUuid; readonly device: BlockDevice; readonly aside: AsideIds },
  step: string,
): Promise<void> {
  const { blockDevices } = ctx.node(node);
  const request = (what: string, of: BlockDevice) => ({ step: ctx.step(`${step}/${what}`), device: of });
  const statuses = await Promise.all(
    device.children.map((child, position) =>
      blockDevices.status({ device: named(child, aside[position]) }, { signal: ctx.signal }),
    ),
  );
  if (statuses.some(({ exists }) => exists))
    await blockDevices.detachVolumes(request("detach", device), { signal: ctx.signal });
  for (const [position, child] of device.children.entries()) {
    if (statuses[position]?.exists !== true) continue;
    await blockDevices.remove(request(`remove/${child.uuid}`, child), { signal: ctx.signal });
    await blockDevices.rename(
      { ...request(`rename/${child.uuid}`, named(child, aside[position])), logicalId: child.logicalId },
      { signal: ctx.signal },
    );
  }
  await blockDevices.attachVolumes(request("attach", device), { signal: ctx.signal });
}

/** A volume under another name. */
export function named(volume: BlockDevice, logicalId: readonly string[] = volume.logicalId): BlockDevice {
  return { ...volume, logicalId: [...logicalId] };
}

/**
 * Bring up the second copies of an instance that is about to run again; one that does not come up is missed, and made
 * whole again by an activation of the disks.
 */
export async function standBySecondaries(ctx: TellingContext, instance: Instance, step: string): Promise<void> {
  const ends = placedDisks(ctx.config, instance).flatMap((placed) => endsOf(ctx.config, instance, placed));
  for (const { node, role, device, title } of ends) {
    if (role === "primary" || ctx.config.nodes.get(node)?.offline === true) continue;
    const request = { step: ctx.step(`${step}/${device.uuid}/${node}`), device };
    const failure = await failureOf(ctx, () => ctx.node(node).blockDevices.standBy(request, { signal: ctx.signal }));
    if (failure !== undefined)
      ctx.feedback.warning(`Could not prepare ${title} as secondary, going on without it: ${failure.message}`);
  }
}

/** Connect both ends of an instance's mirrored disks, as the configuration has them. */
export async function reconnectDisks(ctx: RestoringContext, instance: Instance, step: string): Promise<void> {
  for (const placed of placedDisks(ctx.config, instance)) {
    const ends = endsOf(ctx.config, instance, placed);
    // The primary first: it waits for its peer, which may be dead.
    for (const { node, role, device } of ends) {
      const name = `${step}/${device.uuid}/${node}`;
      if (role === "secondary")
        await ctx.node(node).blockDevices.standBy({ step: ctx.step(name), device }, { signal: ctx.signal });
      else
        await ctx
          .node(node)
          .blockDevices.connect({ step: ctx.step(name), device, dualPrimary: false }, { signal: ctx.signal });
    }
  }
}
