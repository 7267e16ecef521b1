/** BlockDeviceService over the drivers of this node's disk templates. */
import type { BlockDeviceDriver } from "@gannet/driver-contract";
import { OpPrereqError } from "@gannet/errors";
import type { DiskTemplate } from "@gannet/objects";
import { type AgentHandlers, type BlockDevice, type Empty, SERVICES, type Step } from "@gannet/rpc";
import { z } from "zod";
import { type Device, device, deviceResources, parse } from "./messages.ts";
import type { Steps } from "./steps.ts";

export type BlockDeviceDrivers = ReadonlyMap<DiskTemplate, BlockDeviceDriver>;

/** @throws OpPrereqError when this node has no driver for the template */
export function driverOf(drivers: BlockDeviceDrivers, template: DiskTemplate): BlockDeviceDriver {
  const driver = drivers.get(template);
  if (driver === undefined)
    throw new OpPrereqError(`Disk template ${template} is not supported on this node`, "wrong_input");
  return driver;
}

export function createBlockDeviceHandlers(parts: {
  readonly steps: Steps;
  readonly drivers: BlockDeviceDrivers;
}): AgentHandlers["blockDevices"] {
  const { steps, drivers } = parts;
  const methods = SERVICES.blockDevices;

  /** A step that changes one disk and answers nothing. */
  async function change(
    method: (typeof methods)["create" | "shutdown" | "remove" | "grow"],
    request: { readonly step: Step | undefined; readonly device: BlockDevice | undefined },
    signal: AbortSignal,
    work: (driver: BlockDeviceDriver, disk: Device, signal: AbortSignal) => Promise<void>,
  ): Promise<Empty> {
    const disk = parse(device, request.device, "disk");
    const driver = driverOf(drivers, disk.template);
    return steps.run(
      {
        step: request.step,
        method,
        resources: deviceResources([disk]),
        work: async (running) => {
          await work(driver, disk, running);
          return {};
        },
      },
      signal,
    );
  }

  return {
    create: (request, { signal }) =>
      change(methods.create, request, signal, (driver, disk, running) => driver.create(disk, running)),

    assemble: async (request, { signal }) => {
      const disk = parse(device, request.device, "disk");
      const driver = driverOf(drivers, disk.template);
      return steps.run(
        {
          step: request.step,
          method: methods.assemble,
          resources: deviceResources([disk]),
          work: async (running) => ({ ...(await driver.assemble(disk, running)) }),
        },
        signal,
      );
    },

    shutdown: (request, { signal }) =>
      change(methods.shutdown, request, signal, (driver, disk, running) => driver.shutdown(disk, running)),

    remove: (request, { signal }) =>
      change(methods.remove, request, signal, (driver, disk, running) => driver.remove(disk, running)),

    grow: async (request, { signal }) => {
      const newSizeMib = parse(z.int().positive(), request.newSizeMib, "new size");
      return change(methods.grow, request, signal, (driver, disk, running) => driver.grow(disk, newSizeMib, running));
    },

    status: async (request, { signal }) => {
      const disk = parse(device, request.device, "disk");
      return { ...(await driverOf(drivers, disk.template).status(disk, signal)) };
    },
  };
}
