/** One node's agent, made of its parts: what a leader's calls reach, and what this node tells of itself. */
import path from "node:path";
import type { BlockDeviceDriver, HypervisorDriver } from "@gannet/driver-contract";
import { GannetError } from "@gannet/errors";
import { bootId } from "@gannet/exec";
import type { DiskTemplate, HypervisorName } from "@gannet/objects";
import { type CallEnd, createAgentServer } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import type { SiteAllocators } from "./allocators/site-allocators.ts";
import type { DiskContents } from "./block-devices/disk-contents.ts";
import type { MachineImages } from "./block-devices/machine-images.ts";
import type { SiteHooks } from "./hooks/site-hooks.ts";
import type { HostsFile } from "./hosts-file/hosts-file.ts";
import type { NodeIdentity } from "./identity/node-identity.ts";
import { KeptConfiguration } from "./kept-configuration.ts";
import { LiveState } from "./live-state/live-state.ts";
import type { MasterAddressSetup } from "./master-address/master-address.ts";
import { MetadataService, type MetadataSettings } from "./metadata/metadata-service.ts";
import type { AgentMetrics } from "./metrics/agent-metrics.ts";
import type { OpenvswitchSetup } from "./nics/openvswitch-setup.ts";
import { NodeFacts } from "./node-facts/node-facts.ts";
import type { NodeVerification } from "./node-facts/node-verification.ts";
import type { OsDefinitions } from "./os/index.ts";
import type { PowerCycle } from "./power-cycle.ts";
import { createBlockDeviceHandlers } from "./rpc/block-device-handlers.ts";
import { ExecutionLog } from "./rpc/execution-log.ts";
import { Fence } from "./rpc/fence.ts";
import { createInstanceHandlers } from "./rpc/instance-handlers.ts";
import { createNodeHandlers } from "./rpc/node-handlers.ts";
import { createOsHandlers, osDefinition } from "./rpc/os-handlers.ts";
import { ResourceQueue } from "./rpc/resource-queue.ts";
import { StepJournal } from "./rpc/step-journal.ts";
import { Steps } from "./rpc/steps.ts";
import { createStorageHandlers } from "./rpc/storage-handlers.ts";
import { createTransferHandlers } from "./rpc/transfer-handlers.ts";
import { SelfFence, type SelfFenceParts } from "./self-fence/self-fence.ts";
import type { OobProgram } from "./site-commands/oob-program.ts";
import type { RestrictedCommands } from "./site-commands/restricted-commands.ts";
import type { NodeStorage } from "./storage/node-storage.ts";
import type { Transfers } from "./transfers/transfers.ts";

export interface AgentParts {
  readonly nodeName: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly identity: NodeIdentity;
  /** Holds the leaders' epoch and the answers they were given. */
  readonly leadersFolder: string;
  /** The configuration that leaders have kept here; beside their epoch by default. */
  readonly configurationFile?: string;
  readonly hypervisors: ReadonlyMap<HypervisorName, HypervisorDriver>;
  readonly blockDevices: ReadonlyMap<DiskTemplate, BlockDeviceDriver>;
  readonly os: OsDefinitions;
  readonly contents: DiskContents;
  readonly images: MachineImages;
  readonly storage: NodeStorage;
  readonly transfers: Transfers;
  readonly verification: NodeVerification;
  readonly allocators: SiteAllocators;
  readonly hooks: SiteHooks;
  readonly oob: OobProgram;
  readonly restrictedCommands: RestrictedCommands;
  readonly powerCycle: PowerCycle;
  readonly masterAddress: MasterAddressSetup;
  readonly hostsFile: HostsFile;
  readonly openvswitch: OpenvswitchSetup;
  /** Undefined: guests are told nothing of themselves. */
  readonly metadata?: MetadataSettings | undefined;
  /** Undefined: the node cannot guard itself. */
  readonly selfFence?: Pick<SelfFenceParts, "file" | "watchman" | "stopWithinMs" | "clock">;
  readonly logger: Logger;
  readonly development: boolean;
  /** Where to note each execution of a step (`ExecutionLog`); by default nowhere. */
  readonly executionsFile?: string;
  readonly metrics?: AgentMetrics;
  /** Between looks at the live state; shorter ones in tests. */
  readonly lookIntervalMs?: number;
}

export interface Agent {
  readonly port: number;
  /** Let running operations end for at most `graceMs`, abort the rest, and let go of everything. Guests go on. */
  stop(graceMs: number): Promise<void>;
}

/** Takes calls when it resolves: guests of an earlier run have been found again. */
export async function startAgent(parts: AgentParts): Promise<Agent> {
  const { hypervisors, blockDevices, os, logger } = parts;
  for (const driver of hypervisors.values()) await driver.recover();
  const drivers = { hypervisors: [...hypervisors.values()], blockDevices: [...blockDevices.values()] };
  const selfFence =
    parts.selfFence === undefined ? undefined : await SelfFence.open({ ...parts.selfFence, drivers, logger });
  const fence = await Fence.open(path.join(parts.leadersFolder, "epoch"));
  const journal = await StepJournal.open(path.join(parts.leadersFolder, "steps"), {
    ...{ boot: bootId(), logger },
  });
  const executions = parts.executionsFile === undefined ? undefined : await ExecutionLog.open(parts.executionsFile);
  const steps = new Steps({ fence, journal, queue: new ResourceQueue(), executions, logger });
  const facts = new NodeFacts({
    nodeName: parts.nodeName,
    hypervisors,
    blockDevices: [...blockDevices.values()],
    spindles: (signal) => parts.storage.spindles(signal),
    logger,
  });
  const liveState = new LiveState({
    hypervisors,
    facts,
    diagnoseOs: async () => (await os.diagnose()).map(osDefinition),
    logger,
    ...(parts.lookIntervalMs === undefined
      ? {}
      : { intervalMs: parts.lookIntervalMs, osIntervalMs: parts.lookIntervalMs }),
  });
  parts.metrics?.follow(() => liveState.seen);
  const keptConfiguration = new KeptConfiguration(
    parts.configurationFile ?? path.join(parts.leadersFolder, "configuration.json"),
  );
  const metadata =
    parts.metadata === undefined
      ? undefined
      : await MetadataService.start({ ...parts.metadata, hypervisors, os, logger });
  const server = await createAgentServer({
    identity: parts.identity.live,
    listen: parts.listen,
    development: parts.development,
    onCallEnd: (call) => {
      parts.metrics?.callEnded(call);
      logCall(logger, call);
    },
    handlers: {
      node: createNodeHandlers({ ...parts, steps, fence, facts, liveState, keptConfiguration, selfFence }),
      blockDevices: createBlockDeviceHandlers({ ...parts, steps, drivers: blockDevices, hypervisors }),
      instances: createInstanceHandlers({
        steps,
        hypervisors,
        blockDevices,
        onGuestChange: (hypervisor, name) => liveState.touch(hypervisor, name),
        metadata: metadata?.guests,
        refuseWhenFenced: () => selfFence?.refuseWhenExpired(),
      }),
      os: createOsHandlers({ steps, os, blockDevices, contents: parts.contents }),
      storage: createStorageHandlers({ steps, storage: parts.storage }),
      transfers: createTransferHandlers({ steps, transfers: parts.transfers, blockDevices }),
    },
  });
  return {
    port: server.port,
    stop: async (graceMs) => {
      await server.stop(graceMs);
      await selfFence?.close();
      await parts.transfers.close();
      await liveState.close();
      await metadata?.close();
      await journal.close();
      await executions?.close();
      for (const driver of hypervisors.values()) await driver.close();
    },
  };
}

function logCall(logger: Logger, { method, durationMs, aborted, error }: CallEnd): void {
  const entry = { method, durationMs };
  if (error === undefined) logger.debug(entry, "call answered");
  else if (aborted) logger.info({ ...entry, error: String(error) }, "call aborted");
  else if (error instanceof GannetError) logger.info({ ...entry, error: error.message }, "call failed");
  else logger.error({ ...entry, err: error }, "call failed by a defect of the agent");
}
