/** Steps by which disks are made for an instance that exists, and by which those go that it has no more. */
import { OpExecError } from "@gannet/errors";
import type { ConfigView, Instance } from "@gannet/objects";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import type { DiskChangePlan } from "./changed-disks.ts";
import { createDisks, wipeDisks } from "./disk-creation-steps.ts";
import type { PlacedDisk } from "./disk-ends.ts";
import { addedDisks, type DiskHome } from "./disk-rows.ts";
import { removeDisks, shutdownDisks } from "./disk-steps.ts";
import { waitForSync } from "./mirror-steps.ts";

/**
 * Make the rows and the devices of new disks, which belong to nobody until the instance's row names them; the undo
 * removes them unless it does.
 * @throws OpExecError when a second copy is not being made
 */
export async function makeDisks(
  ctx: ExecContext,
  instance: Instance,
  { drafts, made }: DiskChangePlan,
  { waits }: { readonly waits: boolean },
): Promise<readonly PlacedDisk[]> {
  if (made.length === 0) return [];
  const uuids = made.map(({ identity }) => identity.uuid);
  await ctx.undo(undoStep("remove-disk-rows", { disks: uuids }));
  const identities = made.map(({ identity }) => identity);
  const asked = made.map(({ disk }) => disk);
  const view = await ctx.commit((now) => addedDisks(now, homeOf(now, instance, ctx.now()), asked, identities));
  const disks = uuids.map((uuid): PlacedDisk => {
    const disk = view.disks.get(uuid);
    if (disk === undefined) throw new Error(`the row of disk ${uuid} is missing after its commit`);
    return { index: drafts.findIndex((draft) => draft.uuid === uuid), disk };
  });
  await createDisks(ctx, view, instance, disks, { undo: "remove-unused-device" });
  if (view.cluster.preallocWipeDisks)
    await wipeDisks(
      ctx,
      view,
      instance,
      disks.map((placed) => ({ ...placed, fromMib: 0 })),
    );
  if (!(await waitForSync(ctx, view, instance, { disks, until: waits ? "in-sync" : "connected" })))
    throw new OpExecError(`The second copies of new disks of ${instance.name} are not being made; see the nodes' logs`);
  return disks;
}

function homeOf(view: ConfigView, { uuid, primaryNode }: Instance, ctime: number): DiskHome {
  const instance = view.instances.get(uuid);
  const [secondary = null] = instance === undefined ? [] : view.secondaryNodes(instance);
  return { instance: uuid, primary: primaryNode, secondary, ctime };
}

/** New disks of an instance whose disks are not in use are left as its others are. */
export async function settleDisks(ctx: ExecContext, instance: Instance, disks: readonly PlacedDisk[]): Promise<void> {
  if (instance.disksActive || disks.length === 0) return;
  const failure = await failureOf(ctx, () => shutdownDisks(ctx, ctx.config, instance, { disks }));
  if (failure !== undefined) ctx.feedback.warning(`New disks are left active: ${failure.message}`);
}

/**
 * Disks that the configuration does not give to the instance any more: what cannot be done is told.
 * @param view, instance - as they were before
 */
export async function letGoOfDisks(
  ctx: ExecContext,
  view: ConfigView,
  instance: Instance,
  { removed, detached }: Pick<DiskChangePlan, "removed" | "detached">,
): Promise<void> {
  if (detached.length > 0) {
    const failure = await failureOf(ctx, () => shutdownDisks(ctx, view, instance, { disks: detached }));
    if (failure !== undefined) ctx.feedback.warning(`Detached disks are left active: ${failure.message}`);
  }
  if (removed.length > 0) {
    const failure = await failureOf(ctx, () => removeDisks(ctx, view, instance, removed));
    if (failure !== undefined) ctx.feedback.warning(`Removed disks are left behind: ${failure.message}`);
  }
}
