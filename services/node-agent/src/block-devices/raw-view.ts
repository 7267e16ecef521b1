/**
 * The plain contents of a disk whose file is in another format, for programs that know nothing of it: OS scripts, dd,
 * transfers. They work on a sparse copy beside the image, which then becomes the image in one step, so that what fails
 * leaves the disk as it was.
 *
 * qemu could show the contents in place, by FUSE or a network block device. Both need something of the kernel that
 * containers and hardened nodes do not have, and a process that must not outlive its user; a copy works everywhere that
 * qemu-img does. It costs room for what is on the disk, and the time to copy that, twice where it is written.
 */
import { randomBytes } from "node:crypto";
import { open, readdir, rename, rm, stat, truncate } from "node:fs/promises";
import path from "node:path";
import type { AttachedDevice } from "@gannet/driver-contract";
import type { CommandRunner } from "@gannet/exec";
import { qcow2BytesAt, qemuImg } from "./file/qcow2.ts";

export interface RawView extends AsyncDisposable {
  /** Its format is `raw`. Until this is disposed of. */
  readonly disk: AttachedDevice;
  /** What was written becomes the disk's. @throws BlockDeviceError; the disk is as before then */
  keep(signal: AbortSignal): Promise<void>;
}

/** Of as much as there is: the calls that wait for it have deadlines of their own. */
const TIMEOUT_MS = 24 * 60 * 60_000;

/** Nobody else may have the disk in use. @throws BlockDeviceError when its contents cannot be read */
export async function openRawView(runner: CommandRunner, disk: AttachedDevice, signal: AbortSignal): Promise<RawView> {
  if (disk.format === "raw") return { disk, keep: async () => {}, [Symbol.asyncDispose]: async () => {} };
  const { format, path: image } = disk;
  const bytes = await qcow2BytesAt(image);
  await removeRawViews(path.dirname(image), path.basename(image), { ofThisProcess: false });
  const copy = path.join(
    path.dirname(image),
    `${viewPrefix(path.basename(image))}${process.pid}-${randomBytes(4).toString("hex")}`,
  );
  const rewritten = `${copy}.${format}`;
  const dispose = async () => {
    for (const file of [copy, rewritten]) await rm(file, { force: true });
  };
  const convert = async (from: FileOf, to: FileOf, running: AbortSignal) => {
    // qemu-img would make it readable for all.
    await (await open(to.file, "wx", 0o600)).close();
    const formats = ["-f", from.format, "-O", to.format];
    await qemuImg(runner, ["convert", "-q", ...formats, from.file, to.file], {
      timeoutMs: TIMEOUT_MS,
      disk: image,
      signal: running,
    });
  };
  const [inImage, inCopy] = [
    { file: image, format },
    { file: copy, format: "raw" },
  ] as const;
  try {
    await convert(inImage, inCopy, signal);
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    disk: { ...disk, path: copy, format: "raw" },
    keep: async (running) => {
      // A program may have emptied the file before it wrote to it; the disk has the size that it has.
      if ((await stat(copy)).size !== bytes) await truncate(copy, bytes);
      await rm(rewritten, { force: true });
      await convert(inCopy, { file: rewritten, format }, running);
      await synced(rewritten);
      await rename(rewritten, image);
      await synced(path.dirname(image));
    },
    [Symbol.asyncDispose]: dispose,
  };
}

interface FileOf {
  readonly file: string;
  readonly format: AttachedDevice["format"];
}

/** What agents that were killed have left of views of the image `name`; all, when no other process uses the disk. */
export async function removeRawViews(
  folder: string,
  name: string,
  { ofThisProcess }: { readonly ofThisProcess: boolean },
): Promise<void> {
  const prefix = viewPrefix(name);
  const own = `${prefix}${process.pid}-`;
  for (const entry of await readdir(folder))
    if (entry.startsWith(prefix) && (ofThisProcess || !entry.startsWith(own)))
      await rm(path.join(folder, entry), { force: true });
}

function viewPrefix(name: string): string {
  return `.${name}.contents-`;
}

async function synced(file: string): Promise<void> {
  await using handle = await open(file, "r");
  await handle.sync();
}
