/** Storage units of the file templates: the folders below which their disks may lie. */
import type { StorageUnit, StorageUnitDriver } from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import type { RootSpaces } from "../block-devices/file/root-space.ts";

export function createFileUnits(
  type: "file" | "sharedfile",
  roots: readonly string[],
  spaces: Pick<RootSpaces, "read">,
): StorageUnitDriver {
  const refuse = async (): Promise<never> => {
    throw new BlockDeviceError(`A folder of ${type} storage can be neither repaired nor excluded from use`);
  };

  async function unitOf(name: string): Promise<StorageUnit> {
    const space = await spaces.read(name).catch((error: unknown) => {
      const cause = error instanceof Error ? error.message : String(error);
      throw new BlockDeviceError(`The file storage folder ${name} cannot be read: ${cause}`, { cause: error });
    });
    if (space === undefined) throw new BlockDeviceError(`The file storage folder ${name} does not exist on this node`);
    const { totalMib, usedMib, freeMib } = space;
    return { name, type, allocatable: true, sizeMib: totalMib, usedMib, freeMib };
  }

  /**
   * Those that can be read; of the others the file driver warns, which has the same folders.
   * @throws BlockDeviceError when none of them can be
   */
  async function list(name: string | undefined): Promise<readonly StorageUnit[]> {
    const asked = roots.filter((root) => name === undefined || root === name);
    const units = await Promise.allSettled(asked.map(unitOf));
    const read = units.filter((unit) => unit.status === "fulfilled").map(({ value }) => value);
    const unread = units.find((unit) => unit.status === "rejected");
    if (read.length === 0 && unread !== undefined) throw unread.reason;
    return read;
  }

  return { type, list, setAllocatable: refuse, repair: refuse };
}
