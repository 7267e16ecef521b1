/** On which physical volumes a new logical volume goes (spec/node-ops.json, `storage.lvm`, create). */
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import { BYTES_PER_MIB, describeDevice } from "../describe-device.ts";
import type { Lvm } from "./lvm.ts";
import { isAllocatable, isMissing, type PhysicalVolume } from "./reports.ts";

/** Whether the node gives each disk physical volumes of its own. */
export function isExclusive({ params }: Pick<BlockDeviceSpec, "params">): boolean {
  return params.exclusive_storage === true;
}

/**
 * Their names, those with most free space first.
 * @throws BlockDeviceError when the group does not exist, or the space is not there
 */
export async function physicalVolumesFor(
  device: BlockDeviceSpec,
  volumeGroup: string,
  sizeBytes: number,
  lvm: Lvm,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const all = (await lvm.storage(signal)).physicalVolumes.filter((each) => each.volumeGroup === volumeGroup);
  if (all.length === 0)
    throw new BlockDeviceError(
      `${describeDevice(device)} cannot be created: there is no volume group ${volumeGroup} on this node`,
    );
  const usable = all
    .filter((each) => isAllocatable(each) && !isMissing(each) && each.freeBytes > 0)
    .toSorted((a, b) => b.freeBytes - a.freeBytes);
  const chosen = isExclusive(device) ? wholeOnes(device, usable, sizeBytes) : usable;
  const freeBytes = chosen.reduce((sum, each) => sum + each.freeBytes, 0);
  if (freeBytes < sizeBytes)
    throw new BlockDeviceError(
      `${describeDevice(device)} cannot be created: volume group ${volumeGroup} has ${Math.floor(freeBytes / BYTES_PER_MIB)} MiB free${isExclusive(device) ? " on the empty physical volumes that it may take" : ""}, ${device.sizeMib} are needed`,
    );
  return chosen.map(({ name }) => name);
}

/** As many as the disk has spindles, or, where it tells none, as its size needs. */
function wholeOnes(
  device: BlockDeviceSpec,
  usable: readonly PhysicalVolume[],
  sizeBytes: number,
): readonly PhysicalVolume[] {
  const empty = usable.filter(({ freeBytes, sizeBytes: whole }) => freeBytes === whole);
  const { spindles } = device.params;
  const count = typeof spindles === "number" ? spindles : needed(empty, sizeBytes);
  if (count > empty.length)
    throw new BlockDeviceError(
      `${describeDevice(device)} cannot be created: it takes ${count} empty physical volumes, and there are ${empty.length}`,
    );
  return empty.slice(0, count);
}

function needed(empty: readonly PhysicalVolume[], sizeBytes: number): number {
  let reached = 0;
  let count = 0;
  for (const { sizeBytes: whole } of empty) {
    if (reached >= sizeBytes) break;
    reached += whole;
    count += 1;
  }
  return count;
}
