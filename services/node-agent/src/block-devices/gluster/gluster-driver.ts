/**
 * Disks that are files of a Gluster volume: template `gluster` (spec/node-ops.json, `storage.gluster`). The volume is
 * mounted when the first disk of it is used, and stays so; the files are the file driver's.
 */
import { access, mkdir, readFile, realpath } from "node:fs/promises";
import path from "node:path";
import type { AttachedDevice, BlockDeviceDriver, BlockDeviceSpec } from "@gannet/driver-contract";
import { BlockDeviceError, CommandError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { Logger } from "@gannet/telemetry";
import { isErrno } from "../../errno.ts";
import { describeDevice } from "../describe-device.ts";
import { createFileDriver } from "../file/file-driver.ts";
import type { RootSpaces } from "../file/root-space.ts";
import { fileUri, type GlusterVolume, mountCommand, mountedAt, mountSource } from "./mount.ts";

/** Where everything is; only tests have others. */
export interface GlusterPlaces {
  /** No master can have a volume mounted anywhere else, whatever the cluster's `gluster_storage_dir` is. */
  readonly mountPoint: string;
  /** What mount(8) calls for this type. */
  readonly mountProgram: string;
  readonly mountInfoFile: string;
}

export const GLUSTER_PLACES: GlusterPlaces = {
  mountPoint: "/var/run/ganeti/gluster",
  mountProgram: "/usr/sbin/mount.glusterfs",
  mountInfoFile: "/proc/self/mountinfo",
};

const MOUNT_TIMEOUT_MS = 60_000;
/** The exit code tells nothing: mount.glusterfs ends in order when the volume was not mounted, and the other way round. */
const ANY_EXIT_CODE = Array.from({ length: 256 }, (_, code) => code);
const HOST = /^[a-zA-Z0-9][a-zA-Z0-9.:-]{0,254}$/;
const VOLUME = /^[a-zA-Z0-9_][a-zA-Z0-9_-]{0,254}$/;

export function createGlusterDriver(parts: {
  readonly runner: CommandRunner;
  readonly logger: Logger;
  readonly spaces: Pick<RootSpaces, "read">;
  readonly places?: GlusterPlaces;
}): BlockDeviceDriver {
  const { runner, places = GLUSTER_PLACES } = parts;
  const { mountPoint } = places;
  const files = createFileDriver({ ...parts, template: "gluster", allowed: { roots: [mountPoint] } });
  /** One mount at a time: those who come meanwhile find it done. */
  let mounting: Promise<unknown> = Promise.resolve();

  /** What is mounted is not looked at: where its servers are away, that would never end. */
  async function mounted(): Promise<string | undefined> {
    const folder = path.dirname(mountPoint);
    const place = path.join(await realpath(folder).catch(() => folder), path.basename(mountPoint));
    const mounts = await readFile(places.mountInfoFile, "utf8");
    return mountedAt(mounts, place) ?? mountedAt(mounts, await realpath(place).catch(() => place));
  }

  async function mount(device: BlockDeviceSpec, signal: AbortSignal): Promise<void> {
    const volume = volumeOf(device);
    requirePlace(device, mountPoint);
    const turn = mounting.then(() => mountWhenMissing(device, volume, signal));
    mounting = turn.catch(() => {});
    await turn;
  }

  async function mountWhenMissing(device: BlockDeviceSpec, volume: GlusterVolume, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const wanted = mountSource(volume);
    const present = await mounted();
    if (present === wanted) return;
    if (present !== undefined)
      throw new BlockDeviceError(`${describeDevice(device)}: ${mountPoint} holds ${present} instead of ${wanted}`);
    await requireProgram(device);
    await mkdir(mountPoint, { recursive: true, mode: 0o750 });
    const printed = await runMount(device, volume, signal);
    if ((await mounted()) !== wanted)
      throw new BlockDeviceError(
        `${describeDevice(device)}: ${wanted} could not be mounted, mount says: ${printed.trim().slice(-1_000) || "nothing"}`,
      );
  }

  async function runMount(device: BlockDeviceSpec, volume: GlusterVolume, signal: AbortSignal): Promise<string> {
    try {
      const argv = mountCommand(volume, mountPoint);
      const limits = { timeoutMs: MOUNT_TIMEOUT_MS, okExitCodes: ANY_EXIT_CODE, signal };
      const { stdout, stderr } = await runner.run({ argv, ...limits });
      return `${stdout}${stderr}`;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof CommandError)) throw error;
      throw new BlockDeviceError(`${describeDevice(device)}: ${error.message}`, { cause: error });
    }
  }

  async function requireProgram(device: BlockDeviceSpec): Promise<void> {
    await access(places.mountProgram).catch((error: unknown) => {
      if (!isErrno(error, "ENOENT")) throw error;
      throw new BlockDeviceError(
        `${describeDevice(device)} cannot be used on this node: there is no ${places.mountProgram}; install glusterfs-client`,
      );
    });
  }

  async function assemble(device: BlockDeviceSpec, signal: AbortSignal): Promise<AttachedDevice> {
    await mount(device, signal);
    const attached = await files.assemble(device, signal);
    if (device.params.access !== "userspace") return attached;
    const file = path.relative(mountPoint, String(device.logicalId[1]));
    return { ...attached, uris: { kvm: fileUri(volumeOf(device), file) } };
  }

  return {
    template: "gluster",
    create: async (device, signal) => {
      await mount(device, signal);
      await files.create(device, signal);
    },
    assemble,
    // The volume stays mounted: other disks lie on it.
    shutdown: async (device, signal) => {
      volumeOf(device);
      requirePlace(device, mountPoint);
      signal.throwIfAborted();
    },
    remove: async (device, signal) => {
      await mount(device, signal);
      await files.remove(device, signal);
    },
    grow: async (device, newSizeMib, signal) => {
      await mount(device, signal);
      await files.grow(device, newSizeMib, signal);
    },
    status: async (device, signal) => {
      await mount(device, signal);
      return files.status(device, signal);
    },
    space: async (signal) => ((await mounted()) === undefined ? [] : files.space(signal)),
  };
}

/** @throws BlockDeviceError when a parameter could be taken for anything but a host, a port, or a volume */
function volumeOf(device: BlockDeviceSpec): GlusterVolume {
  const { host, port, volume } = device.params;
  if (typeof host !== "string" || !HOST.test(host))
    throw new BlockDeviceError(`${describeDevice(device)}: its parameter host is no name or address of a host`);
  if (typeof port !== "number" || !Number.isInteger(port) || port < 1 || port > 65_535)
    throw new BlockDeviceError(`${describeDevice(device)}: its parameter port is no port`);
  if (typeof volume !== "string" || !VOLUME.test(volume))
    throw new BlockDeviceError(`${describeDevice(device)}: its parameter volume is no name of a volume`);
  return { host, port, name: volume };
}

/** @throws BlockDeviceError before anything is mounted for a file that cannot be there */
function requirePlace(device: BlockDeviceSpec, mountPoint: string): void {
  const target = device.logicalId[1];
  if (device.template === "gluster" && typeof target === "string" && target.startsWith(`${mountPoint}/`)) return;
  throw new BlockDeviceError(
    `${describeDevice(device)}: the logical id of a gluster disk is [driver, path], its path below ${mountPoint}; where the cluster's gluster_storage_dir is another folder, it must be this node's glusterStorageDir too (configuration of its agent)`,
  );
}
