/**
 * Disks that are block devices of the node which exist already, as a storage network gives them: template `blockdev`
 * (spec/node-ops.json, `storage.blockdev`). They are never created, removed or grown.
 */
import type { AdoptingDriver, AttachedDevice, BlockDeviceDriver, BlockDeviceSpec } from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { LogicalId } from "@gannet/objects";
import { BYTES_PER_MIB, describeDevice, possibleBytes } from "../describe-device.ts";
import { deviceSizeBytes } from "../device-size.ts";
import type { StorageTools } from "../storage-tools.ts";
import { findDevice } from "./device-path.ts";

export interface BlockdevDriverOptions {
  readonly runner: CommandRunner;
  readonly tools: StorageTools;
}

interface Found {
  /** As it was named, because such a name stays when the kernel's own (`/dev/sdb`) changes. */
  readonly path: string;
  readonly kind: AttachedDevice["kind"];
  readonly sizeMib: number;
}

export function createBlockdevDriver(options: BlockdevDriverOptions): BlockDeviceDriver & AdoptingDriver {
  async function find(logicalId: LogicalId, name: string, signal: AbortSignal): Promise<Found | undefined> {
    signal.throwIfAborted();
    const found = await findDevice(logicalId, options.tools.deviceFolder, name);
    if (found === undefined) return undefined;
    const bytes = await deviceSizeBytes(options, found.realPath, name, signal);
    return { path: found.path, kind: found.kind, sizeMib: Math.floor(bytes / BYTES_PER_MIB) };
  }

  async function findDisk(device: BlockDeviceSpec, signal: AbortSignal): Promise<Found | undefined> {
    const name = describeDevice(device);
    if (device.template !== "blockdev") throw new BlockDeviceError(`${name} is no disk of template blockdev`);
    return find(device.logicalId, name, signal);
  }

  async function present(device: BlockDeviceSpec, signal: AbortSignal): Promise<Found> {
    const found = await findDisk(device, signal);
    if (found === undefined) throw new BlockDeviceError(`${describeDevice(device)} does not exist`);
    return found;
  }

  return {
    template: "blockdev",

    create: async (device, signal) => {
      possibleBytes(device, device.sizeMib);
      const { sizeMib } = await present(device, signal);
      if (sizeMib < device.sizeMib)
        throw new BlockDeviceError(`${describeDevice(device)} has ${sizeMib} MiB, ${device.sizeMib} are needed`);
    },

    assemble: async (device, signal) => {
      const { path, kind } = await present(device, signal);
      return { path, kind, format: "raw" };
    },

    shutdown: async (device, signal) => {
      await findDisk(device, signal);
    },

    remove: async (device, signal) => {
      await findDisk(device, signal);
    },

    grow: async (device, _newSizeMib, signal) => {
      await present(device, signal);
      throw new BlockDeviceError(
        `${describeDevice(device)} cannot be grown here: its size is given by whatever provides the device`,
      );
    },

    status: async (device, signal) => {
      const found = await findDisk(device, signal);
      return { exists: found !== undefined, sizeMib: found?.sizeMib ?? 0 };
    },

    space: async () => [],

    adoptable: (logicalIds, signal) =>
      Promise.all(
        logicalIds.map(async (logicalId) => {
          const found = await find(logicalId, `The device ${JSON.stringify(logicalId).slice(0, 300)}`, signal);
          // Whoever uses it on another node of the storage network is not known here.
          return found && { logicalId, sizeMib: found.sizeMib, inUse: false };
        }),
      ),
  };
}
