/**
 * Disks that are files: templates `file`, `sharedfile` and `gluster` (spec/node-ops.json, `storage.file`). The same
 * code serves all; that a `sharedfile` folder is shared between nodes is the administrator's doing.
 *
 * Files are sparse, as Ganeti makes them: a new disk takes no space until it is written to. Their format is the
 * disk's parameter `format`, raw without it. Each has its owner noted beside it (owner-mark.ts), so that a repeated
 * create is told from a file that was there before.
 */
import { constants } from "node:fs";
import { type FileHandle, link, lstat, open, unlink } from "node:fs/promises";
import path from "node:path";
import { getSystemErrorMessage } from "node:util";
import type {
  AttachedDevice,
  BlockDeviceDriver,
  BlockDeviceSpec,
  BlockDeviceStatus,
  RenamingDriver,
  StorageSpace,
} from "@gannet/driver-contract";
import { BlockDeviceError, GannetError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { diskUuid, type LogicalId } from "@gannet/objects";
import type { Logger } from "@gannet/telemetry";
import { isErrno, undefinedWhenMissing } from "../../errno.ts";
import { type AllowedRoots, makeFolderOf, type OpenFolder, openFolderOf } from "../allowed-path.ts";
import { removeRawViews } from "../raw-view.ts";
import { claim, readOwner, release } from "./owner-mark.ts";
import { fileFormat, formatQcow2, growQcow2, qcow2Bytes } from "./qcow2.ts";
import type { RootSpaces } from "./root-space.ts";

export interface FileDriverOptions {
  readonly template: "file" | "sharedfile" | "gluster";
  readonly allowed: AllowedRoots;
  readonly runner: CommandRunner;
  readonly logger: Logger;
  readonly spaces: Pick<RootSpaces, "read">;
}

const BYTES_PER_MIB = 1024 * 1024;

/** First part of the logical id. They differ in how Xen attaches the file, not in the file. */
const FILE_DRIVERS: readonly unknown[] = ["loop", "blktap", "blktap2"];

/** O_NONBLOCK: opening a FIFO that somebody put there must not wait for its other end. */
const OPEN_FLAGS = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export function createFileDriver(options: FileDriverOptions): BlockDeviceDriver & RenamingDriver {
  const { template, allowed, runner, logger, spaces } = options;
  /** Roots that could not be read when they were looked at last. */
  const unreadable = new Set<string>();

  /** A disk of this uuid that is there already is left as it is, or brought to its size after an interrupted create. */
  async function create(device: BlockDeviceSpec, signal: AbortSignal): Promise<void> {
    const { target, name } = placeOf(device);
    const sizeBytes = bytesOf(device, device.sizeMib);
    await using folder = await makeFolderOf(target, allowed);
    await using undo = new AsyncDisposableStack();
    undo.defer(() => folder.removeWhenEmpty());
    const claimedNow = await takeNew(folder, name, device);
    undo.defer(() => quietly(() => giveUp(folder, name, claimedNow)));
    const existing = await openWhenThere(folder, name);
    await using file = existing ?? (await make(folder, name, device, sizeBytes, signal));
    if (existing === undefined) undo.defer(() => quietly(() => unlinkWhenThere(folder, name)));
    await growTo(file, sizeBytes, device, signal);
    await folder.sync();
    signal.throwIfAborted();
    undo.move();
  }

  /** An image gets its name when it is whole: what an attempt that broke off has left is no image. */
  async function make(
    folder: OpenFolder,
    name: string,
    device: BlockDeviceSpec,
    sizeBytes: number,
    signal: AbortSignal,
  ): Promise<FileHandle> {
    const makeEmpty = (entry: string) =>
      open(folder.entry(entry), OPEN_FLAGS | constants.O_CREAT | constants.O_EXCL, 0o600);
    if (fileFormat(device) === "raw") return makeEmpty(name);
    const unfinished = unfinishedOf(name);
    await unlinkWhenThere(folder, unfinished);
    const file = await makeEmpty(unfinished);
    try {
      await formatQcow2(runner, file, sizeBytes, { disk: describe(device), signal });
      await file.sync();
      await link(folder.entry(unfinished), folder.entry(name));
      return file;
    } catch (error) {
      await file.close();
      throw error;
    } finally {
      await unlinkWhenThere(folder, unfinished);
    }
  }

  /** @throws BlockDeviceError when the disk is larger already */
  async function growTo(file: FileHandle, sizeBytes: number, device: BlockDeviceSpec, signal: AbortSignal) {
    const present = await bytesIn(file, device);
    if (present > sizeBytes)
      throw new BlockDeviceError(
        `${describe(device)} has ${present / BYTES_PER_MIB} MiB already and is never made smaller (${sizeBytes / BYTES_PER_MIB} MiB were asked for)`,
      );
    if (present < sizeBytes) {
      if (fileFormat(device) === "raw") await file.truncate(sizeBytes);
      else await growQcow2(runner, file, sizeBytes, { disk: describe(device), signal });
    }
    await file.sync();
  }

  async function assemble(device: BlockDeviceSpec): Promise<AttachedDevice> {
    const { target, name } = placeOf(device);
    await using folder = await openFolderOf(target, allowed);
    if (folder === undefined || (await sizeBytesOf(folder, name, device)) === undefined)
      throw new BlockDeviceError(`${describe(device)} does not exist`);
    await adopt(folder, name, device);
    return { path: path.join(folder.path, name), kind: "file", format: fileFormat(device) };
  }

  async function remove(device: BlockDeviceSpec): Promise<void> {
    const { target, name } = placeOf(device);
    await using folder = await openFolderOf(target, allowed);
    if (folder === undefined) return;
    const owner = await readOwner(folder, name);
    if (owner === undefined && (await isThere(folder, name)))
      throw new BlockDeviceError(
        `${describe(device)} is a file that is not known to belong to this disk, and was left alone; remove it by hand, or activate the disk once, which takes it over`,
      );
    if (owner === device.uuid) {
      await removeRawViews(folder.path, name, { ofThisProcess: true });
      await unlinkWhenThere(folder, unfinishedOf(name));
      await unlinkWhenThere(folder, name);
      await release(folder, name);
      await folder.sync();
    }
    await folder.removeWhenEmpty();
  }

  async function grow(device: BlockDeviceSpec, newSizeMib: number, signal: AbortSignal): Promise<void> {
    const { target, name } = placeOf(device);
    const sizeBytes = bytesOf(device, newSizeMib);
    await using folder = await openFolderOf(target, allowed);
    const file = folder && (await openWhenThere(folder, name));
    if (folder === undefined || file === undefined) throw new BlockDeviceError(`${describe(device)} does not exist`);
    await using _closing = file;
    await adopt(folder, name, device);
    // What was imported into a raw file may have been longer than its disk: a volume is sent with what its size was
    // rounded up by, for the guest sees it. Such a file may have the new size already.
    const mayBeLonger = newSizeMib > device.sizeMib && fileFormat(device) === "raw";
    if (mayBeLonger && (await bytesIn(file, device)) >= sizeBytes) return;
    await growTo(file, sizeBytes, device, signal);
  }

  async function status(device: BlockDeviceSpec): Promise<BlockDeviceStatus> {
    const { target, name } = placeOf(device);
    await using folder = await openFolderOf(target, allowed);
    const owner = folder && (await readOwner(folder, name));
    const isAnothers = owner !== undefined && owner !== device.uuid;
    const sizeBytes = folder === undefined || isAnothers ? undefined : await sizeBytesOf(folder, name, device);
    return { exists: sizeBytes !== undefined, sizeMib: Math.floor((sizeBytes ?? 0) / BYTES_PER_MIB) };
  }

  /**
   * The file gets its second name before it loses the first, so that nothing that is there already is overwritten, and
   * an attempt that broke off between the two is carried on.
   */
  async function rename(device: BlockDeviceSpec, to: LogicalId): Promise<void> {
    const from = placeOf(device);
    const renamed = { ...device, logicalId: [...to] };
    const { target, name } = placeOf(renamed);
    await using source = await openFolderOf(from.target, allowed);
    if (source === undefined || (await sizeBytesOf(source, from.name, device)) === undefined) {
      if ((await status(renamed)).exists) return;
      throw new BlockDeviceError(`${describe(device)} does not exist`);
    }
    if (target === from.target) return await adopt(source, name, device);
    await using destination = await makeFolderOf(target, allowed);
    await using undo = new AsyncDisposableStack();
    undo.defer(() => destination.removeWhenEmpty());
    const claimedNow = await takeNew(destination, name, renamed);
    undo.defer(() => quietly(() => giveUp(destination, name, claimedNow)));
    await linkUnlessDone(source.entry(from.name), destination.entry(name), renamed);
    undo.move();
    await destination.sync();
    await unlinkWhenThere(source, from.name);
    await release(source, from.name);
    await source.sync();
    await source.removeWhenEmpty();
  }

  /** Nothing of a root that cannot be read, which must not hide the others; that is logged until it is back, once. */
  async function spaceOf(root: string): Promise<readonly StorageSpace[]> {
    const space = await spaces.read(root).then((found) => found ?? "it does not exist", causeOf);
    if (typeof space === "string") {
      if (!unreadable.has(root))
        logger.warn({ template, root, error: space }, "the space of a file storage folder cannot be read");
      unreadable.add(root);
      return [];
    }
    if (unreadable.delete(root)) logger.info({ template, root }, "a file storage folder can be read again");
    return [{ type: template, name: root, totalMib: space.totalMib, freeMib: space.freeMib }];
  }

  /** The undo's own failures are logged: the error that caused it is the one to be seen. */
  async function quietly(step: () => Promise<void>): Promise<void> {
    await step().catch((error: unknown) => logger.warn({ error }, "a half-made disk could not be cleaned up"));
  }

  function placeOf(device: BlockDeviceSpec): { readonly target: string; readonly name: string } {
    const [driver, target, ...rest] = device.logicalId;
    if (device.template !== template || !FILE_DRIVERS.includes(driver) || typeof target !== "string" || rest.length > 0)
      throw new BlockDeviceError(
        `${describe(device)}: the logical id of a ${template} disk is [${FILE_DRIVERS.join(" | ")}, path]`,
      );
    if (!diskUuid.safeParse(device.uuid).success)
      throw new BlockDeviceError(`${describe(device)}: ${JSON.stringify(device.uuid)} is not a UUID`);
    return { target, name: path.basename(target) };
  }

  return {
    template,
    create: translating("created", create),
    assemble: translating("activated", assemble),
    shutdown: translating("deactivated", async (device) => void placeOf(device)),
    remove: translating("removed", remove),
    grow: translating("grown", grow),
    status: translating("looked at", status),
    rename: translating("renamed", rename),
    space: async () => (await Promise.all(allowed.roots.map(spaceOf))).flat(),
  };
}

/**
 * Take the place of a new disk. Answers whether that was done now, and not by an earlier attempt.
 * @throws BlockDeviceError when something else is there
 */
async function takeNew(folder: OpenFolder, name: string, device: BlockDeviceSpec): Promise<boolean> {
  const noted = await readOwner(folder, name);
  if (noted === undefined && (await isThere(folder, name)))
    throw new BlockDeviceError(
      `${describe(device)} cannot be created: a file that is no disk of this cluster is there`,
    );
  const owner = noted ?? (await claim(folder, name, device.uuid));
  refuseAnothers(owner, device);
  return noted === undefined;
}

/** Take over a disk that was made by Ganeti, which notes no owner. @throws BlockDeviceError when it is another's */
async function adopt(folder: OpenFolder, name: string, device: BlockDeviceSpec): Promise<void> {
  refuseAnothers((await readOwner(folder, name)) ?? (await claim(folder, name, device.uuid)), device);
}

function refuseAnothers(owner: string, device: BlockDeviceSpec): void {
  if (owner !== device.uuid) throw new BlockDeviceError(`${describe(device)} belongs to another disk, ${owner}`);
}

/** An earlier attempt's mark stays while that attempt's file does. */
async function giveUp(folder: OpenFolder, name: string, claimedNow: boolean): Promise<void> {
  if (claimedNow || !(await isThere(folder, name))) await release(folder, name);
}

/** Of the disk in the file. @throws BlockDeviceError when the file is none of its format */
async function bytesIn(file: FileHandle, device: BlockDeviceSpec): Promise<number> {
  const present = await file.stat();
  if (!present.isFile()) throw new BlockDeviceError(`${describe(device)} is not a regular file`);
  const bytes = fileFormat(device) === "raw" ? present.size : await qcow2Bytes(file);
  if (bytes === undefined) throw new BlockDeviceError(`${describe(device)} is no qcow2 image`);
  return bytes;
}

function bytesOf(device: BlockDeviceSpec, sizeMib: number): number {
  const bytes = sizeMib * BYTES_PER_MIB;
  if (!Number.isSafeInteger(sizeMib) || sizeMib < 1 || !Number.isSafeInteger(bytes))
    throw new BlockDeviceError(`${describe(device)}: ${sizeMib} MiB is not a possible size`);
  return bytes;
}

async function openWhenThere(folder: OpenFolder, name: string): Promise<FileHandle | undefined> {
  return open(folder.entry(name), OPEN_FLAGS).catch(undefinedWhenMissing);
}

/** Undefined when it is not there. @throws BlockDeviceError when it is no regular file, or not of its format */
async function sizeBytesOf(folder: OpenFolder, name: string, device: BlockDeviceSpec): Promise<number | undefined> {
  const entry = await lstat(folder.entry(name)).catch(undefinedWhenMissing);
  if (entry !== undefined && !entry.isFile()) throw new BlockDeviceError(`${describe(device)} is not a regular file`);
  if (entry === undefined || fileFormat(device) === "raw") return entry?.size;
  await using file = await openWhenThere(folder, name);
  return file === undefined ? undefined : await bytesIn(file, device);
}

function unfinishedOf(name: string): string {
  return `.${name}.new`;
}

async function isThere(folder: OpenFolder, name: string): Promise<boolean> {
  return (await lstat(folder.entry(name)).catch(undefinedWhenMissing)) !== undefined;
}

/** @throws BlockDeviceError when another file bears the name */
async function linkUnlessDone(from: string, to: string, renamed: BlockDeviceSpec): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
    const [source, present] = await Promise.all([lstat(from), lstat(to)]);
    if (source.ino !== present.ino || source.dev !== present.dev)
      throw new BlockDeviceError(`${describe(renamed)}: another file bears the name`);
  }
}

async function unlinkWhenThere(folder: OpenFolder, name: string): Promise<void> {
  await unlink(folder.entry(name)).catch(undefinedWhenMissing);
}

/** Check for an abort first, and turn the errors of system calls into ones that name the disk and the cause. */
function translating<Rest extends readonly unknown[], Result>(
  done: string,
  operation: (device: BlockDeviceSpec, ...rest: Rest) => Promise<Result>,
): (device: BlockDeviceSpec, ...rest: Rest) => Promise<Result> {
  return async (device, ...rest) => {
    try {
      const signal = rest.at(-1);
      if (signal instanceof AbortSignal) signal.throwIfAborted();
      return await operation(device, ...rest);
    } catch (error) {
      if (error instanceof GannetError || !(error instanceof Error && "syscall" in error)) throw error;
      throw new BlockDeviceError(`${describe(device)} could not be ${done}: ${causeOf(error)}`, { cause: error });
    }
  };
}

/** The system's own words; `error.message` would show the path through the open folder, which tells nobody anything. */
function causeOf(error: unknown): string {
  // What O_NOFOLLOW answers for a link; the system's words for it are of too many links.
  if (isErrno(error, "ELOOP")) return "it is a symbolic link";
  if (error instanceof Error && "errno" in error && typeof error.errno === "number")
    return getSystemErrorMessage(error.errno);
  return error instanceof Error ? error.message : String(error);
}

function describe(device: BlockDeviceSpec): string {
  const place = String(device.logicalId.at(-1) ?? "without a place").slice(0, 300);
  return `Disk ${device.index} of ${device.instanceName} (${device.template} ${place})`;
}
