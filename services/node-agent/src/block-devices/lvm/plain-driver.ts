/**
 * Disks that are logical volumes: template `plain` (spec/node-ops.json, `storage.lvm`). DRBD's volumes are such, too.
 *
 * Each volume has its owner noted in a tag (tags.ts). One that has none, because Ganeti made it or an operator did,
 * is taken over when it is first used; before, it is removed only when Ganeti's tag tells that it is this instance's.
 *
 * On a node with exclusive storage the master gives the parameter `exclusive_storage`, and `spindles` where the disk
 * asks for a number: such a disk takes whole physical volumes.
 */
import { randomUUID } from "node:crypto";
import { stat } from "node:fs/promises";
import path from "node:path";
import type {
  AdoptingDriver,
  AttachedDevice,
  BlockDeviceDriver,
  BlockDeviceSpec,
  LabellingDriver,
  RenamingDriver,
  SnapshottingDriver,
} from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import type { LogicalId } from "@gannet/objects";
import type { Logger } from "@gannet/telemetry";
import { undefinedWhenMissing } from "../../errno.ts";
import { BYTES_PER_MIB, describeDevice, possibleBytes, requireUuid } from "../describe-device.ts";
import {
  activateVolume,
  changeTags,
  createSnapshot,
  createVolume,
  extendVolume,
  GROW_POLICIES,
  removeVolume,
  renameVolume,
} from "./commands.ts";
import type { Lvm } from "./lvm.ts";
import { fullName, isVolumeName, type VolumeName, volumeNameOf } from "./names.ts";
import { isExclusive, physicalVolumesFor } from "./placement.ts";
import { isActive, isOpen, isOrdinary, isWritable, type LogicalVolume } from "./reports.ts";
import { changesOf, ownerOf, tagsOf } from "./tags.ts";

export interface PlainDriverOptions {
  readonly lvm: Lvm;
  /** `/dev` */
  readonly deviceFolder: string;
  readonly logger: Logger;
}

/** What lvcreate says of a name that is taken (lvm2, lib/metadata/lv_manip.c). */
const ALREADY_THERE = /already exists in volume group/;

export type PlainDriver = BlockDeviceDriver &
  VolumeMaker &
  RenamingDriver &
  LabellingDriver &
  SnapshottingDriver &
  AdoptingDriver;

/** For a driver whose disks are made of volumes. */
export interface VolumeMaker {
  /** As `create`, and tells whether the volume was there already. A volume that was made is active. */
  make(device: BlockDeviceSpec, signal: AbortSignal): Promise<"made" | "was there">;
}

export function createPlainDriver({ lvm, deviceFolder, logger }: PlainDriverOptions): PlainDriver {
  async function make(device: BlockDeviceSpec, signal: AbortSignal): Promise<"made" | "was there"> {
    const place = placeOf(device);
    const sizeBytes = possibleBytes(device, device.sizeMib);
    if (await isCreatedAtOnce(device, place, signal)) return "made";
    const present = await find(place, signal);
    if (present !== undefined) {
      acceptRepeat(device, present, sizeBytes);
      return "was there";
    }
    const physicalVolumes = await physicalVolumesFor(device, place.volumeGroup, sizeBytes, lvm, signal);
    await using undo = new AsyncDisposableStack();
    undo.defer(() => quietly(device, () => removeOwn(device, place)));
    await createStriped(device, place, physicalVolumes, signal);
    await deviceOf(device, place, "created");
    signal.throwIfAborted();
    undo.move();
    return "made";
  }

  /**
   * Where LVM chooses the place itself, and no device of the name is there, LVM is asked without a look at what there
   * is: a report reads all volumes of the node, and takes as long as the creation.
   * @returns false when that cannot be, or LVM refuses it
   */
  async function isCreatedAtOnce(device: BlockDeviceSpec, place: VolumeName, signal: AbortSignal): Promise<boolean> {
    if (stripesOf(device) > 1 || isExclusive(device) || (await isPresent(place))) return false;
    await using undo = new AsyncDisposableStack();
    undo.defer(() => quietly(device, () => removeOwn(device, place)));
    const options = { sizeMib: device.sizeMib, stripes: 1, tags: tagsOf(device), physicalVolumes: [] };
    const command = createVolume(place, options);
    const { succeeded, text } = await lvm.attempt(command, `${describeDevice(device)}: not created`, signal);
    if (succeeded) {
      await deviceOf(device, place, "created");
      signal.throwIfAborted();
    }
    if (succeeded || ALREADY_THERE.test(text)) undo.move();
    return succeeded;
  }

  async function isPresent({ volumeGroup, name }: VolumeName): Promise<boolean> {
    return (await stat(path.join(deviceFolder, volumeGroup, name)).catch(undefinedWhenMissing)) !== undefined;
  }

  async function create(device: BlockDeviceSpec, signal: AbortSignal): Promise<void> {
    await make(device, signal);
  }

  /** As many stripes as asked for, or as there can be. */
  async function createStriped(
    device: BlockDeviceSpec,
    place: VolumeName,
    physicalVolumes: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const failures: string[] = [];
    for (let stripes = Math.min(stripesOf(device), physicalVolumes.length); stripes > 0; stripes -= 1) {
      const options = { sizeMib: device.sizeMib, stripes, tags: tagsOf(device), physicalVolumes };
      const answer = await lvm.attempt(createVolume(place, options), `${describeDevice(device)}: not created`, signal);
      if (answer.succeeded) return;
      failures.push(answer.text.trim());
    }
    throw new BlockDeviceError(`${describeDevice(device)} could not be created, lvcreate says: ${told(failures)}`);
  }

  /** @throws BlockDeviceError when what is there is not what would be created */
  function acceptRepeat(device: BlockDeviceSpec, present: LogicalVolume, sizeBytes: number): void {
    const owner = ownerOf(present.tags);
    if (owner === undefined)
      throw new BlockDeviceError(
        `${describeDevice(device)} cannot be created: a volume that is no disk of this cluster bears the name`,
      );
    refuseAnothers(device, present);
    if (present.sizeBytes !== sizeBytes && present.sizeBytes !== roundedUp(sizeBytes, present))
      throw new BlockDeviceError(
        `${describeDevice(device)} exists already with ${mib(present.sizeBytes)} MiB instead of ${device.sizeMib}`,
      );
  }

  async function assemble(device: BlockDeviceSpec, signal: AbortSignal): Promise<AttachedDevice> {
    const place = placeOf(device);
    const volume = await claimed(device, place, signal);
    if (!isActive(volume)) await lvm.run(activateVolume(place), `${describeDevice(device)}: not activated`, signal);
    return deviceOf(device, place, "activated");
  }

  async function shutdown(device: BlockDeviceSpec, signal: AbortSignal): Promise<void> {
    // Volumes stay active, as Ganeti leaves them: LVM activates all at boot anyway.
    placeOf(device);
    signal.throwIfAborted();
  }

  async function remove(device: BlockDeviceSpec, signal: AbortSignal): Promise<void> {
    const place = placeOf(device);
    const volume = await find(place, signal);
    if (volume === undefined) return;
    refuseAnothers(device, volume);
    if (!volume.tags.some((tag) => (tagsOf(device) as readonly string[]).includes(tag)))
      throw new BlockDeviceError(
        `${describeDevice(device)} is a volume that is not known to belong to this disk, and was left alone; remove it by hand, or activate the disk once, which takes it over`,
      );
    await removeVolumeAt(device, place, signal);
  }

  async function removeVolumeAt(device: BlockDeviceSpec, place: VolumeName, signal: AbortSignal): Promise<void> {
    await lvm.run(removeVolume(place), `${describeDevice(device)}: ${fullName(place)} not removed`, signal);
    if ((await find(place, signal)) !== undefined)
      throw new BlockDeviceError(
        `${describeDevice(device)}: lvremove reported success, but ${fullName(place)} still exists`,
      );
  }

  async function grow(device: BlockDeviceSpec, newSizeMib: number, signal: AbortSignal): Promise<void> {
    const place = placeOf(device);
    const newBytes = possibleBytes(device, newSizeMib);
    const volume = await claimed(device, place, signal);
    const target = roundedUp(newBytes, volume);
    if (volume.sizeBytes > target)
      throw new BlockDeviceError(
        `${describeDevice(device)} has ${mib(volume.sizeBytes)} MiB already and is never made smaller (${newSizeMib} MiB were asked for)`,
      );
    if (volume.sizeBytes === target) return;
    await extend(device, place, { volume, target }, signal);
    const grown = await find(place, signal);
    if (grown === undefined || grown.sizeBytes < target)
      throw new BlockDeviceError(
        `${describeDevice(device)}: lvextend reported success, but it has ${mib(grown?.sizeBytes ?? 0)} MiB`,
      );
  }

  async function extend(
    device: BlockDeviceSpec,
    place: VolumeName,
    { volume, target }: { readonly volume: LogicalVolume; readonly target: number },
    signal: AbortSignal,
  ): Promise<void> {
    const missing = target - volume.sizeBytes;
    if (missing > volume.groupFreeBytes)
      throw new BlockDeviceError(
        `${describeDevice(device)} cannot be grown: volume group ${place.volumeGroup} has ${mib(volume.groupFreeBytes)} MiB free, ${mib(missing)} are needed`,
      );
    // With exclusive storage a disk keeps to the physical volumes that it has.
    const physicalVolumes = isExclusive(device) ? volume.devices : [];
    const failures: string[] = [];
    for (const policy of GROW_POLICIES) {
      const command = extendVolume(place, { toKib: target / 1024, policy, physicalVolumes });
      const answer = await lvm.attempt(command, `${describeDevice(device)}: not grown`, signal);
      if (answer.succeeded) return;
      failures.push(answer.text.trim());
    }
    throw new BlockDeviceError(`${describeDevice(device)} could not be grown, lvextend says: ${told(failures)}`);
  }

  async function status(device: BlockDeviceSpec, signal: AbortSignal) {
    const volume = await find(placeOf(device), signal);
    const owner = volume && ownerOf(volume.tags);
    if (volume === undefined || (owner !== undefined && owner !== device.uuid)) return { exists: false, sizeMib: 0 };
    return { exists: true, sizeMib: mib(volume.sizeBytes) };
  }

  async function space(signal: AbortSignal) {
    if (!(await lvm.isInstalled())) return [];
    const { volumeGroups } = await lvm.knownStorage(signal);
    return volumeGroups.filter(isWritable).map(({ name, sizeBytes, freeBytes }) => ({
      ...{ type: "lvm-vg" as const, name },
      ...{ totalMib: mib(sizeBytes), freeMib: mib(freeBytes) },
    }));
  }

  /** The tags first: a rename that was cut short between the two is found under its old name, and done again. */
  async function rename(device: BlockDeviceSpec, to: LogicalId, signal: AbortSignal): Promise<void> {
    const from = placeOf(device);
    const target = placeOf({ ...device, logicalId: to });
    if (target.volumeGroup !== from.volumeGroup)
      throw new BlockDeviceError(
        `${describeDevice(device)} cannot be renamed to ${fullName(target)}: a volume stays in its volume group`,
      );
    if (target.name === from.name) return void (await claimed(device, from, signal));
    const [volume, bearer] = await Promise.all([find(from, signal), find(target, signal)]);
    // One without an owner may be what an undo gives its own name back to, before it had another.
    if (volume === undefined && bearer !== undefined && [device.uuid, undefined].includes(ownerOf(bearer.tags))) return;
    if (volume === undefined) throw new BlockDeviceError(`${describeDevice(device)} does not exist`);
    if (bearer !== undefined)
      throw new BlockDeviceError(
        `${describeDevice(device)} cannot be renamed to ${fullName(target)}: another volume bears the name`,
      );
    await own(device, from, volume, signal);
    await lvm.run(renameVolume(from, target.name), `${describeDevice(device)}: not renamed`, signal);
    if ((await find(target, signal)) === undefined)
      throw new BlockDeviceError(
        `${describeDevice(device)}: lvrename reported success, but there is no ${fullName(target)}`,
      );
  }

  async function setInfo(device: BlockDeviceSpec, signal: AbortSignal): Promise<void> {
    const place = placeOf(device);
    const volume = await find(place, signal);
    if (volume === undefined) throw new BlockDeviceError(`${describeDevice(device)} does not exist`);
    refuseAnothers(device, volume);
    await own(device, place, volume, signal);
  }

  async function snapshot(
    device: BlockDeviceSpec,
    options: { readonly name?: string; readonly sizeMib: number },
    signal: AbortSignal,
  ): Promise<BlockDeviceSpec> {
    const place = placeOf(device);
    const name = options.name ?? `${place.name}.snap`;
    if (!isVolumeName(name))
      throw new BlockDeviceError(`${describeDevice(device)}: ${JSON.stringify(name)} is no name for a snapshot`);
    const sizeBytes = possibleBytes(device, options.sizeMib);
    const taken: BlockDeviceSpec = { ...device, uuid: randomUUID(), logicalId: [place.volumeGroup, name] };
    const takenPlace = { volumeGroup: place.volumeGroup, name };
    const origin = await claimed(device, place, signal);
    await removeOlder(device, origin, takenPlace, signal);
    if (sizeBytes > origin.groupFreeBytes)
      throw new BlockDeviceError(
        `${describeDevice(device)}: no snapshot, volume group ${place.volumeGroup} has ${mib(origin.groupFreeBytes)} MiB free, ${options.sizeMib} are needed`,
      );
    await using undo = new AsyncDisposableStack();
    undo.defer(() => quietly(taken, () => removeOwn(taken, takenPlace)));
    const command = createSnapshot(place, { name, sizeMib: options.sizeMib, tags: tagsOf(taken) });
    await lvm.run(command, `${describeDevice(device)}: no snapshot`, signal);
    await deviceOf(taken, takenPlace, "created");
    signal.throwIfAborted();
    undo.move();
    return taken;
  }

  /** @throws BlockDeviceError when what bears the snapshot's name is none of this volume */
  async function removeOlder(
    device: BlockDeviceSpec,
    origin: LogicalVolume,
    place: VolumeName,
    signal: AbortSignal,
  ): Promise<void> {
    const older = await find(place, signal);
    if (older === undefined) return;
    if (older.origin !== origin.name)
      throw new BlockDeviceError(
        `${describeDevice(device)}: no snapshot, ${fullName(place)} exists and is no snapshot of it`,
      );
    await removeVolumeAt(device, place, signal);
  }

  async function adoptable(logicalIds: readonly LogicalId[], signal: AbortSignal) {
    const places = logicalIds.map((logicalId) => {
      const place = volumeNameOf(logicalId);
      if (place !== undefined) return { logicalId, place };
      throw new BlockDeviceError(`${JSON.stringify(logicalId).slice(0, 300)} names no logical volume`);
    });
    const volumes = await lvm.logicalVolumes(signal);
    return places.map(({ logicalId, place }) => {
      const volume = volumes.find((each) => bears(each, place));
      if (volume === undefined || !isOrdinary(volume)) return undefined;
      return { logicalId, sizeMib: mib(volume.sizeBytes), inUse: isOpen(volume) };
    });
  }

  async function find(place: VolumeName, signal: AbortSignal): Promise<LogicalVolume | undefined> {
    return (await lvm.logicalVolumes(signal)).find((each) => bears(each, place));
  }

  /** The disk's volume, taken over when nobody's. @throws BlockDeviceError when there is none, or it is another's */
  async function claimed(device: BlockDeviceSpec, place: VolumeName, signal: AbortSignal): Promise<LogicalVolume> {
    const volume = await find(place, signal);
    if (volume === undefined) throw new BlockDeviceError(`${describeDevice(device)} does not exist`);
    refuseAnothers(device, volume);
    if (ownerOf(volume.tags) === undefined) await own(device, place, volume, signal);
    return volume;
  }

  async function own(
    device: BlockDeviceSpec,
    place: VolumeName,
    { tags }: LogicalVolume,
    signal: AbortSignal,
  ): Promise<void> {
    const changes = changesOf(tags, device);
    if (changes.add.length + changes.remove.length === 0) return;
    await lvm.run(changeTags(place, changes), `${describeDevice(device)}: its owner could not be noted`, signal);
  }

  /** The undo of what this disk began; nobody waits for it, so that nothing aborts it. */
  async function removeOwn(device: BlockDeviceSpec, place: VolumeName): Promise<void> {
    const { signal } = new AbortController();
    const volume = await find(place, signal);
    if (volume !== undefined && ownerOf(volume.tags) === device.uuid) await removeVolumeAt(device, place, signal);
  }

  async function quietly(device: BlockDeviceSpec, step: () => Promise<void>): Promise<void> {
    await step().catch((error: unknown) =>
      logger.warn({ error, disk: describeDevice(device) }, "a half-made volume could not be cleaned up"),
    );
  }

  /** @throws BlockDeviceError when LVM reported success, and there is no device */
  async function deviceOf(device: BlockDeviceSpec, place: VolumeName, done: string): Promise<AttachedDevice> {
    const target = path.join(deviceFolder, place.volumeGroup, place.name);
    const entry = await stat(target).catch(undefinedWhenMissing);
    if (entry === undefined)
      throw new BlockDeviceError(`${describeDevice(device)} was to be ${done}, but there is no ${target}`);
    return { path: target, kind: entry.isBlockDevice() ? "block" : "file", format: "raw" };
  }

  return {
    template: "plain",
    make,
    create,
    assemble,
    shutdown,
    remove,
    grow,
    status,
    space,
    rename,
    setInfo,
    snapshot,
    adoptable,
  };
}

function placeOf(device: BlockDeviceSpec): VolumeName {
  const place = device.template === "plain" ? volumeNameOf(device.logicalId) : undefined;
  if (place === undefined)
    throw new BlockDeviceError(
      `${describeDevice(device)}: the logical id of a plain disk is [volume group, volume], names that LVM allows`,
    );
  requireUuid(device);
  return place;
}

function refuseAnothers(device: BlockDeviceSpec, volume: LogicalVolume): void {
  const owner = ownerOf(volume.tags);
  if (owner !== undefined && owner !== device.uuid)
    throw new BlockDeviceError(`${describeDevice(device)} belongs to another disk, ${owner}`);
}

function stripesOf({ params }: BlockDeviceSpec): number {
  const stripes = params.stripes;
  return typeof stripes === "number" && Number.isSafeInteger(stripes) && stripes > 0 ? stripes : 1;
}

function bears(volume: LogicalVolume, place: VolumeName): boolean {
  return volume.volumeGroup === place.volumeGroup && volume.name === place.name;
}

/** What LVM makes of a size: whole extents, as many on each stripe. */
function roundedUp(bytes: number, { extentBytes, stripes }: LogicalVolume): number {
  const unit = extentBytes * stripes;
  return Math.ceil(bytes / unit) * unit;
}

/** Rounded down. */
function mib(bytes: number): number {
  return Math.floor(bytes / BYTES_PER_MIB);
}

/** What was told last says most: it was of the least demanding attempt. */
function told(failures: readonly string[]): string {
  return failures.at(-1)?.slice(-1_000) || "nothing";
}
