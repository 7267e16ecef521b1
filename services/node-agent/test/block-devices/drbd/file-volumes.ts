/**
 * Volumes for DRBD disks that are plain files with an owner each: what the `plain` driver promises, without LVM's
 * processes, which would take most of a test's time.
 */
import { mkdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import type { VolumeDriver } from "../../../src/block-devices/drbd/drbd-volumes.ts";

const BYTES_PER_MIB = 1024 * 1024;

/** @param deviceFolder - where `<volume group>/<name>` of each is kept */
export function fileVolumes(deviceFolder: string): VolumeDriver {
  const owners = new Map<string, string>();
  const fileOf = ({ logicalId: [group, name] }: BlockDeviceSpec) => path.join(deviceFolder, `${group}`, `${name}`);
  const owned = (volume: BlockDeviceSpec): string => {
    const owner = owners.get(fileOf(volume));
    if (owner !== volume.uuid) throw new BlockDeviceError(`${fileOf(volume)} belongs to ${owner ?? "nobody"}`);
    return fileOf(volume);
  };
  const make: VolumeDriver["make"] = async (volume, signal) => {
    signal.throwIfAborted();
    const file = fileOf(volume);
    if (owners.has(file)) {
      owned(volume);
      return "was there";
    }
    owners.set(file, volume.uuid);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, "", { flag: "wx" });
    await truncate(file, volume.sizeMib * BYTES_PER_MIB);
    return "made";
  };
  return {
    template: "plain",
    make,
    create: async (volume, signal) => void (await make(volume, signal)),
    assemble: async (volume) => ({ path: owned(volume), kind: "file", format: "raw" }),
    shutdown: async () => {},
    setInfo: async (volume) => void owned(volume),
    remove: async (volume) => {
      if (!owners.has(fileOf(volume))) return;
      await rm(owned(volume));
      owners.delete(fileOf(volume));
    },
    grow: async (volume, newSizeMib) => {
      const { size } = await stat(owned(volume));
      if (size > newSizeMib * BYTES_PER_MIB) throw new BlockDeviceError(`${fileOf(volume)} is never made smaller`);
      await truncate(fileOf(volume), newSizeMib * BYTES_PER_MIB);
    },
    status: async (volume) => {
      if (owners.get(fileOf(volume)) !== volume.uuid) return { exists: false, sizeMib: 0 };
      return { exists: true, sizeMib: Math.floor((await stat(fileOf(volume))).size / BYTES_PER_MIB) };
    },
    space: async () => [],
  };
}
