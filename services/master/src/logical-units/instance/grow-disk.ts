import { OpPrereqError } from "@gannet/errors";
import { type ConfigView, DISK_TEMPLATE_TRAITS, type Disk, type Instance } from "@gannet/objects";
import { InstanceGrowDisk, type Op } from "@gannet/opcodes";
import { HotplugRequest_Action } from "@gannet/rpc";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { instanceHooks } from "../../hooks/instance-hooks.ts";
import { wipeDisks } from "./disk-creation-steps.ts";
import { endsOf, type PlacedDisk, placedDisks } from "./disk-ends.ts";
import { checkDiskSpace, growthNeeds } from "./disk-space.ts";
import { assembleDisks, releaseDisks } from "./disk-steps.ts";
import { checkOwnSpace, hasExclusiveStorage } from "./exclusive-storage.ts";
import { diskNodeLocks, instanceLock } from "./locks.ts";
import { isRunning, knownInstance, onlineDiskNodes } from "./lookups.ts";
import { blockDeviceMessage } from "./messages.ts";
import { waitForSync } from "./mirror-steps.ts";
import { checkPolicy, useOf } from "./policy-check.ts";

/**
 * The volumes grow first, on every node, then the disk that lies on them; the configuration follows. Nothing takes a
 * growth back: one that ended half-way is asked for again.
 */
export const instanceGrowDisk = implement(InstanceGrowDisk, {
  locks(op, view) {
    const instance = view.findInstance(op.instance_name);
    return [instanceLock(view, op.instance_name), ...(instance ? diskNodeLocks(view, instance) : [])];
  },

  async checkPrereq(ctx, op) {
    const view = ctx.config;
    const instance = knownInstance(view, op.instance_name);
    const nodes = onlineDiskNodes(view, instance);
    const placed = growable(view, instance, op.disk);
    const newSizeMib = sizeAfter(placed.disk, op);
    const [primary] = nodes;
    if (!op.ignore_ipolicy && primary !== undefined) {
      const diskSizesMib = view
        .disksOf(instance)
        .map(({ sizeMib }, index) => (index === placed.index ? newSizeMib : sizeMib));
      checkPolicy(view, primary, useOf(view, instance, { diskSizesMib }));
    }
    const growthMib = newSizeMib - placed.disk.sizeMib;
    const needs = growthNeeds(placed.disk, growthMib);
    const keepsToItsOwn = placed.disk.template === "plain" && hasExclusiveStorage(view, instance.primaryNode);
    if (growthMib > 0 && keepsToItsOwn && primary !== undefined)
      await checkOwnSpace(ctx, primary, placed.disk, growthMib);
    else if (growthMib > 0 && needs.length > 0)
      await Promise.all(
        nodes.map(async (node) =>
          checkDiskSpace(
            view,
            node,
            await ctx.node(node.uuid).node.describe({ knownStorage: false }, { signal: ctx.signal }),
            needs,
          ),
        ),
      );
    return { instance, placed, newSizeMib };
  },

  hooks: (view, op, { instance }) =>
    instanceHooks(view, "disk-grow", instance, {
      environment: { DISK: op.disk, AMOUNT: op.amount, ABSOLUTE: op.absolute },
    }),

  async exec(ctx, op, { instance, placed, newSizeMib }) {
    const { index, disk } = placed;
    const wasActive = instance.disksActive;
    ctx.feedback.step(`growing disk ${index} of instance ${instance.name} from ${disk.sizeMib}M to ${newSizeMib}M`);
    await assembleDisks(ctx, ctx.config, instance, { disks: [placed] });
    // Ends that have just met may have to catch up, and do not grow meanwhile.
    if (!wasActive) await waitForSync(ctx, ctx.config, instance, { disks: [placed] });
    // The secondary first: a mirrored disk grows with the smaller of its ends.
    for (const { node, device } of endsOf(ctx.config, instance, placed).toReversed()) {
      const request = { step: ctx.step(`grow-disk/${device.uuid}/${node}`), device, newSizeMib };
      await ctx.node(node).blockDevices.grow(request, { signal: ctx.signal });
    }
    const view = await ctx.commit((now) => grown(now, disk, newSizeMib));
    const after = placedDisks(view, instance)[index] ?? placed;
    await tellGuest(ctx, instance, after);
    await ctx.releaseLocks([instance.primaryNode, ...ctx.config.secondaryNodes(instance)].map(exclusive.node));
    if (ctx.config.cluster.preallocWipeDisks && newSizeMib > disk.sizeMib)
      await wipeDisks(ctx, ctx.config, instance, [{ ...after, fromMib: disk.sizeMib }]);
    if (op.wait_for_sync) {
      if (!(await waitForSync(ctx, ctx.config, instance, { disks: [after] })))
        ctx.feedback.warning(`The second copy of disk ${index} is not in order; check the instance`);
      if (!wasActive) await releaseDisks(ctx, ctx.config, instance, { disks: [after] });
    } else if (!wasActive)
      ctx.feedback.warning(`Disk ${index} is left active, because nobody waits until it is in sync`);
    return null;
  },
});

/** @throws OpPrereqError (wrong_input) when there is no such disk, or its template cannot grow */
function growable(view: ConfigView, instance: Instance, index: number): PlacedDisk {
  if (!DISK_TEMPLATE_TRAITS[instance.diskTemplate].growable)
    throw new OpPrereqError(`Disks of template ${instance.diskTemplate} cannot be grown`, "wrong_input");
  const placed = placedDisks(view, instance)[index];
  if (placed !== undefined) return placed;
  const count = instance.disks.length;
  throw new OpPrereqError(`Instance ${instance.name} has no disk ${index}, only ${count}`, "wrong_input");
}

/** @throws OpPrereqError (wrong_state) when it would be smaller than now */
function sizeAfter({ sizeMib }: Disk, { amount, absolute }: Op<typeof InstanceGrowDisk>): number {
  if (!absolute) return sizeMib + amount;
  if (amount >= sizeMib) return amount;
  throw new OpPrereqError(
    `The disk has ${sizeMib} MiB already; it is never made smaller (${amount} MiB)`,
    "wrong_state",
  );
}

/** A mirrored disk's data volume is as large as the disk. */
function grown(view: ConfigView, { uuid }: Disk, sizeMib: number) {
  const row = view.disks.get(uuid);
  if (row === undefined) return [];
  const children = row.children.map((child, position) => (position === 0 ? { ...child, sizeMib } : child));
  return [{ kind: "disk" as const, put: { ...row, sizeMib, children } }];
}

/** A guest that cannot be told sees the new size when it is started anew. */
async function tellGuest(ctx: ExecContext, instance: Instance, { index, disk }: PlacedDisk): Promise<void> {
  if (!isRunning(ctx, instance)) return;
  const node = instance.primaryNode;
  const device = blockDeviceMessage(ctx.config, instance, disk, index, node);
  const failure = await failureOf(ctx, () =>
    ctx.node(node).instances.hotplug(
      {
        step: ctx.step(`resize-in-guest/${device.uuid}/${disk.sizeMib}`),
        name: instance.name,
        hypervisor: instance.hypervisor,
        action: HotplugRequest_Action.ACTION_RESIZE,
        device: { $case: "disk", value: device },
        index,
      },
      { signal: ctx.signal },
    ),
  );
  if (failure !== undefined)
    ctx.feedback.warning(`The guest sees the new size only once it is started anew: ${failure.message}`);
}
