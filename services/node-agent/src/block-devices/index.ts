/** The disk templates of this node: which driver serves each. */
import type { BlockDeviceDriver } from "@gannet/driver-contract";
import { OpPrereqError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { DiskTemplate } from "@gannet/objects";
import type { Logger } from "@gannet/telemetry";
import type { LogFolder } from "../log-folder.ts";
import type { AllowedRoots } from "./allowed-path.ts";
import { createBlockdevDriver } from "./blockdev/blockdev-driver.ts";
import { createDrbdDriver } from "./drbd/drbd-driver.ts";
import { createExtDriver } from "./ext/ext-driver.ts";
import { GANETI_EXT_STORAGE_SEARCH_PATH } from "./ext/provider.ts";
import { createFileDriver } from "./file/file-driver.ts";
import type { RootSpaces } from "./file/root-space.ts";
import { createGlusterDriver, GLUSTER_PLACES } from "./gluster/gluster-driver.ts";
import type { Lvm } from "./lvm/lvm.ts";
import { createPlainDriver, type PlainDriver } from "./lvm/plain-driver.ts";
import { createRbdDriver } from "./rbd/rbd-driver.ts";
import type { StorageTools } from "./storage-tools.ts";

export type { AllowedRoots } from "./allowed-path.ts";

/** What drivers are made from; each takes what it needs. */
export interface BlockDeviceParts {
  readonly fileStorage: AllowedRoots;
  readonly sharedFileStorage: AllowedRoots;
  /** Where Gluster volumes may be mounted. */
  readonly glusterStorageDir: string;
  readonly spaces: Pick<RootSpaces, "read">;
  /** Of external storage providers' scripts. */
  readonly logs: LogFolder;
  readonly tools: StorageTools;
  readonly lvm: Lvm;
  readonly runner: CommandRunner;
  readonly logger: Logger;
}

/** All but `diskless`, which has no devices. */
export const BLOCK_DEVICE_DRIVERS: Readonly<
  Partial<Record<DiskTemplate, (parts: BlockDeviceParts) => BlockDeviceDriver>>
> = {
  blockdev: createBlockdevDriver,
  drbd: (parts) => createDrbdDriver({ ...parts, plain: plainDriverOf(parts) }),
  ext: (parts) => createExtDriver({ ...parts, searchPath: GANETI_EXT_STORAGE_SEARCH_PATH }),
  file: (parts) => createFileDriver({ ...parts, template: "file", allowed: parts.fileStorage }),
  gluster: (parts) =>
    createGlusterDriver({ ...parts, places: { ...GLUSTER_PLACES, mountPoint: parts.glusterStorageDir } }),
  plain: plainDriverOf,
  rbd: createRbdDriver,
  sharedfile: (parts) => createFileDriver({ ...parts, template: "sharedfile", allowed: parts.sharedFileStorage }),
};

function plainDriverOf({ lvm, tools, logger }: BlockDeviceParts): PlainDriver {
  return createPlainDriver({ lvm, deviceFolder: tools.deviceFolder, logger });
}

export interface BlockDevices {
  /** One driver for each template this node supports. */
  readonly drivers: readonly BlockDeviceDriver[];
  /** @throws OpPrereqError (wrong_input) for a template without a driver, whatever its text */
  driver(template: string): BlockDeviceDriver;
}

export function createBlockDevices(parts: BlockDeviceParts): BlockDevices {
  const drivers = new Map(
    Object.entries(BLOCK_DEVICE_DRIVERS).map(([template, construct]) => [template, construct(parts)]),
  );
  return {
    drivers: [...drivers.values()],
    driver(template) {
      const driver = drivers.get(template);
      if (driver === undefined)
        throw new OpPrereqError(`Disk template ${template} is not supported on this node`, "wrong_input");
      return driver;
    },
  };
}
