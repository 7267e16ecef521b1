/** The storage of this node, over its real or simulated tools. */
import type { StorageSpace, StorageVolume } from "@gannet/driver-contract";
import { BYTES_PER_MIB } from "../block-devices/describe-device.ts";
import { createDrbdFacts } from "../block-devices/drbd/drbd-facts.ts";
import type { RootSpaces } from "../block-devices/file/root-space.ts";
import type { Lvm } from "../block-devices/lvm/lvm.ts";
import {
  isActive,
  isAllocatable,
  isMissing,
  isOpen,
  type LogicalVolume,
  type PhysicalVolume,
} from "../block-devices/lvm/reports.ts";
import type { StorageTools } from "../block-devices/storage-tools.ts";
import { createFileUnits } from "./file-units.ts";
import { createPhysicalVolumeUnits, createVolumeGroupUnits } from "./lvm-units.ts";
import type { NodeStorage } from "./node-storage.ts";

export function createNodeStorage(parts: {
  readonly lvm: Lvm;
  readonly tools: StorageTools;
  readonly fileStorageRoots: readonly string[];
  readonly sharedFileStorageRoots: readonly string[];
  readonly spaces: Pick<RootSpaces, "read">;
}): NodeStorage {
  const { lvm, tools, fileStorageRoots, sharedFileStorageRoots, spaces } = parts;
  const units = [
    createPhysicalVolumeUnits(lvm),
    createVolumeGroupUnits(lvm),
    createFileUnits("file", fileStorageRoots, spaces),
    createFileUnits("sharedfile", sharedFileStorageRoots, spaces),
  ];
  return {
    units: new Map(units.map((driver) => [driver.type, driver])),
    volumes: async (signal) => (await lvm.logicalVolumes(signal)).map(storageVolume),
    spindles: async (signal) =>
      (await lvm.isInstalled()) ? spindlesOf((await lvm.knownStorage(signal)).physicalVolumes) : [],
    drbd: createDrbdFacts({ tools }),
  };
}

function spindlesOf(all: readonly PhysicalVolume[]): readonly StorageSpace[] {
  const usable = all.filter((each) => each.volumeGroup !== "" && isAllocatable(each) && !isMissing(each));
  return [...Map.groupBy(usable, ({ volumeGroup }) => volumeGroup)].map(([name, volumes]) => ({
    ...{ type: "lvm-pv", name, totalMib: volumes.length },
    freeMib: volumes.filter(({ freeBytes, sizeBytes }) => freeBytes === sizeBytes).length,
  }));
}

function storageVolume(volume: LogicalVolume): StorageVolume {
  const { name, volumeGroup, sizeBytes, devices } = volume;
  const sizeMib = Math.floor(sizeBytes / BYTES_PER_MIB);
  return { name, volumeGroup, sizeMib, devices, active: isActive(volume), inUse: isOpen(volume) };
}
