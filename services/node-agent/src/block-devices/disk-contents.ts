/**
 * What is done to a whole disk's contents, whatever its template: it is overwritten, or copied to another.
 *
 * dd does it (spec/node-ops.json, `storage.generic`). The agent's own file handles are as fast (measured: 512 MiB to a
 * loop device, 0.3 s both ways with O_DIRECT), but a disk that hangs would keep one of the four threads that all the
 * agent's file operations share, and nothing can end that; a process can be killed or left behind.
 *
 * The page cache is passed by: 512 MiB written to a file with O_DIRECT left it as it was, with dd's `nocache` instead
 * they stayed in it.
 */
import { constants } from "node:fs";
import { open, stat, truncate } from "node:fs/promises";
import type { AttachedDevice } from "@gannet/driver-contract";
import { BlockDeviceError, CommandError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { isErrno } from "../errno.ts";
import { BYTES_PER_MIB } from "./describe-device.ts";
import { deviceSizeBytes } from "./device-size.ts";
import { qcow2BytesAt } from "./file/qcow2.ts";
import { openRawView, type RawView } from "./raw-view.ts";
import type { StorageTools } from "./storage-tools.ts";

export interface DiskContents {
  /** Overwrite a part with zeros. @throws BlockDeviceError when it does not lie inside the disk, or cannot be written */
  wipe(
    disk: AttachedDevice,
    part: { readonly offsetMib: number; readonly sizeMib: number },
    signal: AbortSignal,
  ): Promise<void>;
  /**
   * All of the source, which may be larger than its disk: a guest had use of what a volume was rounded up by, too.
   * Whatever the target holds is replaced; a target that is a file keeps holes where the source has zeros, and becomes
   * as long as the source.
   * @param sizeMib - of the disk, as it is recorded
   * @throws BlockDeviceError when the target cannot hold all, the source is smaller than its disk, or one of both cannot
   *   be read or written
   */
  copy(source: AttachedDevice, target: AttachedDevice, sizeMib: number, signal: AbortSignal): Promise<void>;
  /** The contents as they are, whatever format they are kept in. @throws BlockDeviceError when they cannot be read */
  rawView(disk: AttachedDevice, signal: AbortSignal): Promise<RawView>;
}

const DD = "/usr/bin/dd";
/** As long as the calls that ask for them may take (libs/rpc, deadlines). */
const WIPE_TIMEOUT_MS = 60 * 60_000;
const COPY_TIMEOUT_MS = 24 * 60 * 60_000;
/** The last line that dd prints: `67108864 bytes (67 MB, 64 MiB) copied, 0.74 s, 90.6 MB/s`. */
const COPIED = /^([0-9]+) bytes? .*copied/m;

export function createDiskContents(parts: {
  readonly runner: CommandRunner;
  readonly tools: StorageTools;
}): DiskContents {
  const { runner } = parts;

  async function sizeOf(disk: AttachedDevice, purpose: string, signal: AbortSignal): Promise<number> {
    if (disk.format === "qcow2") return qcow2BytesAt(disk.path);
    return disk.kind === "file" ? (await stat(disk.path)).size : deviceSizeBytes(parts, disk.path, purpose, signal);
  }

  /** @returns its bytes @throws BlockDeviceError when it is smaller */
  async function requireSize(disk: AttachedDevice, sizeMib: number, purpose: string, signal: AbortSignal) {
    const bytes = await sizeOf(disk, purpose, signal);
    if (bytes >= sizeMib * BYTES_PER_MIB) return bytes;
    throw new BlockDeviceError(
      `${purpose}: ${disk.path} has ${Math.floor(bytes / BYTES_PER_MIB)} MiB, and the part ends at ${sizeMib}`,
    );
  }

  /** @throws BlockDeviceError when it is smaller, and cannot be made larger by the writing */
  async function requireRoom(
    target: AttachedDevice,
    source: AttachedDevice,
    { bytes, purpose }: { readonly bytes: number; readonly purpose: string },
    signal: AbortSignal,
  ) {
    if (target.kind === "file" && target.format === "raw") return;
    const room = await sizeOf(target, purpose, signal);
    if (room < bytes)
      throw new BlockDeviceError(
        `${purpose}: ${source.path} has ${bytes} bytes, ${target.path} only ${room}; repair the recorded size ` +
          "first (gnt-cluster repair-disk-sizes)",
      );
  }

  async function dd(args: readonly string[], bytes: number, timeoutMs: number, purpose: string, signal: AbortSignal) {
    const { stderr } = await runner.run({ argv: [DD, ...args], timeoutMs, signal });
    const copied = Number(COPIED.exec(stderr)?.[1] ?? Number.NaN);
    if (copied !== bytes)
      throw new BlockDeviceError(`${purpose}: dd ended in order, but tells of no ${bytes} bytes: ${stderr.trim()}`);
  }

  async function copyRaw(
    source: AttachedDevice,
    target: AttachedDevice,
    { bytes, purpose }: { readonly bytes: number; readonly purpose: string },
    signal: AbortSignal,
  ): Promise<void> {
    const [input, output] = [await directFlag(source.path, "iflag"), await directFlag(target.path, "oflag")];
    const flags = [`${input[0] === undefined ? "iflag=" : `${input[0]},`}count_bytes`, ...output];
    const isFile = target.kind === "file";
    if (isFile) await empty(target.path, bytes);
    const conversion = `conv=notrunc,fsync${isFile ? ",sparse" : ""}`;
    const args = [`if=${source.path}`, `of=${target.path}`, "bs=1M", `count=${bytes}`, ...flags, conversion];
    await dd(args, bytes, COPY_TIMEOUT_MS, purpose, signal);
  }

  return {
    wipe: (disk, { offsetMib, sizeMib }, signal) => {
      const purpose = `${disk.path} could not be wiped from ${offsetMib} MiB on`;
      return translating(purpose, signal, async () => {
        requireAmount(offsetMib, purpose);
        requireAmount(sizeMib, purpose);
        if (sizeMib === 0) return;
        await requireSize(disk, offsetMib + sizeMib, purpose, signal);
        // What is wiped is new, and what nobody has written to a qcow2 image reads as zeros, whatever lies below it.
        // After growing a running guest's disk the image is its qemu's alone, too.
        if (disk.format === "qcow2") return;
        const direct = await directFlag(disk.path, "oflag");
        const part = [`seek=${offsetMib}`, `count=${sizeMib}`];
        const args = ["if=/dev/zero", `of=${disk.path}`, "bs=1M", ...part, ...direct, "conv=notrunc,fsync"];
        await dd(args, sizeMib * BYTES_PER_MIB, WIPE_TIMEOUT_MS, purpose, signal);
      });
    },

    copy: (source, target, sizeMib, signal) => {
      const purpose = `${source.path} could not be copied to ${target.path}`;
      return translating(purpose, signal, async () => {
        requireAmount(sizeMib, purpose);
        const bytes = await requireSize(source, sizeMib, purpose, signal);
        await requireRoom(target, source, { bytes, purpose }, signal);
        await requireTwo(source, target, purpose);
        await using from = await openRawView(runner, source, signal);
        await using to = await openRawView(runner, target, signal);
        await copyRaw(from.disk, to.disk, { bytes, purpose }, signal);
        await to.keep(signal);
      });
    },

    rawView: (disk, signal) => {
      const purpose = `The contents of ${disk.path} cannot be shown as they are`;
      return translating(purpose, signal, () => openRawView(runner, disk, signal));
    },
  };
}

/** So that all of it reads as zeros, and those of the source need not be written. */
async function empty(file: string, atLeastBytes: number): Promise<void> {
  const { size } = await stat(file);
  await truncate(file, 0);
  await truncate(file, Math.max(size, atLeastBytes));
}

/** @throws BlockDeviceError when both paths lead to one and the same */
async function requireTwo(source: AttachedDevice, target: AttachedDevice, purpose: string): Promise<void> {
  const [from, to] = await Promise.all([stat(source.path), stat(target.path)]);
  const isOne = from.isBlockDevice()
    ? from.rdev === to.rdev && to.isBlockDevice()
    : from.dev === to.dev && from.ino === to.ino;
  if (isOne) throw new BlockDeviceError(`${purpose}: they are the same`);
}

function requireAmount(mib: number, purpose: string): void {
  if (!Number.isSafeInteger(mib) || mib < 0) throw new BlockDeviceError(`${purpose}: ${mib} MiB is no amount`);
}

/** Nothing where the filesystem has no direct I/O, as tmpfs before Linux 6.6. */
async function directFlag(target: string, flag: "iflag" | "oflag"): Promise<readonly string[]> {
  try {
    await using _probe = await open(target, constants.O_RDONLY | constants.O_DIRECT);
    return [`${flag}=direct`];
  } catch (error) {
    if (isErrno(error, "EINVAL")) return [];
    throw error;
  }
}

async function translating<Result>(purpose: string, signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
  signal.throwIfAborted();
  try {
    return await work();
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof CommandError || (error instanceof Error && "syscall" in error))) throw error;
    throw new BlockDeviceError(`${purpose}: ${error.message}`, { cause: error });
  }
}
