/** InstanceService over the hypervisors of this node. */
import { EventEmitter, on } from "node:events";
import {
  type AttachedDevice,
  canHypervisor,
  type GuestState,
  type HotplugDevice,
  type HypervisorAbilities,
  type HypervisorDriver,
  type MigrationProgress,
} from "@gannet/driver-contract";
import { OpPrereqError } from "@gannet/errors";
import type { HypervisorName } from "@gannet/objects";
import {
  type AgentHandlers,
  type HotplugRequest,
  type MigrationProgress as MigrationProgressMessage,
  SERVICES,
  type StopRequest,
} from "@gannet/rpc";
import { z } from "zod";
import { asOfNow } from "../live-state/as-of.ts";
import type { GuestMetadataTable } from "../metadata/guest-metadata.ts";
import { type BlockDeviceDrivers, driverOf } from "./block-device-handlers.ts";
import { hotplug, noteNic } from "./hotplug-action.ts";
import {
  device,
  deviceResources,
  type Guest,
  guest,
  guestDisk,
  guestIdentity,
  guestMetadata,
  guestName,
  guestResource,
  guestSpec,
  hypervisorName,
  instanceConsole,
  nic,
  parse,
  timeoutMs,
  unknownInstance,
} from "./messages.ts";
import type { Steps } from "./steps.ts";

export type HypervisorDrivers = ReadonlyMap<HypervisorName, HypervisorDriver>;

/**
 * Make a guest's disks usable here, in their order. Every disk is assembled anew, which is free when it is already.
 */
export async function assembleDisks(
  drivers: BlockDeviceDrivers,
  { disks }: Pick<Guest, "disks">,
  signal: AbortSignal,
): Promise<readonly AttachedDevice[]> {
  const attached: AttachedDevice[] = [];
  for (const disk of disks) attached.push(await driverOf(drivers, disk.template).assemble(disk, signal));
  return attached;
}

export function createInstanceHandlers(parts: {
  readonly steps: Steps;
  readonly hypervisors: HypervisorDrivers;
  readonly blockDevices: BlockDeviceDrivers;
  /** Told when an operation has changed a guest, ahead of what the driver notices; returns as of when it is over. */
  readonly onGuestChange: (hypervisor: HypervisorName, name: string) => number;
  /** Undefined where guests are told nothing. */
  readonly metadata: GuestMetadataTable | undefined;
  /** Throws when this node's guests may run elsewhere by now, and none may be started here. */
  readonly refuseWhenFenced: () => void;
}): AgentHandlers["instances"] {
  const { steps, hypervisors, blockDevices, onGuestChange, metadata, refuseWhenFenced } = parts;
  const methods = SERVICES.instances;

  function hypervisor(name: string): HypervisorDriver {
    const driver = hypervisors.get(parse(hypervisorName, name, "hypervisor"));
    if (driver === undefined) throw new OpPrereqError(`Hypervisor ${name} is not enabled on this node`, "wrong_input");
    return driver;
  }

  /** @throws OpPrereqError when the hypervisor has not the ability */
  function able<Ability extends keyof HypervisorAbilities>(
    name: string,
    ability: Ability,
  ): HypervisorDriver & HypervisorAbilities[Ability] {
    const driver = hypervisor(name);
    if (canHypervisor(driver, ability)) return driver;
    throw new OpPrereqError(`Hypervisor ${name} cannot do this (${ability})`, "wrong_input");
  }

  /** The device of a request, its disk made usable here first. */
  async function hotplugDevice(
    request: Pick<HotplugRequest, "device" | "index">,
    signal: AbortSignal,
  ): Promise<HotplugDevice> {
    const index = parse(z.int().nonnegative(), request.index, "index");
    if (request.device?.$case !== "disk")
      return { kind: "nic", nic: { ...parse(nic, request.device?.value, "NIC"), index } };
    const disk = parse(device, request.device.value, "disk");
    const attached = await driverOf(blockDevices, disk.template).assemble(disk, signal);
    return { kind: "disk", disk: guestDisk(disk, attached, index) };
  }

  /** Whatever came of it, what is known of the guest may have changed. */
  async function changing<Result>(
    driver: HypervisorDriver,
    name: string,
    work: Promise<Result>,
  ): Promise<{ readonly result: Result; readonly asOfMs: number }> {
    try {
      const result = await work;
      return { result, asOfMs: onGuestChange(driver.name, name) };
    } catch (error) {
      onGuestChange(driver.name, name);
      throw error;
    }
  }

  async function changedState(driver: HypervisorDriver, name: string, work: Promise<GuestState>) {
    const { result, asOfMs } = await changing(driver, name, work);
    return { ...result, asOfMs };
  }

  function parseStop(request: StopRequest) {
    return {
      name: parse(guestName, request.name, "instance name"),
      driver: hypervisor(request.hypervisor),
      options: { force: request.force, timeoutMs: parse(timeoutMs, request.timeoutMs, "timeout") },
    };
  }

  return {
    validate: async (request, { signal }) => {
      const parsed = parse(guest, request.instance, "instance");
      await hypervisor(parsed.hypervisor).validate(guestSpec(parsed, []), signal);
      return {};
    },

    start: async (request, { signal }) => {
      const parsed = parse(guest, request.instance, "instance");
      const driver = hypervisor(parsed.hypervisor);
      const itself = guestMetadata(parsed, request.instance?.nics ?? []);
      const start = async (running: AbortSignal): Promise<GuestState> => {
        refuseWhenFenced();
        const attached = await assembleDisks(blockDevices, parsed, running);
        // That may have taken a while.
        refuseWhenFenced();
        const state = await driver.start(guestSpec(parsed, attached), { paused: request.paused }, running);
        await metadata?.set(parsed.name, itself);
        return state;
      };
      return steps.run(
        {
          step: request.step,
          method: methods.start,
          resources: [guestResource(parsed.name), ...deviceResources(parsed.disks)],
          work: (running) => changedState(driver, parsed.name, start(running)),
        },
        signal,
      );
    },

    stop: async (request, { signal }) => {
      const { name, driver, options } = parseStop(request);
      return steps.run(
        {
          step: request.step,
          method: methods.stop,
          resources: [guestResource(name)],
          work: async (running) => {
            const { asOfMs } = await changing(driver, name, driver.stop(name, options, running));
            await metadata?.set(name, undefined);
            return { name, asOfMs };
          },
        },
        signal,
      );
    },

    reboot: async (request, { signal }) => {
      const { name, driver, options } = parseStop(request);
      return steps.run(
        {
          step: request.step,
          method: methods.reboot,
          resources: [guestResource(name)],
          work: async (running) => {
            refuseWhenFenced();
            const reboot = () => changedState(driver, name, driver.reboot(name, options, running));
            return metadata === undefined ? reboot() : metadata.keepThrough(name, reboot);
          },
        },
        signal,
      );
    },

    state: async (request) => {
      const name = parse(guestName, request.name, "instance name");
      const driver = hypervisor(request.hypervisor);
      const asOfMs = asOfNow();
      const state = await driver.state(name);
      return { ...(state ?? unknownInstance(name, driver.name)), asOfMs };
    },

    console: async (request) => {
      const name = parse(guestName, request.name, "instance name");
      return instanceConsole(await hypervisor(request.hypervisor).console(name));
    },

    setMemory: async (request, { signal }) => {
      const name = parse(guestName, request.name, "instance name");
      const memoryMib = parse(z.int().positive(), request.memoryMib, "memory");
      const driver = able(request.hypervisor, "setMemory");
      return steps.run(
        {
          step: request.step,
          method: methods.setMemory,
          resources: [guestResource(name)],
          work: async (running) => {
            await changing(driver, name, driver.setMemory(name, memoryMib, running));
            return {};
          },
        },
        signal,
      );
    },

    migrationInfo: async (request, { signal }) => {
      const name = parse(guestName, request.name, "instance name");
      return { info: await able(request.hypervisor, "migrate").migrationInfo(name, signal) };
    },

    acceptMigration: async (request, { signal }) => {
      const parsed = parse(guest, request.instance, "instance");
      const address = parse(ipAddress, request.address, "address");
      const driver = able(parsed.hypervisor, "migrate");
      return steps.run(
        {
          step: request.step,
          method: methods.acceptMigration,
          resources: [guestResource(parsed.name), ...deviceResources(parsed.disks)],
          work: async (running) => {
            refuseWhenFenced();
            const attached = await assembleDisks(blockDevices, parsed, running);
            const spec = guestSpec(parsed, attached);
            const port = await driver.acceptMigration(spec, { info: request.info, address }, running);
            return { port };
          },
        },
        signal,
      );
    },

    async *migrate(request, { signal }) {
      const parsed = parse(guest, request.instance, "instance");
      const target = {
        address: parse(ipAddress, request.targetAddress, "target address"),
        port: parse(z.int().min(1).max(65535), request.targetPort, "target port"),
        nodeName: parse(guestName, request.targetNode, "target node"),
      };
      const driver = able(parsed.hypervisor, "migrate");
      const news = new EventEmitter<{ readonly progress: [MigrationProgressMessage]; readonly over: [] }>();
      // Before the work begins, so that nothing is missed.
      const told = on(news, "progress", { close: ["over"] });
      const migration = steps.run(
        {
          step: request.step,
          method: methods.migrate,
          resources: [guestResource(parsed.name)],
          work: async (running) => {
            const attached = await assembleDisks(blockDevices, parsed, running);
            let last = NOTHING_YET;
            for await (const each of driver.migrate(guestSpec(parsed, attached), target, request, running)) {
              last = migrationProgress(each);
              news.emit("progress", last);
            }
            return last;
          },
        },
        signal,
      );
      const over = migration.then(
        () => news.emit("over"),
        () => news.emit("over"),
      );
      for await (const [progress] of told) yield progress;
      await over;
      yield await migration;
    },

    finishMigrationSource: async (request, { signal }) => {
      const name = parse(guestName, request.name, "instance name");
      const driver = able(request.hypervisor, "migrate");
      return steps.run(
        {
          step: request.step,
          method: methods.finishMigrationSource,
          resources: [guestResource(name)],
          work: async (running) => {
            const finish = driver.finishMigrationSource(name, request.succeeded, running);
            const { asOfMs } = await changing(driver, name, finish);
            if (request.succeeded) await metadata?.set(name, undefined);
            return { name, asOfMs };
          },
        },
        signal,
      );
    },

    finishMigrationTarget: async (request, { signal }) => {
      const parsed = parse(guest, request.instance, "instance");
      const itself = guestMetadata(parsed, request.instance?.nics ?? []);
      const driver = able(parsed.hypervisor, "migrate");
      return steps.run(
        {
          step: request.step,
          method: methods.finishMigrationTarget,
          resources: [guestResource(parsed.name), ...deviceResources(parsed.disks)],
          work: async (running) => {
            if (request.succeeded) refuseWhenFenced();
            const attached = request.succeeded ? await assembleDisks(blockDevices, parsed, running) : [];
            const spec = request.succeeded ? guestSpec(parsed, attached) : guestSpec({ ...parsed, disks: [] }, []);
            await changing(driver, parsed.name, driver.finishMigrationTarget(spec, request.succeeded, running));
            await metadata?.set(parsed.name, request.succeeded ? itself : undefined);
            return {};
          },
        },
        signal,
      );
    },

    readNonvolatile: async (request) => {
      const { uuid } = parse(guestIdentity, request, "instance");
      const state = await able(request.hypervisor, "readNonvolatile").readNonvolatile(uuid);
      return { state: Buffer.from(state ?? []) };
    },

    writeNonvolatile: async (request, { signal }) => {
      const { name, uuid } = parse(guestIdentity, request, "instance");
      const driver = able(request.hypervisor, "readNonvolatile");
      return steps.run(
        {
          step: request.step,
          method: methods.writeNonvolatile,
          resources: [guestResource(name)],
          work: async () => {
            await driver.writeNonvolatile(uuid, request.state);
            return {};
          },
        },
        signal,
      );
    },

    removeNonvolatile: async (request, { signal }) => {
      const { name, uuid } = parse(guestIdentity, request, "instance");
      const driver = able(request.hypervisor, "readNonvolatile");
      return steps.run(
        {
          step: request.step,
          method: methods.removeNonvolatile,
          resources: [guestResource(name)],
          work: async () => {
            await driver.removeNonvolatile(uuid);
            return {};
          },
        },
        signal,
      );
    },

    checkHotplug: async (request, { signal }) => {
      const name = parse(guestName, request.name, "instance name");
      await able(request.hypervisor, "plug").checkHotplug(name, signal);
      return {};
    },

    hotplug: async (request, { signal }) => {
      const name = parse(guestName, request.name, "instance name");
      const driver = able(request.hypervisor, "plug");
      const disks = request.device?.$case === "disk" ? [parse(device, request.device.value, "disk")] : [];
      return steps.run(
        {
          step: request.step,
          method: methods.hotplug,
          resources: [guestResource(name), ...deviceResources(disks)],
          work: async (running) => {
            const plugged = await hotplugDevice(request, running);
            await changing(driver, name, hotplug(driver, request.action, name, plugged, running));
            if (request.device?.$case === "nic")
              await noteNic(metadata, { name, hypervisor: driver.name }, request.action, request.device.value);
            return {};
          },
        },
        signal,
      );
    },
  };
}

/** What a migration that told nothing is answered with. */
const NOTHING_YET: MigrationProgressMessage = {
  status: "failed",
  transferredBytes: 0,
  totalBytes: 0,
  downtimeMs: undefined,
  problem: "The hypervisor told nothing of the migration",
};
const ipAddress = z.union([z.ipv4(), z.ipv6()]);

function migrationProgress({ downtimeMs, ...progress }: MigrationProgress): MigrationProgressMessage {
  return { ...progress, downtimeMs: downtimeMs ?? undefined };
}
