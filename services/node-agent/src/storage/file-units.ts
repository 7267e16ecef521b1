/** Storage units of the file templates: the folders below which their disks may lie. */
import { statfs } from "node:fs/promises";
import type { StorageUnit, StorageUnitDriver } from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import { BYTES_PER_MIB } from "../block-devices/describe-device.ts";

export function createFileUnits(type: "file" | "sharedfile", roots: readonly string[]): StorageUnitDriver {
  const refuse = async (): Promise<never> => {
    throw new BlockDeviceError(`A folder of ${type} storage can be neither repaired nor excluded from use`);
  };

  async function unitOf(name: string): Promise<StorageUnit> {
    try {
      // In units of frsize; bsize is only the preferred size of a transfer.
      const { blocks, bfree, bavail, frsize } = await statfs(name, { bigint: true });
      const mib = (count: bigint) => Number((count * frsize) / BigInt(BYTES_PER_MIB));
      return {
        ...{ name, type, allocatable: true },
        ...{ sizeMib: mib(blocks), usedMib: mib(blocks - bfree), freeMib: mib(bavail) },
      };
    } catch (error) {
      const cause = error instanceof Error ? error.message : String(error);
      throw new BlockDeviceError(`The file storage folder ${name} cannot be read: ${cause}`, { cause: error });
    }
  }

  return {
    type,
    list: (name) => Promise.all(roots.filter((root) => name === undefined || root === name).map(unitOf)),
    setAllocatable: refuse,
    repair: refuse,
  };
}
