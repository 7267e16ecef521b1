/** OsService over the OS definitions of this node. */
import { type AgentHandlers, decodeParameters, type OsDefinition, SERVICES } from "@gannet/rpc";
import { z } from "zod";
import type { OsDefinitionFacts, OsDefinitions } from "../os/index.ts";
import type { BlockDeviceDrivers } from "./block-device-handlers.ts";
import { assembleDisks } from "./instance-handlers.ts";
import { deviceResources, guest, guestResource, guestSpec, parse } from "./messages.ts";
import type { Steps } from "./steps.ts";

/** Their text is checked by the definitions, which know what a name and a value may be. */
const osParameters = z.record(z.string(), z.string());
const uuids = z.array(z.string()).max(64);

export function createOsHandlers(parts: {
  readonly steps: Steps;
  readonly os: OsDefinitions;
  readonly blockDevices: BlockDeviceDrivers;
}): AgentHandlers["os"] {
  const { steps, os, blockDevices } = parts;
  return {
    diagnose: async () => ({ os: (await os.diagnose()).map(osDefinition) }),

    validate: async (request, { signal }) => {
      await os.validate({ ...request, parameters: parse(osParameters, request.parameters, "OS parameters") }, signal);
      return {};
    },

    create: async (request, { signal }) => {
      const parsed = parse(guest, request.instance, "instance");
      const parameters = parse(osParameters, request.parameters, "OS parameters");
      const secondaryNodes = parse(uuids, request.secondaryNodeUuids, "secondary nodes");
      return steps.run(
        {
          step: request.step,
          method: SERVICES.os.create,
          resources: [guestResource(parsed.name), ...deviceResources(parsed.disks)],
          work: async (running) => {
            const attached = await assembleDisks(blockDevices, parsed, running);
            await os.create(
              {
                os: request.os,
                guest: guestSpec(parsed, attached),
                parameters,
                reinstall: request.reinstall,
                debugLevel: request.debugLevel,
                beparams: decodeParameters(request.beparams),
                ctime: request.ctime,
                mtime: request.mtime,
                primaryNode: request.primaryNodeUuid,
                secondaryNodes,
              },
              running,
            );
            return {};
          },
        },
        signal,
      );
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
