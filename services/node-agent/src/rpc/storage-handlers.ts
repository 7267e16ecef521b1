/** StorageService: what this node's storage is made of. */
import type { StorageUnitDriver } from "@gannet/driver-contract";
import { OpPrereqError } from "@gannet/errors";
import { STORAGE_TYPES } from "@gannet/objects";
import { type AgentHandlers, type Empty, SERVICES, type Step } from "@gannet/rpc";
import { z } from "zod";
import type { NodeStorage } from "../storage/node-storage.ts";
import { parse, text } from "./messages.ts";
import type { Steps } from "./steps.ts";

const storageType = z.enum(STORAGE_TYPES);
const unitName = text.min(1);

export function createStorageHandlers(parts: {
  readonly steps: Steps;
  readonly storage: NodeStorage;
}): AgentHandlers["storage"] {
  const { steps, storage } = parts;
  const methods = SERVICES.storage;

  function unitsOf(type: string): StorageUnitDriver {
    const driver = storage.units.get(parse(storageType, type, "storage type"));
    if (driver === undefined)
      throw new OpPrereqError(`Storage units of type ${type} are not supported on this node`, "wrong_input");
    return driver;
  }

  function change(
    method: (typeof methods)["setAllocatable" | "repair"],
    request: { readonly step: Step | undefined; readonly type: string; readonly name: string },
    signal: AbortSignal,
    work: (driver: StorageUnitDriver, name: string, running: AbortSignal) => Promise<void>,
  ): Promise<Empty> {
    const driver = unitsOf(request.type);
    const name = parse(unitName, request.name, "storage unit");
    return steps.run(
      {
        step: request.step,
        method,
        resources: [`storage ${request.type} ${name}`],
        work: async (running) => {
          await work(driver, name, running);
          return {};
        },
      },
      signal,
    );
  }

  return {
    listUnits: async (request, { signal }) => {
      const units = await unitsOf(request.type).list(parse(unitName.optional(), request.name, "storage unit"), signal);
      return { units: [...units] };
    },

    setAllocatable: async (request, { signal }) =>
      change(methods.setAllocatable, request, signal, (driver, name, running) =>
        driver.setAllocatable(name, request.allocatable, running),
      ),

    repair: async (request, { signal }) =>
      change(methods.repair, request, signal, (driver, name, running) => driver.repair(name, running)),

    listVolumes: async (_request, { signal }) => {
      const volumes = await storage.volumes(signal);
      return { volumes: volumes.map((volume) => ({ ...volume, devices: [...volume.devices] })) };
    },

    describeDrbd: async (_request, { signal }) => {
      try {
        const facts = await storage.drbd(signal);
        return { ...facts, minors: [...facts.minors], problem: "" };
      } catch (error) {
        signal.throwIfAborted();
        const problem = error instanceof Error ? error.message : String(error);
        return { version: "", minors: [], usermodeHelper: "", problem };
      }
    },
  };
}
