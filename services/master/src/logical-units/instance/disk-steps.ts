/** Steps on an instance's disks that several operations are made of; each on all nodes that the disk is on. */
import { OpExecError } from "@gannet/errors";
import type { ConfigView, Instance, NodeUuid } from "@gannet/objects";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { onDevice, undoStep } from "../../executor/undo-actions.ts";
import { type DiskEnd, endsOf, type PlacedDisk, placedDisks } from "./disk-ends.ts";
import type { DiskOwner } from "./messages.ts";

/** Which of an instance's disks; all when absent. */
interface WhichDisks {
  readonly disks?: readonly PlacedDisk[];
}

/** A disk that can be used on its primary node. */
export interface AssembledDisk {
  readonly index: number;
  readonly node: NodeUuid;
  readonly path: string;
}

/** Whether the failure of a secondary ends the operation. */
interface Secondaries {
  readonly secondaries?: "required" | "tolerated";
  /** A node that has not answered before: it is not waited for again. */
  readonly silent?: NodeUuid | undefined;
}

/**
 * Make ready for the disks' use on the primary node, which its agent makes usable when it starts the guest: their
 * secondaries stand by. Where the disks were not active, the undo takes them down again on all nodes. Secondaries that
 * are marked offline are told of and left alone.
 * @param instance - as it was before: `disksActive` tells whether there is something to undo
 * @throws OpExecError when a secondary fails and may not, naming the way out
 */
export async function prepareDisks(
  ctx: ExecContext,
  view: ConfigView,
  instance: Instance,
  { disks = placedDisks(view, instance), secondaries = "required", silent }: WhichDisks & Secondaries = {},
): Promise<void> {
  for (const end of disks.flatMap((placed) => endsOf(view, instance, placed))) {
    if (end.node === silent || (end.role === "secondary" && isOffline(ctx, view, end))) continue;
    if (!instance.disksActive) await ctx.undo(undoStep("shutdown-block-device", onDevice(end.node, end.device)));
    if (end.role === "primary") continue;
    const failure = await failureOf(ctx, () => standBy(ctx, end));
    if (failure === undefined) continue;
    if (secondaries === "required")
      throw new OpExecError(
        `Could not prepare ${end.title} as secondary: ${failure.message}; with force the operation goes on without it`,
        { cause: failure },
      );
    ctx.feedback.warning(`Could not prepare ${end.title} as secondary, going on without it: ${failure.message}`);
  }
}

/**
 * Make the disks usable on the primary node, all else as {@link prepareDisks}.
 * @throws OpExecError as there; what the primary's agent throws
 */
export async function assembleDisks(
  ctx: ExecContext,
  view: ConfigView,
  instance: Instance,
  which: WhichDisks & Secondaries = {},
): Promise<readonly AssembledDisk[]> {
  await prepareDisks(ctx, view, instance, which);
  const assembled: AssembledDisk[] = [];
  for (const placed of which.disks ?? placedDisks(view, instance))
    for (const end of endsOf(view, instance, placed).filter(({ role }) => role === "primary"))
      assembled.push({ index: end.index, node: end.node, path: await assemble(ctx, end) });
  return assembled;
}

/** Bring one end up as the secondary. */
export async function standBy(ctx: ExecContext, { node, device }: DiskEnd): Promise<void> {
  const request = { step: ctx.step(`stand-by-disk/${device.uuid}/${node}`), device };
  await ctx.node(node).blockDevices.standBy(request, { signal: ctx.signal });
}

async function assemble(ctx: ExecContext, { node, device }: DiskEnd): Promise<string> {
  const request = { step: ctx.step(`assemble-disk/${device.uuid}/${node}`), device };
  return (await ctx.node(node).blockDevices.assemble(request, { signal: ctx.signal })).path;
}

/**
 * The opposite of assembling; the data stay. All disks are tried, on the primary node first.
 * @param secondaries - `tolerated`: what fails there is told and no more
 * @throws OpExecError naming all that failed
 */
export async function shutdownDisks(
  ctx: ExecContext,
  view: ConfigView,
  instance: Instance,
  { disks = placedDisks(view, instance), secondaries = "tolerated" }: WhichDisks & Secondaries = {},
): Promise<void> {
  await onAllEnds(ctx, view, instance, disks, {
    what: "shut down",
    secondaries,
    async work({ node, device }) {
      const request = { step: ctx.step(`shutdown-disk/${device.uuid}/${node}`), device };
      await ctx.node(node).blockDevices.shutdown(request, { signal: ctx.signal });
    },
  });
}

/** Shut down disks after work that is done, whatever becomes of this: what fails is told. */
export async function releaseDisks(
  ctx: ExecContext,
  view: ConfigView,
  instance: Instance,
  which: WhichDisks = {},
): Promise<void> {
  const failure = await failureOf(ctx, () => shutdownDisks(ctx, view, instance, which));
  if (failure !== undefined) ctx.feedback.warning(`The disks are left active: ${failure.message}`);
}

/**
 * Destroy disks and their data. All are tried; what lies on a secondary that is marked offline stays there.
 * @throws OpExecError naming all that failed
 */
export async function removeDisks(
  ctx: ExecContext,
  view: ConfigView,
  owner: DiskOwner,
  disks: readonly PlacedDisk[],
): Promise<void> {
  await onAllEnds(ctx, view, owner, disks, {
    what: "remove",
    secondaries: "required",
    async work({ node, device }) {
      const request = { step: ctx.step(`remove-disk/${device.uuid}/${node}`), device };
      await ctx.node(node).blockDevices.remove(request, { signal: ctx.signal });
    },
  });
}

async function onAllEnds(
  ctx: ExecContext,
  view: ConfigView,
  owner: DiskOwner,
  disks: readonly PlacedDisk[],
  {
    what,
    secondaries,
    work,
  }: {
    readonly what: string;
    readonly secondaries: "required" | "tolerated";
    readonly work: (end: DiskEnd) => Promise<void>;
  },
): Promise<void> {
  const failures: string[] = [];
  for (const end of disks.flatMap((placed) => endsOf(view, owner, placed))) {
    if (end.role === "secondary" && isOffline(ctx, view, end)) continue;
    const failure = await failureOf(ctx, () => work(end));
    if (failure === undefined) continue;
    const text = `Could not ${what} ${end.title}: ${failure.message}`;
    if (end.role === "secondary" && secondaries === "tolerated") ctx.feedback.warning(text);
    else failures.push(text);
  }
  if (failures.length > 0) throw new OpExecError(failures.join("; "));
}

/** Have the storage note the instance's name, which is another now. For people: where it fails, that is told. */
export async function noteInstance(ctx: ExecContext, view: ConfigView, instance: Instance): Promise<void> {
  for (const end of placedDisks(view, instance).flatMap((placed) => endsOf(view, instance, placed))) {
    if (isOffline(ctx, view, end)) continue;
    const { node, device, title } = end;
    const request = { step: ctx.step(`note-instance/${device.uuid}/${node}`), device };
    const failure = await failureOf(ctx, () => ctx.node(node).blockDevices.setInfo(request, { signal: ctx.signal }));
    if (failure !== undefined) ctx.feedback.warning(`Error setting info of ${title}: ${failure.message}`);
  }
}

/** Whether the end's node is marked offline, which is told. */
function isOffline(ctx: ExecContext, view: ConfigView, { node, title }: DiskEnd): boolean {
  if (view.nodes.get(node)?.offline !== true) return false;
  ctx.feedback.warning(`Left alone ${title}: the node is marked offline`);
  return true;
}
