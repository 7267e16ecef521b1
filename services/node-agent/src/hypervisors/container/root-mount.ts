/** A container's system: the file system on its disk, mounted on the node. */
import { mkdir, open, readFile, rmdir } from "node:fs/promises";
import type { GuestDisk, GuestSpec } from "@gannet/driver-contract";
import { CommandError, HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { undefinedWhenMissing } from "../../errno.ts";
import { firstPartition, PARTITION_TABLE_BYTES, type PartitionSpan } from "./partition-table.ts";

const MOUNT = "/bin/mount";
const UMOUNT = "/bin/umount";
const TIMEOUT_MS = 60_000;

/** @throws HypervisorError when it is not exactly one: a container has no way to mount a second */
export function systemDisk({ name, disks }: GuestSpec): GuestDisk {
  const [disk, ...others] = disks;
  if (disk === undefined || others.length > 0)
    throw new HypervisorError(`Instance ${name} has ${disks.length} disks; a container has exactly one`);
  return disk;
}

/** The first partition where there is one. A file, and a part of a device, is mounted by way of a loop device. */
export function mountArgv(
  disk: Pick<GuestDisk, "path" | "kind" | "access">,
  partition: PartitionSpan | undefined,
  folder: string,
): readonly [string, ...string[]] {
  const options = [
    disk.access,
    ...(disk.kind === "file" || partition !== undefined ? ["loop"] : []),
    ...(partition === undefined ? [] : [`offset=${partition.offsetBytes}`, `sizelimit=${partition.sizeBytes}`]),
  ];
  return [MOUNT, "-o", options.join(","), "--", disk.path, folder];
}

/** What is mounted there stays. @throws HypervisorError; nothing is mounted then */
export async function mountRoot(
  runner: CommandRunner,
  guest: GuestSpec,
  folder: string,
  signal: AbortSignal,
): Promise<void> {
  const disk = systemDisk(guest);
  if (disk.format !== "raw")
    throw new HypervisorError(`Disk 0 of ${guest.name} is ${disk.format}; a container's is raw`);
  await mkdir(folder, { recursive: true, mode: 0o755 });
  if (await isMounted(folder)) return;
  const partition = firstPartition(await headOf(disk));
  await run(runner, `The system of ${guest.name} cannot be mounted`, mountArgv(disk, partition, folder), signal);
  if (!(await isMounted(folder)))
    throw new HypervisorError(`The system of ${guest.name} was mounted on ${folder}, but is not there`);
}

/**
 * What the guest mounted in its own system goes first. Succeeds when nothing is mounted.
 * @throws HypervisorError when it stays, because something uses it
 */
export async function unmountRoot(runner: CommandRunner, guestName: string, folder: string): Promise<void> {
  const points = [...mountPoints(await readFile("/proc/self/mountinfo", "utf8"))]
    .filter((point) => point === folder || point.startsWith(`${folder}/`))
    .toSorted((a, b) => b.length - a.length);
  for (const point of points)
    await run(runner, `The system of ${guestName} cannot be unmounted`, [UMOUNT, "--", point]);
  if (await isMounted(folder)) throw new HypervisorError(`The system of ${guestName} is still mounted on ${folder}`);
  await rmdir(folder).catch(undefinedWhenMissing);
}

export async function isMounted(folder: string): Promise<boolean> {
  return mountPoints(await readFile("/proc/self/mountinfo", "utf8")).has(folder);
}

/** proc_pid_mountinfo(5): the fifth field, in which blanks and backslashes are written in octal. */
export function mountPoints(mountinfo: string): ReadonlySet<string> {
  return new Set(
    mountinfo.split("\n").flatMap((line) => {
      const point = line.split(" ")[4];
      return point === undefined ? [] : [point.replaceAll(/\\([0-7]{3})/g, (_, code) => octal(code))];
    }),
  );
}

function octal(code: string): string {
  return String.fromCharCode(Number.parseInt(code, 8));
}

async function headOf(disk: GuestDisk): Promise<Buffer> {
  const file = await open(disk.path).catch((error: Error) => {
    throw new HypervisorError(`Disk ${disk.index} cannot be read: ${error.message}`);
  });
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(PARTITION_TABLE_BYTES), 0, PARTITION_TABLE_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function run(
  runner: CommandRunner,
  failure: string,
  argv: readonly [string, ...string[]],
  signal?: AbortSignal,
): Promise<void> {
  try {
    await runner.run({ argv, timeoutMs: TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) });
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    throw new HypervisorError(`${failure}: ${error.message}`, { cause: error });
  }
}
