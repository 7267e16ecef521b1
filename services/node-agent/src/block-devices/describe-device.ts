/** What drivers call a disk in the messages of their errors, and the sizes all of them refuse. */
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import { diskUuid } from "@gannet/objects";

export const BYTES_PER_MIB = 1024 * 1024;
const PLACE_LIMIT_CHARS = 300;

/** `Disk 0 of web1.example.com (plain xenvg/abc.disk0)` */
export function describeDevice(device: BlockDeviceSpec): string {
  const place = device.logicalId.join("/").slice(0, PLACE_LIMIT_CHARS) || "without a place";
  return `Disk ${device.index} of ${device.instanceName} (${device.template} ${place})`;
}

/** @throws BlockDeviceError when no disk can have that size */
export function possibleBytes(device: BlockDeviceSpec, sizeMib: number): number {
  const bytes = sizeMib * BYTES_PER_MIB;
  if (!Number.isSafeInteger(sizeMib) || sizeMib < 1 || !Number.isSafeInteger(bytes))
    throw new BlockDeviceError(`${describeDevice(device)}: ${sizeMib} MiB is not a possible size`);
  return bytes;
}

/** @throws BlockDeviceError when what is to be noted as the owner of a device is no disk's UUID */
export function requireUuid(device: BlockDeviceSpec): void {
  if (!diskUuid.safeParse(device.uuid).success)
    throw new BlockDeviceError(`${describeDevice(device)}: ${JSON.stringify(device.uuid)} is not a UUID`);
}
