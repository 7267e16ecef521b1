/**
 * How a migration is brought to its end: forwards when the guest runs on the target, else back. Both nodes are asked
 * every time, so that it does not matter who died, when, and how often this is repeated.
 */
import { allEnded, HypervisorError } from "@gannet/errors";
import { type ConfigView, DISK_TEMPLATE_TRAITS, type Instance, type NodeUuid } from "@gannet/objects";
import type { InstanceState } from "@gannet/rpc";
import type { ExecContext } from "../../executor/context.ts";
import { type DiskEnd, endsOf, placedDisks } from "./disk-ends.ts";
import { withInstance } from "./instance-rows.ts";
import { blockDeviceMessage, instanceMessage } from "./messages.ts";

/** What settling needs: an undo action has no more. */
export type SettlingContext = Pick<ExecContext, "config" | "commit" | "node" | "step" | "feedback" | "live" | "signal">;

/** A migration by names that outlive the process that began it. */
export interface Migration {
  readonly instance: Instance;
  readonly source: NodeUuid;
  readonly target: NodeUuid;
}

/** Names the steps of one use: each is unique in its opcode. */
export type Steps = (what: string) => ReturnType<ExecContext["step"]>;

/**
 * Forwards when the guest has been finished on the target, which shows none before, else back. Idempotent.
 * @param step - begins the names of its steps
 */
export async function settleMigration(ctx: SettlingContext, migration: Migration, step: string): Promise<void> {
  const steps = (what: string) => ctx.step(`${step}/${what}`);
  const { status } = await stateOn(ctx, migration.instance, migration.target);
  if (status === "running" || status === "paused") await complete(ctx, migration, steps);
  else await revert(ctx, migration, steps);
}

/** The guest has arrived: the target is its primary node from now on. The source goes last: until then it holds it. */
export async function complete(ctx: SettlingContext, migration: Migration, steps: Steps): Promise<void> {
  const { instance, source, target } = migration;
  const { name, hypervisor } = instance;
  const moved = { ...instance, primaryNode: target };
  await finishTarget(ctx, { ...migration, instance: moved }, { succeeded: true }, steps);
  const view = await ctx.commit((current) =>
    withInstance(current, instance.uuid, (row) => ({ ...row, primaryNode: target })),
  );
  const finish = { step: steps("finish-source"), name, hypervisor, succeeded: true };
  const [state, gone] = await allEnded([
    stateOn(ctx, instance, target),
    ctx.node(source).instances.finishMigrationSource(finish, { signal: ctx.signal }),
  ]);
  ctx.live.noteInstanceGone(source, name, gone.asOfMs);
  ctx.live.noteInstance(target, state);
  await letOneUseDisks(ctx, view, { instance: moved, other: source }, steps);
}

/** The guest stays where it was. */
async function revert(ctx: SettlingContext, migration: Migration, steps: Steps): Promise<void> {
  const { instance, source, target } = migration;
  const { name, hypervisor } = instance;
  const here = { ...instance, primaryNode: source };
  try {
    await finishTarget(ctx, { ...migration, instance: here }, { succeeded: false }, steps);
  } catch (error) {
    // A guest that was sent after its start there (postcopy) runs on the target by itself, and must stay.
    if (error instanceof HypervisorError) return complete(ctx, migration, steps);
    throw error;
  }
  await ctx
    .node(source)
    .instances.finishMigrationSource(
      { step: steps("revert-source"), name, hypervisor, succeeded: false },
      { signal: ctx.signal },
    );
  await letOneUseDisks(ctx, ctx.config, { instance: here, other: target }, steps);
}

async function finishTarget(
  ctx: SettlingContext,
  { instance, target }: Migration,
  { succeeded }: { readonly succeeded: boolean },
  steps: Steps,
): Promise<void> {
  const step = steps(succeeded ? "finish-target" : "revert-target");
  const message = instanceMessage(ctx.config, instance, target);
  await ctx
    .node(target)
    .instances.finishMigrationTarget({ step, instance: message, succeeded }, { signal: ctx.signal });
}

/** The instance's primary node goes on alone with its disks; the other node lets go of them. */
async function letOneUseDisks(
  ctx: SettlingContext,
  view: ConfigView,
  { instance, other }: { readonly instance: Instance; readonly other: NodeUuid },
  steps: Steps,
): Promise<void> {
  const ends = mirroredEnds(view, instance);
  if (ends.length > 0) ctx.feedback.step("changing disks into single-master mode");
  for (const end of ends.filter(({ node }) => node === other)) await standBy(ctx, end, steps);
  await allEnded(ends.map((end) => connect(ctx, end, { dualPrimary: false }, steps)));
  for (const { disk, index } of placedDisks(view, instance)) {
    if (DISK_TEMPLATE_TRAITS[disk.template].mirroring !== "external") continue;
    const device = blockDeviceMessage(view, instance, disk, index, other);
    const request = { step: steps(`shutdown-disk/${device.uuid}/${other}`), device };
    await ctx.node(other).blockDevices.shutdown(request, { signal: ctx.signal });
  }
}

/** The ends of the disks that keep a second copy themselves. */
export function mirroredEnds(view: ConfigView, instance: Instance): readonly DiskEnd[] {
  return placedDisks(view, instance)
    .filter(({ disk }) => DISK_TEMPLATE_TRAITS[disk.template].mirroring === "internal")
    .flatMap((placed) => endsOf(view, instance, placed));
}

/** Make an end the secondary, connected. */
export async function standBy(ctx: SettlingContext, { node, device }: DiskEnd, steps: Steps): Promise<void> {
  const request = { step: steps(`stand-by/${device.uuid}/${node}`), device };
  await ctx.node(node).blockDevices.standBy(request, { signal: ctx.signal });
}

/** Let both ends be primary, or one only. */
export async function connect(
  ctx: SettlingContext,
  { node, device }: DiskEnd,
  { dualPrimary }: { readonly dualPrimary: boolean },
  steps: Steps,
): Promise<void> {
  const how = dualPrimary ? "dual" : "single";
  const request = { step: steps(`connect-${how}/${device.uuid}/${node}`), device, dualPrimary };
  await ctx.node(node).blockDevices.connect(request, { signal: ctx.signal });
}

/** The guest as a node knows it; `shutdown` where the node knows nothing of it. */
export async function stateOn(ctx: SettlingContext, instance: Instance, node: NodeUuid): Promise<InstanceState> {
  const { name, hypervisor } = instance;
  return await ctx.node(node).instances.state({ name, hypervisor }, { signal: ctx.signal });
}
