/** The disk templates of this node: which driver serves each. */
import type { BlockDeviceDriver } from "@gannet/driver-contract";
import { OpPrereqError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { DiskTemplate } from "@gannet/objects";
import type { Logger } from "@gannet/telemetry";
import type { AllowedRoots } from "./allowed-path.ts";
import { createFileDriver } from "./file/file-driver.ts";

export type { AllowedRoots } from "./allowed-path.ts";

/** What drivers are made from; each takes what it needs. */
export interface BlockDeviceParts {
  readonly fileStorage: AllowedRoots;
  readonly sharedFileStorage: AllowedRoots;
  readonly runner: CommandRunner;
  readonly logger: Logger;
}

/** A template that is absent has no driver yet; `diskless` needs none, because it has no devices. */
export const BLOCK_DEVICE_DRIVERS: Readonly<
  Partial<Record<DiskTemplate, (parts: BlockDeviceParts) => BlockDeviceDriver>>
> = {
  file: ({ fileStorage, logger }) => createFileDriver({ template: "file", allowed: fileStorage, logger }),
  sharedfile: ({ sharedFileStorage, logger }) =>
    createFileDriver({ template: "sharedfile", allowed: sharedFileStorage, logger }),
};

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
