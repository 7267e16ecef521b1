/** BlockDeviceService over the drivers of this node's disk templates. */
import {
  type AttachedDevice,
  type BlockDeviceAbilities,
  type BlockDeviceDriver,
  type BlockDeviceSpec,
  canBlockDevice,
  canHypervisor,
  type HypervisorDriver,
  type MirrorStatus,
} from "@gannet/driver-contract";
import { OpPrereqError } from "@gannet/errors";
import { DISK_TEMPLATES, type DiskTemplate, type HypervisorName } from "@gannet/objects";
import {
  type AgentHandlers,
  type AttachedDevice as AttachedDeviceMessage,
  type BlockDevice,
  type Empty,
  encodeParameters,
  type MirrorStatusReply_Disk,
  SERVICES,
  type Step,
} from "@gannet/rpc";
import { z } from "zod";
import type { DiskContents } from "../block-devices/disk-contents.ts";
import type { MachineImages } from "../block-devices/machine-images.ts";
import { type Device, device, deviceResources, guestDisk, parse, sizeMib, text } from "./messages.ts";
import type { Steps } from "./steps.ts";

export type BlockDeviceDrivers = ReadonlyMap<DiskTemplate, BlockDeviceDriver>;

/** @throws OpPrereqError when this node has no driver for the template */
export function driverOf(drivers: BlockDeviceDrivers, template: DiskTemplate): BlockDeviceDriver {
  const driver = drivers.get(template);
  if (driver === undefined)
    throw new OpPrereqError(`Disk template ${template} is not supported on this node`, "wrong_input");
  return driver;
}

const MAX_DEVICES = 1_000;
const template = z.enum(DISK_TEMPLATES);
const image = text.min(1);
const logicalId = z.array(text).min(1).max(8);
const candidates = z.array(z.object({ template, logicalId })).max(MAX_DEVICES);

export function createBlockDeviceHandlers(parts: {
  readonly steps: Steps;
  readonly drivers: BlockDeviceDrivers;
  readonly contents: DiskContents;
  readonly images: MachineImages;
  readonly hypervisors: ReadonlyMap<HypervisorName, HypervisorDriver>;
}): AgentHandlers["blockDevices"] {
  const { steps, drivers, contents, images, hypervisors } = parts;
  const methods = SERVICES.blockDevices;

  /** @throws OpPrereqError when the template's driver has not the ability */
  function able<Ability extends keyof BlockDeviceAbilities>(
    name: DiskTemplate,
    ability: Ability,
  ): BlockDeviceDriver & BlockDeviceAbilities[Ability] {
    const driver = driverOf(drivers, name);
    if (canBlockDevice(driver, ability)) return driver;
    throw new OpPrereqError(`Disk template ${name} cannot do this (${ability})`, "wrong_input");
  }

  /** Whoever has its image open, for nobody else can change it then: the hypervisor of a guest that runs here. */
  async function userOf({ params, instanceName }: Device) {
    if (params.format !== "qcow2") return undefined;
    for (const driver of hypervisors.values()) {
      const status = (await driver.state(instanceName))?.status;
      if (canHypervisor(driver, "plug") && (status === "running" || status === "paused")) return driver;
    }
    return undefined;
  }

  async function grow(disk: Device, newSizeMib: number, signal: AbortSignal): Promise<void> {
    const driver = driverOf(drivers, disk.template);
    const user = await userOf(disk);
    if (user !== undefined && newSizeMib > (await driver.status(disk, signal)).sizeMib) {
      const grown = { ...disk, sizeMib: newSizeMib };
      const attached = await driver.assemble(disk, signal);
      await user.resizeDisk(disk.instanceName, guestDisk(grown, attached, disk.index), signal);
    }
    // Finds it done then, unless the guest is a simulated one.
    await driver.grow(disk, newSizeMib, signal);
  }

  /** A step that changes one disk and answers nothing. */
  async function change(
    method: MethodWithoutAnswer,
    request: { readonly step: Step | undefined; readonly device: BlockDevice | undefined },
    signal: AbortSignal,
    work: (disk: Device, signal: AbortSignal) => Promise<void>,
  ): Promise<Empty> {
    const disk = parse(device, request.device, "disk");
    return steps.run(
      {
        step: request.step,
        method,
        resources: deviceResources([disk]),
        work: async (running) => {
          await work(disk, running);
          return {};
        },
      },
      signal,
    );
  }

  return {
    create: (request, { signal }) =>
      change(methods.create, request, signal, (disk, running) =>
        driverOf(drivers, disk.template).create(disk, running),
      ),

    assemble: async (request, { signal }) => {
      const disk = parse(device, request.device, "disk");
      return steps.run(
        {
          step: request.step,
          method: methods.assemble,
          resources: deviceResources([disk]),
          work: async (running) => attachedDevice(await driverOf(drivers, disk.template).assemble(disk, running)),
        },
        signal,
      );
    },

    shutdown: (request, { signal }) =>
      change(methods.shutdown, request, signal, (disk, running) =>
        driverOf(drivers, disk.template).shutdown(disk, running),
      ),

    remove: (request, { signal }) =>
      change(methods.remove, request, signal, (disk, running) =>
        driverOf(drivers, disk.template).remove(disk, running),
      ),

    grow: async (request, { signal }) => {
      const newSizeMib = parse(z.int().positive(), request.newSizeMib, "new size");
      return change(methods.grow, request, signal, (disk, running) => grow(disk, newSizeMib, running));
    },

    status: async (request, { signal }) => {
      const disk = parse(device, request.device, "disk");
      return { ...(await driverOf(drivers, disk.template).status(disk, signal)) };
    },

    rename: async (request, { signal }) => {
      const to = parse(logicalId, request.logicalId, "new logical id");
      return change(methods.rename, request, signal, (disk, running) =>
        able(disk.template, "rename").rename(disk, to, running),
      );
    },

    setInfo: (request, { signal }) =>
      change(methods.setInfo, request, signal, async (disk, running) => {
        const driver = driverOf(drivers, disk.template);
        if (canBlockDevice(driver, "setInfo")) await driver.setInfo(disk, running);
      }),

    snapshot: async (request, { signal }) => {
      const disk = parse(device, request.device, "disk");
      const size = parse(sizeMib, request.sizeMib, "size");
      const name = parse(text.optional(), request.name, "name");
      return steps.run(
        {
          step: request.step,
          method: methods.snapshot,
          resources: deviceResources([disk]),
          work: async (running) => {
            const options = { sizeMib: size, ...(name === undefined ? {} : { name }) };
            return blockDevice(await able(disk.template, "snapshot").snapshot(disk, options, running));
          },
        },
        signal,
      );
    },

    adoptable: async (request, { signal }) => {
      const asked = parse(candidates, request.candidates, "candidates");
      const answers = await Promise.all(
        asked.map(async (each) => {
          const [found] = await able(each.template, "adoptable").adoptable([each.logicalId], signal);
          return found === undefined
            ? { exists: false, sizeMib: 0, inUse: false }
            : { exists: true, sizeMib: found.sizeMib, inUse: found.inUse };
        }),
      );
      return { candidates: answers };
    },

    wipe: async (request, { signal }) => {
      const part = {
        offsetMib: parse(sizeMib, request.offsetMib, "offset"),
        sizeMib: parse(sizeMib, request.sizeMib, "size"),
      };
      return change(methods.wipe, request, signal, async (disk, running) => {
        const attached = await driverOf(drivers, disk.template).assemble(disk, running);
        await contents.wipe(attached, part, running);
      });
    },

    convert: async (request, { signal }) => {
      const source = parse(device, request.source, "source");
      const target = parse(device, request.target, "target");
      return steps.run(
        {
          step: request.step,
          method: methods.convert,
          resources: deviceResources([source, target]),
          work: async (running) => {
            const from = await driverOf(drivers, source.template).assemble(source, running);
            const to = await driverOf(drivers, target.template).assemble(target, running);
            await contents.copy(from, to, source.sizeMib, running);
            return {};
          },
        },
        signal,
      );
    },

    describeImage: async (request, { signal }) => {
      return { sizeBytes: await images.sizeBytes(parse(image, request.image, "image"), signal) };
    },

    writeImage: async (request, { signal }) => {
      const name = parse(image, request.image, "image");
      return change(methods.writeImage, request, signal, async (disk, running) => {
        const attached = await driverOf(drivers, disk.template).assemble(disk, running);
        await images.write(name, { disk: attached, sizeMib: disk.sizeMib }, running);
      });
    },

    standBy: (request, { signal }) =>
      change(methods.standBy, request, signal, (disk, running) => mirroring(disk).standBy(disk, running)),

    seed: (request, { signal }) =>
      change(methods.seed, request, signal, (disk, running) => mirroring(disk).seed(disk, running)),

    connect: (request, { signal }) =>
      change(methods.connect, request, signal, (disk, running) =>
        mirroring(disk).connect(disk, { dualPrimary: request.dualPrimary }, running),
      ),

    disconnect: (request, { signal }) =>
      change(methods.disconnect, request, signal, (disk, running) => mirroring(disk).disconnect(disk, running)),

    attachVolumes: (request, { signal }) =>
      change(methods.attachVolumes, request, signal, (disk, running) => mirroring(disk).attachVolumes(disk, running)),

    detachVolumes: (request, { signal }) =>
      change(methods.detachVolumes, request, signal, (disk, running) => mirroring(disk).detachVolumes(disk, running)),

    pauseSync: (request, { signal }) =>
      change(methods.pauseSync, request, signal, (disk, running) =>
        mirroring(disk).pauseSync(disk, request.paused, running),
      ),

    mirrorStatus: async (request, { signal }) => {
      const disks = parse(z.array(device).max(MAX_DEVICES), request.devices, "disks");
      return { disks: await Promise.all(disks.map((disk) => statusOf(disk, signal))) };
    },
  };

  function mirroring({ template: name }: Device) {
    return able(name, "mirrorStatus");
  }

  async function statusOf(disk: Device, signal: AbortSignal): Promise<MirrorStatusReply_Disk> {
    try {
      return { status: mirrorStatus(await mirroring(disk).mirrorStatus(disk, signal)), problem: "" };
    } catch (error) {
      signal.throwIfAborted();
      return { status: undefined, problem: error instanceof Error ? error.message : String(error) };
    }
  }
}

type Methods = (typeof SERVICES)["blockDevices"];
type MethodWithoutAnswer = {
  [M in keyof Methods]: Methods[M]["responseSerialize"] extends (value: Empty) => Buffer ? Methods[M] : never;
}[keyof Methods];

function attachedDevice({ uris, ...attached }: AttachedDevice): AttachedDeviceMessage {
  return { ...attached, uris: { ...uris } };
}

/** A device that a driver has made, which never is one with a secret. */
function blockDevice(disk: BlockDeviceSpec): BlockDevice {
  return {
    ...disk,
    logicalId: disk.logicalId.map(String),
    params: encodeParameters(disk.params),
    children: disk.children.map(blockDevice),
    name: undefined,
    link: undefined,
  };
}

function mirrorStatus({ syncPercent, estimatedSeconds, ...status }: MirrorStatus) {
  return {
    ...status,
    syncPercent: syncPercent ?? undefined,
    estimatedSeconds: estimatedSeconds ?? undefined,
  };
}
