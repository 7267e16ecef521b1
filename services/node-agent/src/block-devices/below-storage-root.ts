/**
 * Several agents on one machine: each keeps the files that its node's paths name below a folder of its own, as
 * in a chroot, so that the nodes' storage is apart although the cluster's paths are the same on all of them.
 */
import path from "node:path";
import {
  type BlockDeviceDriver,
  type BlockDeviceSpec,
  canBlockDevice,
  type RenamingDriver,
} from "@gannet/driver-contract";

/** A file template's driver whose paths are taken below `root`. */
export function belowStorageRoot(driver: BlockDeviceDriver, root: string): BlockDeviceDriver & Partial<RenamingDriver> {
  const placed = (device: BlockDeviceSpec): BlockDeviceSpec => {
    const [fileDriver = "", file = "", ...rest] = device.logicalId;
    return { ...device, logicalId: [fileDriver, `${root}${path.sep}${file}`.replaceAll("//", "/"), ...rest] };
  };
  return {
    template: driver.template,
    create: (device, signal) => driver.create(placed(device), signal),
    assemble: (device, signal) => driver.assemble(placed(device), signal),
    shutdown: (device, signal) => driver.shutdown(placed(device), signal),
    remove: (device, signal) => driver.remove(placed(device), signal),
    grow: (device, newSizeMib, signal) => driver.grow(placed(device), newSizeMib, signal),
    status: (device, signal) => driver.status(placed(device), signal),
    space: (signal) => driver.space(signal),
    ...(canBlockDevice(driver, "rename")
      ? {
          rename: (device, to, signal) =>
            driver.rename(placed(device), placed({ ...device, logicalId: [...to] }).logicalId, signal),
        }
      : {}),
  };
}
