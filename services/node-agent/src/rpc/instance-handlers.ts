/** InstanceService over the hypervisors of this node. */
import type { AttachedDevice, GuestState, HypervisorDriver } from "@gannet/driver-contract";
import { OpPrereqError } from "@gannet/errors";
import type { HypervisorName } from "@gannet/objects";
import { type AgentHandlers, SERVICES, type StopRequest } from "@gannet/rpc";
import { type BlockDeviceDrivers, driverOf } from "./block-device-handlers.ts";
import {
  deviceResources,
  type Guest,
  guest,
  guestName,
  guestResource,
  guestSpec,
  hypervisorName,
  instanceConsole,
  instanceState,
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
  /** Told when an operation has changed a guest, ahead of what the driver notices by itself. */
  readonly onGuestChange: (hypervisor: HypervisorName, name: string) => void;
}): AgentHandlers["instances"] {
  const { steps, hypervisors, blockDevices, onGuestChange } = parts;
  const methods = SERVICES.instances;

  function hypervisor(name: string): HypervisorDriver {
    const driver = hypervisors.get(parse(hypervisorName, name, "hypervisor"));
    if (driver === undefined) throw new OpPrereqError(`Hypervisor ${name} is not enabled on this node`, "wrong_input");
    return driver;
  }

  /** Whatever came of it, what is known of the guest may have changed. */
  async function changing<Result>(driver: HypervisorDriver, name: string, work: Promise<Result>): Promise<Result> {
    try {
      return await work;
    } finally {
      onGuestChange(driver.name, name);
    }
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
      const start = async (running: AbortSignal): Promise<GuestState> => {
        const attached = await assembleDisks(blockDevices, parsed, running);
        return driver.start(guestSpec(parsed, attached), { paused: request.paused }, running);
      };
      return steps.run(
        {
          step: request.step,
          method: methods.start,
          resources: [guestResource(parsed.name), ...deviceResources(parsed.disks)],
          work: async (running) => instanceState(await changing(driver, parsed.name, start(running))),
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
            await changing(driver, name, driver.stop(name, options, running));
            return {};
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
          work: async (running) => instanceState(await changing(driver, name, driver.reboot(name, options, running))),
        },
        signal,
      );
    },

    state: async (request) => {
      const name = parse(guestName, request.name, "instance name");
      const driver = hypervisor(request.hypervisor);
      const state = await driver.state(name);
      return state === undefined ? unknownInstance(name, driver.name) : instanceState(state);
    },

    console: async (request) => {
      const name = parse(guestName, request.name, "instance name");
      return instanceConsole(await hypervisor(request.hypervisor).console(name));
    },
  };
}
