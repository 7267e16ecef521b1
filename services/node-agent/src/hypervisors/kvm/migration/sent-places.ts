/**
 * Which devices the target of a migration has to make. qemu takes a guest only into a machine with the same ones, and
 * tells of another late and in its own words.
 */
import { HypervisorError } from "@gannet/errors";
import { processArguments } from "../../process-identity.ts";
import { argvDeviceIds } from "../argv/argv-device-ids.ts";
import type { DevicePlaces } from "../argv/device-slots.ts";
import { SCSI_CONTROLLER } from "../argv/scsi-controllers.ts";
import type { GuestMonitor } from "../guest-monitor.ts";
import { presentDevices } from "../hotplug/release-device.ts";
import type { RuntimeRecord } from "../runtime-record.ts";

type Recorded = Pick<RuntimeRecord, "guest" | "places">;

/** Devices that come and go with the configuration; only the record tells whether the guest shall have them now. */
const COMES_AND_GOES = /^(disk|nic)-|^scsi$/;

/** @throws HypervisorError when the guest has lost a device, or has one that a target would not make */
export async function sentPlaces(record: Recorded, monitor: GuestMonitor): Promise<DevicePlaces> {
  const [present, argv] = await Promise.all([presentDevices(monitor), processArguments(monitor.process.pid)]);
  return placesToSend(record, present, argvDeviceIds(argv));
}

/**
 * @param present the devices that the guest has, by their ids
 * @param started those that it was started with
 * @throws HypervisorError as {@link sentPlaces}
 */
export function placesToSend(
  { guest, places }: Recorded,
  present: ReadonlySet<string>,
  started: readonly string[],
): DevicePlaces {
  // Recorded before it is plugged in, so that it may not have come to that. Nothing can be on it then.
  const { [SCSI_CONTROLLER]: controller, ...others } = places;
  const lost = Object.keys(others).find((id) => !present.has(id));
  // It went by itself, after an unplug had given it up.
  if (lost !== undefined)
    throw new HypervisorError(`Instance ${guest.name} has let go of its device ${lost}; unplug it once more`);
  const made = new Set([...Object.keys(places), ...started.filter((id) => !COMES_AND_GOES.test(id))]);
  const unknown = [...present].filter((id) => !made.has(id));
  if (unknown.length > 0) {
    throw new HypervisorError(
      `Instance ${guest.name} cannot be migrated: it has devices that this node has no record of and the target ` +
        `would not make: ${unknown.join(", ")}; plug them in again or take them out, or reboot the instance`,
    );
  }
  return controller === undefined || !present.has(SCSI_CONTROLLER)
    ? others
    : { ...others, [SCSI_CONTROLLER]: controller };
}
