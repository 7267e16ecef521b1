/** The two volumes below a DRBD end: made and removed by their own driver, and given metadata here. */
import { type FileHandle, open } from "node:fs/promises";
import type { BlockDeviceDriver, BlockDeviceSpec, LabellingDriver } from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";
import type { VolumeMaker } from "../lvm/plain-driver.ts";
import type { DrbdDisk } from "./drbd-disk.ts";
import { describe } from "./drbd-disk.ts";
import type { DrbdKernel } from "./drbd-kernel.ts";
import { JUST_CREATED } from "./generations.ts";

/** Holds the superblock of every version's external metadata; create-md writes what comes after it. */
const WIPED_BYTES = 1024 * 1024;
/** The superblock: the device's UUID stands in it as it was given, of v08 at byte 40, of v09 at byte 48. */
const SUPERBLOCK_BYTES = 4096;
/** Both big-endian and at the same place in v08 and v09 (drbd_meta_data.h). */
const GENERATION_AT = 8;
const MAGIC_AT = 60;
/** Of v08, of v08 that a crashed primary has left, of v09. */
const MAGICS: ReadonlySet<number> = new Set([0x8374026b, 0x8374026c, 0x8374026d]);

export type VolumeDriver = BlockDeviceDriver & VolumeMaker & LabellingDriver;

export interface DrbdVolumes {
  readonly plain: VolumeDriver;
  readonly kernel: DrbdKernel;
  /** For the undo's own failures. */
  readonly quietly: (step: () => Promise<void>) => Promise<void>;
}

/**
 * Make both volumes with new metadata, unless they are there. What this makes is taken back by `undo`.
 * @param options.keepsUnmarked - they may be a disk's that was made elsewhere, by Ganeti for one: metadata that were
 *   in use are kept without the mark, too
 * @returns whether both are new
 */
export async function makeVolumes(
  { plain, kernel, quietly }: DrbdVolumes,
  disk: DrbdDisk,
  undo: AsyncDisposableStack,
  signal: AbortSignal,
  { keepsUnmarked }: { readonly keepsUnmarked: boolean },
): Promise<boolean> {
  const make = async (volume: BlockDeviceSpec): Promise<boolean> => {
    const isNew = (await plain.make(volume, signal)) === "made";
    if (isNew) undo.defer(() => quietly(() => plain.remove(volume, afterwards())));
    if (isNew && volume === disk.metadata.spec) await makeMetadata(kernel, disk, signal);
    return isNew;
  };
  const [isDataNew, isMetadataNew] = await ofBoth(disk, make);
  if (isMetadataNew) return isDataNew === true;
  await plain.assemble(disk.metadata.spec, signal);
  // Older metadata would vouch for data that are gone.
  const isKept = !isDataNew && ((await bearsMark(disk)) || (keepsUnmarked && (await wasInUse(disk))));
  if (!isKept) await makeMetadata(kernel, disk, signal);
  return false;
}

/**
 * Remove both, the metadata's contents first: the next volume at their place should not look like this disk's. Where
 * they cannot be wiped, as on a dead disk, that is logged: new metadata are wiped by who makes them, too.
 */
export async function removeVolumes(
  { plain, logger }: { readonly plain: BlockDeviceDriver; readonly logger: Logger },
  disk: DrbdDisk,
  signal: AbortSignal,
): Promise<void> {
  const metadata = await plain.status(disk.metadata.spec, signal);
  if (metadata.exists)
    await wipeBeforeRemoval(plain, disk, signal).catch((error: unknown) =>
      logger.warn({ error, disk: describe(disk.spec) }, "a disk's metadata could not be wiped before their removal"),
    );
  await ofBoth(disk, (volume) => plain.remove(volume, signal));
}

/**
 * Do something with both volumes at once, so that their driver can look at both with one command.
 * @throws whatever went wrong first, when both are over
 */
export async function ofBoth<Result>(
  { data, metadata }: DrbdDisk,
  work: (volume: BlockDeviceSpec) => Promise<Result>,
): Promise<readonly Result[]> {
  // The metadata first, which have more to be done with them when LVM makes one volume after the other.
  const [other, one] = await Promise.allSettled([metadata, data].map(({ spec }) => work(spec)));
  return [one, other].map((each) => {
    if (each?.status === "fulfilled") return each.value;
    throw each?.reason;
  });
}

/** A signal for what must still be done when the operation was aborted. */
export function afterwards(): AbortSignal {
  return AbortSignal.timeout(120_000);
}

/** The mark is written last: what bears it is whole, whenever an earlier attempt was killed. */
async function makeMetadata(kernel: DrbdKernel, disk: DrbdDisk, signal: AbortSignal): Promise<void> {
  const { createMetadata, writeMark } = await kernel.dialect();
  await wipe(disk);
  for (const command of [createMetadata(disk), writeMark(disk)])
    await kernel.run(disk, command, "given its metadata", signal);
  if (!(await bearsMark(disk)))
    throw new BlockDeviceError(
      `${describe(disk.spec)} could not be given its metadata: drbdmeta says it did, and did not`,
    );
}

/** Metadata that were made by Ganeti, say, and have been in use, bear the mark from then on. */
export async function markMetadata(kernel: DrbdKernel, disk: DrbdDisk, signal: AbortSignal): Promise<void> {
  if (await bearsMark(disk)) return;
  const { writeMark } = await kernel.dialect();
  await kernel.run(disk, writeMark(disk), "marked as this disk's", signal);
}

/** Read here and not by drbdmeta, which takes ten times as long and stands in the way of every creation. */
async function bearsMark(disk: DrbdDisk): Promise<boolean> {
  return (await readSuperblock(disk)).includes(Buffer.from(disk.mark, "hex"));
}

/** Whether they are metadata of any version, under which something was written. */
async function wasInUse(disk: DrbdDisk): Promise<boolean> {
  const superblock = await readSuperblock(disk);
  const generation = superblock.readBigUInt64BE(GENERATION_AT).toString(16).toUpperCase().padStart(16, "0");
  return MAGICS.has(superblock.readUInt32BE(MAGIC_AT)) && generation !== JUST_CREATED;
}

async function readSuperblock(disk: DrbdDisk): Promise<Buffer> {
  const { buffer } = await onMetadata(disk, "read", (volume) =>
    volume.read(Buffer.alloc(SUPERBLOCK_BYTES), 0, SUPERBLOCK_BYTES, 0),
  );
  return buffer;
}

async function wipeBeforeRemoval(plain: BlockDeviceDriver, disk: DrbdDisk, signal: AbortSignal): Promise<void> {
  await plain.assemble(disk.metadata.spec, signal);
  await wipe(disk);
}

async function wipe(disk: DrbdDisk): Promise<void> {
  await onMetadata(disk, "wiped", async (volume) => {
    await volume.write(Buffer.alloc(WIPED_BYTES), 0, WIPED_BYTES, 0);
    await volume.datasync();
  });
}

async function onMetadata<Result>(
  disk: DrbdDisk,
  done: "read" | "wiped",
  work: (volume: FileHandle) => Promise<Result>,
): Promise<Result> {
  try {
    await using volume = await open(disk.metadata.path, done === "read" ? "r" : "r+");
    return await work(volume);
  } catch (error) {
    throw new BlockDeviceError(`${describe(disk.spec)}: its metadata volume could not be ${done}: ${String(error)}`, {
      cause: error,
    });
  }
}
