/** Storage units of types lvm-pv and lvm-vg (spec/node-ops.json, `storage.lvm`). */
import type { StorageUnit, StorageUnitDriver } from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import { BYTES_PER_MIB } from "../block-devices/describe-device.ts";
import { checkGroup, removeMissing, setAllocatable } from "../block-devices/lvm/commands.ts";
import type { Lvm } from "../block-devices/lvm/lvm.ts";
import { isGroupName } from "../block-devices/lvm/names.ts";
import { isAllocatable, isMissing, type PhysicalVolume } from "../block-devices/lvm/reports.ts";

export function createPhysicalVolumeUnits(lvm: Lvm): StorageUnitDriver {
  async function find(name: string, signal: AbortSignal): Promise<PhysicalVolume> {
    // A name that goes into a command is one that LVM has reported.
    const found = (await lvm.storage(signal)).physicalVolumes.find((each) => each.name === name);
    if (found === undefined || isMissing(found))
      throw new BlockDeviceError(`There is no physical volume ${quote(name)} on this node`);
    return found;
  }

  return {
    type: "lvm-pv",

    list: async (name, signal) =>
      (await lvm.storage(signal)).physicalVolumes
        .filter((each) => name === undefined || each.name === name)
        .map((each) => ({
          ...{ name: each.name, type: "lvm-pv", allocatable: isAllocatable(each) },
          ...sizes(each.sizeBytes, each.usedBytes, each.freeBytes),
        })),

    setAllocatable: async (name, allocatable, signal) => {
      if (isAllocatable(await find(name, signal)) === allocatable) return;
      const purpose = `Physical volume ${quote(name)}: not made ${allocatable ? "allocatable" : "unallocatable"}`;
      await lvm.run(setAllocatable(name, allocatable), purpose, signal);
      if (isAllocatable(await find(name, signal)) !== allocatable)
        throw new BlockDeviceError(`${purpose}, although pvchange reported success`);
    },

    repair: async () => {
      throw new BlockDeviceError("A physical volume cannot be repaired; what can be is its volume group (lvm-vg)");
    },
  };
}

export function createVolumeGroupUnits(lvm: Lvm): StorageUnitDriver {
  return {
    type: "lvm-vg",

    list: async (name, signal) =>
      (await lvm.storage(signal)).volumeGroups
        .filter((each) => name === undefined || each.name === name)
        .map((each) => ({
          ...{ name: each.name, type: "lvm-vg", allocatable: true },
          ...sizes(each.sizeBytes, each.sizeBytes - each.freeBytes, each.freeBytes),
        })),

    setAllocatable: async () => {
      throw new BlockDeviceError(
        "A volume group has no mark that forbids its use; its physical volumes (lvm-pv) have one each",
      );
    },

    repair: (name, signal) => repair(lvm, name, signal),
  };
}

/** What vgreduce says when the group was not whole, and is now. */
const WROTE_OUT = "Wrote out consistent volume group";
/** And when it had nothing to do. */
const CONSISTENT = "is already consistent";
/** What it says when it would have to remove volumes, and lvm2 2.03 with exit code 5. */
const HINT = "vgreduce --removemissing --force";
/** What vgs says of a physical volume that the group still counts on. */
const LOST_DEVICE = "Couldn't find device with uuid";

/**
 * Take lost physical volumes out of a group, with the logical volumes that lay on them: what is left of those is of no
 * use, and as long as they are there no other volume of the group can be changed.
 */
async function repair(lvm: Lvm, name: string, signal: AbortSignal): Promise<void> {
  if (!isGroupName(name)) throw new BlockDeviceError(`${quote(name)} is no name of a volume group`);
  const purpose = `Volume group ${name}: not repaired`;
  const reduced = await lvm.attempt(removeMissing(name, "when no volume suffers"), purpose, signal);
  const isWhole = [WROTE_OUT, CONSISTENT].some((text) => reduced.text.includes(text)) && !reduced.text.includes(HINT);
  const forced = isWhole ? reduced : await lvm.attempt(removeMissing(name, "with its volumes"), purpose, signal);
  const checked = await lvm.attempt(checkGroup(name), purpose, signal);
  if (checked.succeeded && !checked.text.includes(LOST_DEVICE)) return;
  throw new BlockDeviceError(`${purpose}; vgreduce says: ${forced.text.trim().slice(-1_000) || "nothing"}`);
}

function sizes(
  sizeBytes: number,
  usedBytes: number,
  freeBytes: number,
): Omit<StorageUnit, "name" | "type" | "allocatable"> {
  const mib = (bytes: number) => Math.floor(bytes / BYTES_PER_MIB);
  return { sizeMib: mib(sizeBytes), usedMib: mib(usedBytes), freeMib: mib(freeBytes) };
}

function quote(name: string): string {
  return JSON.stringify(name.slice(0, 200));
}
