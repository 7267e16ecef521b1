/** TransferService over this node's transfers and exports. */
import { OpPrereqError } from "@gannet/errors";
import {
  type AgentHandlers,
  type Empty,
  SERVICES,
  type StartExportRequest,
  type StartImportRequest,
  type Step,
  type TransferEnd as TransferEndMessage,
  type TransferState as TransferStateMessage,
} from "@gannet/rpc";
import { z } from "zod";
import type { TransferEnd, TransferRequest, TransferState, Transfers } from "../transfers/transfers.ts";
import { type BlockDeviceDrivers, driverOf } from "./block-device-handlers.ts";
import { device, deviceResources, guestName, guestResource, ipAddress, parse, text } from "./messages.ts";
import { scriptInstance } from "./os-handlers.ts";
import type { Steps } from "./steps.ts";

/** Of one call; an instance has 16 disks at most. */
const MAX_TRANSFERS = 1_000;
const MAX_PEM_CHARS = 64 * 1024;
/** As Ganeti's. */
const MAX_VALIDITY_SECONDS = 7 * 24 * 60 * 60;
const MAX_DESCRIPTION_CHARS = 1024 * 1024;
const HOUR_SECONDS = 60 * 60;

const options = z.object({
  compress: text,
  magic: text,
  ipv6: z.boolean(),
  connectTimeoutSeconds: z.int().positive().max(HOUR_SECONDS),
  keyName: text,
  peerCertificatePem: z.string().max(MAX_PEM_CHARS),
});
const names = z.array(text).max(MAX_TRANSFERS);
const host = z.union([ipAddress, guestName]);
const port = z.int().min(1).max(65535);
const validity = z.int().positive().max(MAX_VALIDITY_SECONDS);
const description = z.string().max(MAX_DESCRIPTION_CHARS);
const exportName = text.min(1);
const diskIndex = z.int().nonnegative();

/** An end as it came, what a step on it touches, and what is made of it once its disk is attached. */
interface AskedEnd {
  readonly resources: readonly string[];
  readonly attach: (signal: AbortSignal) => Promise<TransferEnd>;
}

export function createTransferHandlers(parts: {
  readonly steps: Steps;
  readonly transfers: Transfers;
  readonly blockDevices: BlockDeviceDrivers;
}): AgentHandlers["transfers"] {
  const { steps, transfers, blockDevices } = parts;
  const methods = SERVICES.transfers;

  /** A step that answers nothing. */
  function change(
    method: MethodWithoutAnswer,
    step: Step | undefined,
    signal: AbortSignal,
    { resources, work }: { readonly resources: readonly string[]; readonly work: () => Promise<void> },
  ): Promise<Empty> {
    return steps.run(
      {
        step,
        method,
        resources,
        work: async () => {
          await work();
          return {};
        },
      },
      signal,
    );
  }

  function start(
    method: (typeof methods)["startImport" | "startExport"],
    request: StartImportRequest | StartExportRequest,
    asked: AskedEnd,
    signal: AbortSignal,
    work: (request: TransferRequest, signal: AbortSignal) => Promise<string>,
  ) {
    const parsed = {
      options: parse(options, request.options, "options"),
      instanceName: parse(guestName, request.instanceName, "instance name"),
      component: parse(text, request.component, "component"),
    };
    return steps.run(
      {
        step: request.step,
        method,
        resources: asked.resources,
        work: async (running) => ({ name: await work({ ...parsed, end: await asked.attach(running) }, running) }),
      },
      signal,
    );
  }

  function askedEnd(message: TransferEndMessage | undefined): AskedEnd {
    const end = message?.end;
    switch (end?.$case) {
      case "disk":
        return diskEnd(end.value.device);
      case "script": {
        const { guest, attach: attachInstance } = scriptInstance(blockDevices, end.value.instance);
        const disk = parse(device, end.value.device, "disk");
        const index = parse(diskIndex, end.value.index, "index");
        return {
          resources: [guestResource(guest.name), ...deviceResources([...guest.disks, disk])],
          attach: async (signal) => {
            const request = await attachInstance(signal);
            const attached = await driverOf(blockDevices, disk.template).assemble(disk, signal);
            return { kind: "script", request, disk: attached, index };
          },
        };
      }
      case "file": {
        const instanceName = parse(exportName, end.value.instanceName, "export");
        const asked = { kind: "file", instanceName, file: end.value.file } as const;
        return { resources: [exportResource(asked.instanceName)], attach: async () => asked };
      }
      default:
        throw new OpPrereqError("The request names no end of the transfer", "wrong_input");
    }
  }

  function diskEnd(message: unknown): AskedEnd {
    const disk = parse(device, message, "disk");
    return {
      resources: deviceResources([disk]),
      attach: async (signal) => ({
        kind: "disk",
        disk: await driverOf(blockDevices, disk.template).assemble(disk, signal),
        sizeMib: disk.sizeMib,
      }),
    };
  }

  return {
    startImport: async (request, { signal }) => {
      const address = parse(ipAddress, request.address, "address");
      return start(methods.startImport, request, askedEnd(request.target), signal, (asked, running) =>
        transfers.startImport({ ...asked, address }, running),
      );
    },

    startExport: async (request, { signal }) => {
      const place = { host: parse(host, request.host, "host"), port: parse(port, request.port, "port") };
      return start(methods.startExport, request, askedEnd(request.source), signal, (asked, running) =>
        transfers.startExport({ ...asked, ...place }, running),
      );
    },

    async *follow(request, { signal }) {
      for await (const states of transfers.follow(parse(names, request.names, "names"), signal))
        yield { transfers: states.map(transferState) };
    },

    end: async (request, { signal }) => {
      const ended = parse(names, request.names, "names");
      return change(methods.end, request.step, signal, {
        resources: ended.map((name) => `transfer ${name}`),
        work: () => transfers.end(ended),
      });
    },

    createCertificate: async (request, { signal }) => {
      const validitySeconds = parse(validity, request.validitySeconds, "validity");
      return steps.run(
        {
          step: request.step,
          method: methods.createCertificate,
          resources: [],
          work: async () => {
            const { name, pem } = await transfers.createCertificate(validitySeconds);
            return { name, certificatePem: pem };
          },
        },
        signal,
      );
    },

    removeCertificate: async (request, { signal }) => {
      const name = parse(text, request.name, "name");
      return change(methods.removeCertificate, request.step, signal, {
        resources: [`certificate ${name}`],
        work: () => transfers.removeCertificate(name),
      });
    },

    finalizeExport: async (request, { signal }) => {
      const instanceName = parse(guestName, request.instanceName, "instance name");
      const whole = parse(description, request.description, "description");
      return change(methods.finalizeExport, request.step, signal, {
        resources: [exportResource(instanceName)],
        work: () => transfers.finalizeExport(instanceName, whole),
      });
    },

    listExports: async () => ({ instanceNames: [...(await transfers.listExports())] }),

    exportInfo: async (request) => ({
      description: await transfers.exportInfo(parse(exportName, request.export, "export")),
    }),

    removeExport: async (request, { signal }) => {
      const name = parse(exportName, request.export, "export");
      return change(methods.removeExport, request.step, signal, {
        resources: [exportResource(name)],
        work: () => transfers.removeExport(name, request.unfinishedOnly ? "unfinished" : "all"),
      });
    },
  };
}

type Methods = (typeof SERVICES)["transfers"];
type MethodWithoutAnswer = Methods["end" | "removeCertificate" | "finalizeExport" | "removeExport"];

function exportResource(name: string): string {
  return `export ${name}`;
}

function transferState(state: TransferState): TransferStateMessage {
  return {
    ...state,
    percent: state.percent ?? undefined,
    estimatedSeconds: state.estimatedSeconds ?? undefined,
    recentOutput: [...state.recentOutput],
  };
}
