/** OsService over the OS definitions of this node. */
import {
  type AgentHandlers,
  decodeParameters,
  type Empty,
  type OsCreateRequest as OsCreateRequestMessage,
  type OsDefinition,
  type OsInstallationRequest,
  SERVICES,
} from "@gannet/rpc";
import { z } from "zod";
import type { DiskContents } from "../block-devices/disk-contents.ts";
import { withRawDisks } from "../block-devices/raw-disks.ts";
import type { OsCreateRequest, OsDefinitionFacts, OsDefinitions } from "../os/index.ts";
import { type BlockDeviceDrivers, driverOf } from "./block-device-handlers.ts";
import { assembleDisks } from "./instance-handlers.ts";
import {
  type Device,
  device,
  deviceResources,
  type Guest,
  guest,
  guestName,
  guestResource,
  guestSpec,
  parse,
} from "./messages.ts";
import type { Steps } from "./steps.ts";

/** Their text is checked by the definitions, which know what a name and a value may be. */
const osParameters = z.record(z.string(), z.string());
const uuids = z.array(z.string()).max(64);

/** An instance that a script is to be run for: as it came, and what is made of it once its disks are attached. */
export interface ScriptInstance {
  readonly guest: Guest;
  readonly attach: (signal: AbortSignal) => Promise<OsCreateRequest>;
}

/** @throws OpPrereqError (wrong_input) */
export function scriptInstance(
  blockDevices: BlockDeviceDrivers,
  request: OsCreateRequestMessage | undefined,
): ScriptInstance {
  const parsed = parse(guest, request?.instance, "instance");
  const parameters = parse(osParameters, request?.parameters, "OS parameters");
  const secondaryNodes = parse(uuids, request?.secondaryNodeUuids, "secondary nodes");
  return {
    guest: parsed,
    attach: async (signal) => ({
      os: request?.os ?? "",
      guest: guestSpec(parsed, await assembleDisks(blockDevices, parsed, signal)),
      parameters,
      reinstall: request?.reinstall ?? false,
      debugLevel: request?.debugLevel ?? 0,
      beparams: decodeParameters(request?.beparams ?? {}),
      ctime: request?.ctime ?? 0,
      mtime: request?.mtime ?? 0,
      primaryNode: request?.primaryNodeUuid ?? "",
      secondaryNodes,
    }),
  };
}

export function createOsHandlers(parts: {
  readonly steps: Steps;
  readonly os: OsDefinitions;
  readonly blockDevices: BlockDeviceDrivers;
  readonly contents: DiskContents;
}): AgentHandlers["os"] {
  const { steps, os, blockDevices, contents } = parts;
  const methods = SERVICES.os;

  /** A step that runs a script on an instance's disks. */
  function scriptStep(
    method: (typeof methods)["create" | "rename"],
    request: OsCreateRequestMessage | undefined,
    signal: AbortSignal,
    work: (instance: OsCreateRequest, signal: AbortSignal) => Promise<void>,
  ): Promise<Empty> {
    const { guest: parsed, attach } = scriptInstance(blockDevices, request);
    return steps.run(
      {
        step: request?.step,
        method,
        resources: [guestResource(parsed.name), ...deviceResources(parsed.disks)],
        work: async (running) => {
          const instance = await attach(running);
          await withRawDisks(contents, instance.guest.disks, running, (disks) =>
            work({ ...instance, guest: { ...instance.guest, disks } }, running),
          );
          return {};
        },
      },
      signal,
    );
  }

  /** The disk by which a machine is given a definition, as a program takes it. */
  async function installationDisk(disk: Device, signal: AbortSignal) {
    return await contents.rawView(await driverOf(blockDevices, disk.template).assemble(disk, signal), signal);
  }

  return {
    diagnose: async () => ({ os: (await os.diagnose()).map(osDefinition) }),

    validate: async (request, { signal }) => {
      await os.validate({ ...request, parameters: parse(osParameters, request.parameters, "OS parameters") }, signal);
      return {};
    },

    create: async (request, { signal }) =>
      scriptStep(methods.create, request, signal, (instance, running) => os.create(instance, running)),

    rename: async (request, { signal }) => {
      const oldName = parse(guestName, request.oldName, "old name");
      return scriptStep(methods.rename, request.instance, signal, (instance, running) =>
        os.rename(instance, oldName, running),
      );
    },

    prepareInstallation: async (request, { signal }) => {
      const { guest: parsed, attach } = scriptInstance(blockDevices, request.instance);
      const disk = parse(device, request.device, "disk");
      return steps.run(
        {
          step: request.instance?.step,
          method: methods.prepareInstallation,
          resources: [guestResource(parsed.name), ...deviceResources([...parsed.disks, disk])],
          work: async (running) => {
            const instance = await attach(running);
            await using view = await installationDisk(disk, running);
            await os.prepareInstallation(instance, { path: view.disk.path, sizeMib: disk.sizeMib });
            await view.keep(running);
            return {};
          },
        },
        signal,
      );
    },

    finishInstallation: async ({ instance, device: given }: OsInstallationRequest, { signal }) => {
      const parameters = parse(osParameters, instance?.parameters, "OS parameters");
      await using view = await installationDisk(parse(device, given, "disk"), signal);
      await os.finishInstallation({ os: instance?.os ?? "", parameters }, view.disk);
      return {};
    },
  };
}

export function osDefinition(facts: OsDefinitionFacts): OsDefinition {
  return {
    ...facts,
    variants: [...facts.variants],
    parameters: [...facts.parameters],
    apiVersions: [...facts.apiVersions],
  };
}
