/** Devices of a running guest that come, go and change together with its configuration. */
import { ConfigurationError } from "@gannet/errors";
import type { ConfigView, Disk, Instance } from "@gannet/objects";
import { HotplugRequest_Action } from "@gannet/rpc";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { diskDevice, hotplug, plugDisk } from "./device-plugging.ts";
import type { PlacedDisk } from "./disk-ends.ts";
import { instanceMessage } from "./messages.ts";

/** What became of the guest's devices, by their UUID, in Ganeti's words; those that no guest was told of are left out. */
export type HotplugOutcomes = Map<string, "hotplug:done" | "hotplug:failed">;

const { ACTION_ADD, ACTION_REMOVE, ACTION_MODIFY } = HotplugRequest_Action;

/** Why devices of the running guest cannot be changed; undefined when they can. */
export async function hotplugObstacle(ctx: PrereqContext, instance: Instance): Promise<string | undefined> {
  const request = { name: instance.name, hypervisor: instance.hypervisor };
  const failure = await failureOf(ctx, () =>
    ctx.node(instance.primaryNode).instances.checkHotplug(request, { signal: ctx.signal }),
  );
  return failure?.message;
}

/** Take disks out of the running guest; the undo puts those back that the instance still has. */
export async function unplugDisks(ctx: ExecContext, instance: Instance, disks: readonly PlacedDisk[]): Promise<void> {
  let left = [...instance.disks];
  for (const { disk } of disks) {
    ctx.feedback.step(`taking disk/${left.indexOf(disk.uuid)} out of the running guest`);
    await ctx.undo(undoStep("plug-disk", { instance: instance.uuid, disk: disk.uuid }));
    await hotplug(ctx, instance, {
      step: ctx.step(`unplug-disk/${disk.uuid}`),
      action: ACTION_REMOVE,
      ...diskDevice(ctx.config, instance, disk, left.indexOf(disk.uuid)),
    });
    left = left.filter((uuid) => uuid !== disk.uuid);
  }
}

/** Put new disks into the running guest; one that it does not take comes with its next start. */
export async function plugDisks(
  ctx: ExecContext,
  instance: Instance,
  disks: readonly Disk[],
  outcomes: HotplugOutcomes,
): Promise<void> {
  for (const disk of disks)
    await tolerated(ctx, outcomes, disk.uuid, () => plugDisk(ctx, instance, disk, ctx.step(`plug-disk/${disk.uuid}`)));
}

/** Which NICs are gone, new and different. */
export interface ChangedNics {
  readonly before: Instance;
  readonly after: Instance;
  /** UUIDs. */
  readonly modified: ReadonlySet<string>;
}

/** Give the running guest its NICs as they are now; one that it does not take comes with its next start. */
export async function changeNicsOfGuest(
  ctx: ExecContext,
  { before, after, modified }: ChangedNics,
  outcomes: HotplugOutcomes,
): Promise<void> {
  const present = new Set(before.nics.map(({ uuid }) => uuid));
  const wanted = new Set(after.nics.map(({ uuid }) => uuid));
  let left = before.nics.map(({ uuid }) => uuid);
  const change = (uuid: string, of: Instance, action: HotplugRequest_Action, index: number) =>
    tolerated(ctx, outcomes, uuid, () =>
      hotplug(ctx, after, {
        step: ctx.step(`change-nic/${uuid}`),
        action,
        index,
        device: { $case: "nic", value: nicMessage(ctx.config, of, uuid) },
      }),
    );
  for (const uuid of left.filter((each) => !wanted.has(each))) {
    await change(uuid, before, ACTION_REMOVE, left.indexOf(uuid));
    left = left.filter((each) => each !== uuid);
  }
  for (const [index, { uuid }] of after.nics.entries())
    if (!present.has(uuid)) await change(uuid, after, ACTION_ADD, index);
    else if (modified.has(uuid)) await change(uuid, after, ACTION_MODIFY, index);
}

function nicMessage(view: ConfigView, instance: Instance, uuid: string) {
  const nic = instanceMessage(view, instance).nics.find((each) => each.uuid === uuid);
  if (nic === undefined) throw new ConfigurationError(`Instance ${instance.name} has no NIC ${uuid}`);
  return nic;
}

async function tolerated(
  ctx: ExecContext,
  outcomes: HotplugOutcomes,
  uuid: string,
  work: () => Promise<void>,
): Promise<void> {
  const failure = await failureOf(ctx, work);
  outcomes.set(uuid, failure === undefined ? "hotplug:done" : "hotplug:failed");
  if (failure === undefined) return;
  ctx.feedback.warning(`Could not change a device of the running guest: ${failure.message}`);
  ctx.feedback.info("Going on: the guest has it from its next start on");
}
