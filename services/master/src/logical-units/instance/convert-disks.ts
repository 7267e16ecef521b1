/**
 * Another disk template for an instance that does not run. Between plain and DRBD the data stay where they are; between
 * all others they are copied, on the primary node.
 */
import type { ConfigChange } from "@gannet/config-store";
import { OpExecError, OpPrereqError } from "@gannet/errors";
import {
  type ConfigView,
  DISK_TEMPLATE_TRAITS,
  type Disk,
  type DiskTemplate,
  type DiskUuid,
  type Instance,
  type Node,
} from "@gannet/objects";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { onDevice, undoStep } from "../../executor/undo-actions.ts";
import { mirrorNode, usableTemplate } from "./create-plan.ts";
import { createDisks, pairEnds, renameDevice } from "./disk-creation-steps.ts";
import { type DiskEnd, endsOf, type PlacedDisk, placedDisks } from "./disk-ends.ts";
import { addedDisks, type DiskIdentity, newDiskIdentity } from "./disk-rows.ts";
import { measuredSizeMib } from "./disk-sizes.ts";
import { checkDiskSpace, newDiskNeeds, type SpaceNeed } from "./disk-space.ts";
import { removeDisks, shutdownDisks } from "./disk-steps.ts";
import { checkDisksFit } from "./exclusive-storage.ts";
import { removeDiskRows, withInstance } from "./instance-rows.ts";
import { notRunning, onlineDiskNodes } from "./lookups.ts";
import { blockDeviceMessage } from "./messages.ts";
import { waitForSync } from "./mirror-steps.ts";
import { type AskedDisk, type FileSettings, type PlannedDisk, plannedDisks } from "./planned-disks.ts";
import { checkPolicy, useOf } from "./policy-check.ts";

/** What a change of template is asked with. */
export interface AskedConversion {
  readonly template: DiskTemplate;
  /** Where second copies are to be; empty when none was named. */
  readonly secondary: string;
  readonly files: FileSettings;
  /** The provider of an `ext` disk, and what it is told. */
  readonly extParams: Readonly<Record<string, unknown>>;
  readonly ignorePolicy: boolean;
}

/** A change of template that can be carried out. */
export interface Conversion {
  readonly instance: Instance;
  readonly template: DiskTemplate;
  readonly way: "add-mirror" | "drop-mirror" | "copy";
  readonly primary: Node;
  readonly secondary: Node | null;
  readonly old: readonly PlacedDisk[];
  readonly disks: readonly PlannedDisk[];
  readonly identities: readonly DiskIdentity[];
  /** Seconds since 1970. */
  readonly ctime: number;
}

/** @throws OpPrereqError: wrong_input, wrong_state, insufficient_resources and others */
export async function planConversion(
  ctx: PrereqContext,
  instance: Instance,
  asked: AskedConversion,
): Promise<Conversion> {
  const view = ctx.config;
  const { diskTemplate: from } = instance;
  const template = usableTemplate(view, asked.template);
  if (from === template)
    throw new OpPrereqError(`Instance ${instance.name} has disk template ${template} already`, "wrong_input");
  if (!DISK_TEMPLATE_TRAITS[from].convertFrom || !DISK_TEMPLATE_TRAITS[template].convertTo)
    throw new OpPrereqError(`Disk template ${from} cannot be converted to ${template}`, "wrong_input");
  const nodes = onlineDiskNodes(view, instance);
  const [primary] = nodes;
  if (primary === undefined) throw new Error(`instance ${instance.name} has no primary node`);
  const { needsSecondary } = DISK_TEMPLATE_TRAITS[template];
  if (!needsSecondary && asked.secondary !== "")
    throw new OpPrereqError(`Disk template ${template} keeps no second copy: name no other node`, "wrong_input");
  const secondary = needsSecondary ? mirrorNode(view, asked.secondary, { template, primary }) : null;
  await notRunning(ctx, instance, "its disk template cannot be changed");
  const old = placedDisks(view, instance);
  checkDisksFit(view, { template, disks: old.map(({ disk }) => disk) }, [primary]);
  const way = wayOf(from, template);
  const disks = plannedDisks(
    view,
    await Promise.all(old.map((each) => askedDisk(ctx, instance, each, { way, asked }))),
    {
      ...{ template, instanceName: instance.name, primary, files: asked.files },
    },
  );
  if (!asked.ignorePolicy) checkPolicy(view, primary, useOf(view, instance, { diskTemplate: template }));
  const conversion = {
    ...{ instance, template, way, primary, secondary, old, disks, ctime: ctx.now() },
    // A plain volume is the same thing below DRBD, by the same UUID.
    identities: old.map(({ disk }) => identityAfter(disk, way)),
  };
  await Promise.all([primary, secondary].flatMap((node) => (node === null ? [] : [checkRoom(ctx, node, conversion)])));
  return conversion;
}

function wayOf(from: DiskTemplate, to: DiskTemplate): Conversion["way"] {
  if (from === "plain" && to === "drbd") return "add-mirror";
  return from === "drbd" && to === "plain" ? "drop-mirror" : "copy";
}

function identityAfter(disk: Disk, way: Conversion["way"]): DiskIdentity {
  const fresh = newDiskIdentity();
  if (way === "add-mirror") return { ...fresh, children: [disk.uuid, fresh.children[1]] };
  const [data] = disk.children;
  return way === "drop-mirror" && data !== undefined ? { ...fresh, uuid: data.uuid } : fresh;
}

/** The disk as it would be asked for in its new template, with room for all that its guest may have written. */
async function askedDisk(
  ctx: PrereqContext,
  instance: Instance,
  placed: PlacedDisk,
  { way, asked }: { readonly way: Conversion["way"]; readonly asked: AskedConversion },
): Promise<AskedDisk> {
  const { name, sizeMib, mode, spindles, template, logicalId } = placed.disk;
  return {
    size: way === "drop-mirror" ? sizeMib : Math.max(sizeMib, await measuredSizeMib(ctx, instance, placed)),
    mode,
    ...(name === null ? {} : { name }),
    ...(spindles === null ? {} : { spindles }),
    // Data stay in their volume group below DRBD.
    ...(template === "plain" && asked.template === "drbd" ? { vg: String(logicalId[0]) } : {}),
    ...(asked.template === "ext" ? (asked.extParams as Readonly<Record<string, string>>) : {}),
  };
}

/** What the change needs of a node: of the primary, when a mirror is added, no more than the metadata. */
async function checkRoom(ctx: PrereqContext, node: Node, { way, primary, disks }: Conversion): Promise<void> {
  const needs = disks.flatMap((disk): readonly SpaceNeed[] => {
    if (way === "drop-mirror") return [];
    const all = newDiskNeeds(disk);
    return way === "add-mirror" && node.uuid === primary.uuid ? all.slice(1) : all;
  });
  if (needs.length === 0) return;
  checkDiskSpace(
    ctx.config,
    node,
    await ctx.node(node.uuid).node.describe({ knownStorage: false }, { signal: ctx.signal }),
    needs,
  );
}

/**
 * Carry it out. Until the configuration names the new disks everything is undone when it fails; what then cannot be
 * removed of the old ones is told.
 * @throws OpExecError when a second copy is not being made
 */
export async function convertDisks(
  ctx: ExecContext,
  conversion: Conversion,
  { waitForSync: waits }: { readonly waitForSync: boolean },
): Promise<void> {
  const { instance, template, way } = conversion;
  ctx.feedback.step(`changing the disk template of ${instance.name} from ${instance.diskTemplate} to ${template}`);
  await shutdownDisks(ctx, ctx.config, instance, { secondaries: "required" });
  if (way === "drop-mirror") await dropMirror(ctx, conversion);
  else {
    const disks = await reserveDisks(ctx, conversion);
    if (way === "add-mirror") await addMirror(ctx, conversion, disks);
    else await copyDisks(ctx, conversion, disks);
    await takeOver(ctx, conversion, disks);
    if (way === "copy") await removeOld(ctx, conversion);
    await settle(ctx, instance, disks, waits);
  }
}

async function reserveDisks(ctx: ExecContext, conversion: Conversion): Promise<readonly PlacedDisk[]> {
  const { instance, primary, secondary, disks, identities, ctime } = conversion;
  const uuids = identities.map(({ uuid }) => uuid);
  await ctx.undo(undoStep("remove-disk-rows", { disks: uuids }));
  const home = { instance: instance.uuid, primary: primary.uuid, secondary: secondary?.uuid ?? null, ctime };
  const view = await ctx.commit((now) => addedDisks(now, home, disks, identities));
  return placedRows(view, uuids);
}

function placedRows(view: ConfigView, uuids: readonly DiskUuid[]): readonly PlacedDisk[] {
  return uuids.map((uuid, index) => {
    const disk = view.disks.get(uuid);
    if (disk === undefined) throw new Error(`the row of disk ${uuid} is missing after its commit`);
    return { index, disk };
  });
}

/** Put plain volumes below new DRBD disks. Undoing it never touches the data. */
async function addMirror(ctx: ExecContext, { instance, old }: Conversion, disks: readonly PlacedDisk[]): Promise<void> {
  const view = ctx.config;
  for (const placed of disks) {
    const [data, metadata] = placed.disk.children;
    const before = old[placed.index]?.disk;
    if (data === undefined || metadata === undefined || before === undefined)
      throw new Error(`disk ${placed.index} has not the volumes of a DRBD disk`);
    ctx.feedback.step(`disk ${placed.index}: adding a second copy`);
    const [primaryEnd, ...secondaryEnds] = endsOf(view, instance, placed);
    if (primaryEnd === undefined) throw new Error(`disk ${placed.index} has no end`);
    for (const end of secondaryEnds) await createEnd(ctx, end, "remove-block-device");
    const renamed = { index: placed.index, disk: data };
    await renameDevice(ctx, view, instance, renamed, { from: before.logicalId, was: before });
    const { node } = primaryEnd;
    const metadataDevice = blockDeviceMessage(view, instance, metadata, placed.index, node);
    await ctx.undo(undoStep("remove-block-device", onDevice(node, metadataDevice)));
    await createEnd(ctx, primaryEnd, "shutdown-block-device");
    await pairEnds(ctx, [...secondaryEnds, primaryEnd]);
  }
}

async function createEnd(
  ctx: ExecContext,
  { node, device }: DiskEnd,
  undo: "remove-block-device" | "shutdown-block-device",
): Promise<void> {
  await ctx.undo(undoStep(undo, onDevice(node, device)));
  const request = { step: ctx.step(`create-disk/${device.uuid}/${node}`), device };
  await ctx.node(node).blockDevices.create(request, { signal: ctx.signal });
}

async function copyDisks(ctx: ExecContext, { instance, old }: Conversion, disks: readonly PlacedDisk[]): Promise<void> {
  const view = ctx.config;
  const node = instance.primaryNode;
  await createDisks(ctx, view, instance, disks, { undo: "remove-unused-device" });
  for (const { index, disk } of disks) {
    const before = old[index]?.disk;
    if (before === undefined) throw new Error(`disk ${index} has nothing to be copied from`);
    ctx.feedback.step(`copying disk ${index}, ${disk.sizeMib}M`);
    const source = blockDeviceMessage(view, instance, before, index, node);
    const target = blockDeviceMessage(view, instance, disk, index, node);
    await ctx.undo(undoStep("shutdown-block-device", onDevice(node, source)));
    const request = { step: ctx.step(`copy-disk/${source.uuid}/${target.uuid}`), source, target };
    await ctx.node(node).blockDevices.convert(request, { signal: ctx.signal });
  }
}

/** From here on the instance has the new disks. */
async function takeOver(ctx: ExecContext, conversion: Conversion, disks: readonly PlacedDisk[]): Promise<void> {
  const { instance, template, old, secondary } = conversion;
  await ctx.commit((view) => [
    ...withInstance(view, instance.uuid, (row) => ({
      ...row,
      disks: disks.map(({ disk }) => disk.uuid),
      diskTemplate: template,
      disksActive: secondary !== null,
    })),
    ...removeDiskRows(
      view,
      old.map(({ disk }) => disk.uuid),
    ),
  ]);
  await ctx.pointOfNoReturn();
}

async function removeOld(ctx: ExecContext, { instance, old }: Conversion): Promise<void> {
  const failure =
    (await failureOf(ctx, () => shutdownAgain(ctx, instance, old))) ??
    (await failureOf(ctx, () => removeDisks(ctx, ctx.config, instance, old)));
  if (failure !== undefined) ctx.feedback.warning(`Old disks are left behind: ${failure.message}`);
}

/** The copying made them usable once more; the step must differ from the one before it. */
async function shutdownAgain(ctx: ExecContext, instance: Instance, old: readonly PlacedDisk[]): Promise<void> {
  for (const { node, device } of old.flatMap((placed) => endsOf(ctx.config, instance, placed))) {
    const request = { step: ctx.step(`shutdown-copied-disk/${device.uuid}/${node}`), device };
    await ctx.node(node).blockDevices.shutdown(request, { signal: ctx.signal });
  }
}

/** Volumes of DRBD disks become plain disks; the rest of what DRBD had is removed. */
async function dropMirror(ctx: ExecContext, conversion: Conversion): Promise<void> {
  const { instance, template, old, ctime } = conversion;
  const plain = old.map(({ disk }): Disk => {
    const [data] = disk.children;
    if (data === undefined) throw new OpExecError(`Disk ${disk.uuid} has no data volume`);
    const { name, mode, spindles, ivName } = disk;
    const nodes = [instance.primaryNode];
    return { ...data, ...{ name, mode, spindles, ivName, nodes }, children: [], ctime, mtime: ctime, serialNo: 0 };
  });
  const before = ctx.config;
  await ctx.commit((view) => [
    ...plain.map((disk): ConfigChange => ({ kind: "disk", put: disk })),
    ...withInstance(view, instance.uuid, (row) => ({
      ...row,
      disks: plain.map(({ uuid }) => uuid),
      diskTemplate: template,
      disksActive: false,
    })),
    ...removeDiskRows(
      view,
      old.map(({ disk }) => disk.uuid),
    ),
  ]);
  await ctx.pointOfNoReturn();
  for (const placed of old) {
    const ends = endsOf(before, instance, placed);
    for (const end of ends.filter(({ role }) => role === "secondary")) await removeRest(ctx, end, end.device);
    const [primaryEnd] = ends;
    const metadata = primaryEnd?.device.children[1];
    if (primaryEnd !== undefined && metadata !== undefined) await removeRest(ctx, primaryEnd, metadata);
  }
}

async function removeRest(ctx: ExecContext, { node, title }: DiskEnd, device: DiskEnd["device"]): Promise<void> {
  const request = { step: ctx.step(`remove-disk/${device.uuid}/${node}`), device };
  const failure = await failureOf(ctx, () => ctx.node(node).blockDevices.remove(request, { signal: ctx.signal }));
  if (failure !== undefined) ctx.feedback.warning(`Left behind what was of ${title}: ${failure.message}`);
}

/** New second copies are filled; then the disks of an instance that does not run are released. */
async function settle(ctx: ExecContext, { uuid }: Instance, disks: readonly PlacedDisk[], waits: boolean) {
  const view = ctx.config;
  const instance = view.instances.get(uuid);
  if (instance === undefined) throw new Error(`instance ${uuid} is gone while its disks are changed`);
  const nodes = [instance.primaryNode, ...view.secondaryNodes(instance)];
  await ctx.releaseLocks(nodes.map(exclusive.node));
  const until = waits ? "in-sync" : "connected";
  if (!(await waitForSync(ctx, view, instance, { disks, until })))
    throw new OpExecError(`The second copies of the disks of ${instance.name} are not being made; see the nodes' logs`);
  if (!waits && instance.disksActive) {
    ctx.feedback.warning("The disks are left active, because nobody waits until they are in sync");
    return;
  }
  // The template is changed, whatever becomes of this: what is still active is recorded as that.
  const failure = await failureOf(ctx, () => shutdownDisks(ctx, view, instance, { disks }));
  if (failure !== undefined) ctx.feedback.warning(`The disks are left active: ${failure.message}`);
  await ctx.commit((now) => withInstance(now, uuid, (row) => ({ ...row, disksActive: failure !== undefined })));
}
