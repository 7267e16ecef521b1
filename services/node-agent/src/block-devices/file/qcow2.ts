/**
 * Files in qcow2 format (qemu's docs/interop/qcow2.txt): made and grown by qemu-img, their size read from their header.
 *
 * A file's format is what is noted with its disk, and never found out by looking: a guest writes what it likes to the
 * beginning of a raw disk, and could give itself another file of the node as backing file.
 */
import { existsSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import { BlockDeviceError, CommandError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";

const QEMU_IMG = "/usr/bin/qemu-img";
/** An empty image is a matter of milliseconds, on a slow network share of seconds. */
const TIMEOUT_MS = 5 * 60_000;
const MAGIC = Buffer.from("QFI\xfb", "latin1");
/** Where the header has the virtual size: 8 bytes, the highest first. */
const SIZE_OFFSET = 24;
const HEADER_BYTES = 32;

export interface ImageOptions {
  /** Begins the message of an error. */
  readonly disk: string;
  readonly signal: AbortSignal;
}

export type FileFormat = "raw" | "qcow2";

/** @throws BlockDeviceError when it is to have another than there is */
export function fileFormat({ template, params, instanceName, index }: BlockDeviceSpec): FileFormat {
  const { format = "raw" } = params;
  if (format === "raw" || (format === "qcow2" && template !== "gluster")) return format;
  throw new BlockDeviceError(`Disk ${index} of ${instanceName}: ${template} disks have no format ${String(format)}`);
}

/** Of the disk that the image holds; undefined when it is no qcow2 image. */
export async function qcow2Bytes(file: FileHandle): Promise<number | undefined> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
  if (bytesRead < HEADER_BYTES || !buffer.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const bytes = Number(buffer.readBigUInt64BE(SIZE_OFFSET));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** As {@link qcow2Bytes}, of the image at a path. @throws BlockDeviceError */
export async function qcow2BytesAt(image: string): Promise<number> {
  await using file = await open(image, "r");
  const bytes = await qcow2Bytes(file);
  if (bytes === undefined) throw new BlockDeviceError(`${image} is no qcow2 image`);
  return bytes;
}

/** An empty image in an empty file. @throws BlockDeviceError */
export async function formatQcow2(runner: CommandRunner, file: FileHandle, bytes: number, options: ImageOptions) {
  await qemuImg(runner, ["create", "-q", "-f", "qcow2", pathOf(file), String(bytes)], {
    timeoutMs: TIMEOUT_MS,
    ...options,
  });
}

/** @throws BlockDeviceError, also when a guest has it open: its own qemu must grow it then */
export async function growQcow2(runner: CommandRunner, file: FileHandle, bytes: number, options: ImageOptions) {
  await qemuImg(runner, ["resize", "-q", "-f", "qcow2", pathOf(file), String(bytes)], {
    timeoutMs: TIMEOUT_MS,
    ...options,
  });
}

/** @throws BlockDeviceError with what qemu-img said */
export async function qemuImg(
  runner: CommandRunner,
  args: readonly string[],
  { timeoutMs, disk, signal }: ImageOptions & { readonly timeoutMs: number },
): Promise<void> {
  try {
    await runner.run({ argv: [QEMU_IMG, ...args], timeoutMs, signal });
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof CommandError)) throw error;
    const wayOut = existsSync(QEMU_IMG) ? "" : " (install Debian's package qemu-utils)";
    throw new BlockDeviceError(`${disk}: ${error.message}${wayOut}`, { cause: error });
  }
}

/** The file that this process has opened and looked at, for another process of the same user. */
function pathOf(file: FileHandle): string {
  return `/proc/${process.pid}/fd/${file.fd}`;
}
