/** The node agent's process: `main.ts --config <file>`. The one place where its parts are chosen and put together. */
import path from "node:path";
import { parseArgs } from "node:util";
import type { BlockDeviceDriver, HypervisorDriver } from "@gannet/driver-contract";
import { ConfigurationError, exitCodeOf, GannetError } from "@gannet/errors";
import { createCommandRunner, endLeftoverCommands } from "@gannet/exec";
import type { DiskTemplate, HypervisorName } from "@gannet/objects";
import { loadIdentity } from "@gannet/pki";
import { createLogger, type Logger } from "@gannet/telemetry";
import { setLogger } from "@grpc/grpc-js";
import { type Agent, startAgent } from "./agent.ts";
import { belowStorageRoot } from "./block-devices/below-storage-root.ts";
import { BLOCK_DEVICE_DRIVERS, type BlockDeviceParts } from "./block-devices/index.ts";
import { type AgentConfiguration, readConfiguration } from "./configuration.ts";
import { HYPERVISOR_DRIVERS, type HypervisorParts } from "./hypervisors/index.ts";
import { withUserNetworking } from "./hypervisors/with-user-networking.ts";
import { createOsDefinitions } from "./os/index.ts";
import { takeStateFolder } from "./state-folder.ts";

async function main(): Promise<void> {
  const configuration = await readConfiguration(configurationFile());
  const { nodeName, log } = configuration;
  const logger = await createLogger({ name: nodeName, level: log.level, format: log.format });
  logGrpc(logger);
  const { agent, release } = await start(configuration, logger);
  logger.info({ host: configuration.listen.host, port: agent.port, pid: process.pid }, "agent ready");

  let stopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (stopping) return;
    stopping = true;
    logger.info({ signal }, "agent stopping");
    await agent.stop(configuration.stopTimeoutMs);
    release();
    logger.info("agent stopped");
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void stop(signal));
}

async function start(
  configuration: AgentConfiguration,
  logger: Logger,
): Promise<{ readonly agent: Agent; readonly release: () => void }> {
  const { stateDir, nodeName, listen, development } = configuration;
  const identity = await loadIdentity(configuration.pkiDir, { name: nodeName });
  const folder = await takeStateFolder(stateDir, identity.ca);
  await endLeftoverCommands(folder.commands, logger);
  const runner = createCommandRunner({ logger, recordFolder: folder.commands });
  const agent = await startAgent({
    nodeName,
    listen,
    identity,
    leadersFolder: folder.leaders,
    hypervisors: hypervisorsOf(configuration, { runner, logger }),
    blockDevices: blockDevicesOf(configuration, { runner, logger }),
    os: createOsDefinitions({ searchPath: configuration.osSearchPath, stateDir, runner, logger }),
    logger,
    development,
    ...(configuration.recordExecutions ? { executionsFile: path.join(stateDir, "executions.log") } : {}),
  });
  return { agent, release: folder.release };
}

function blockDevicesOf(
  { stateDir, storageRoot, fileStorageRoots, sharedFileStorageRoots }: AgentConfiguration,
  shared: Pick<BlockDeviceParts, "runner" | "logger">,
): ReadonlyMap<DiskTemplate, BlockDeviceDriver> {
  const ownFolder = storageRoot ?? stateDir;
  const parts: BlockDeviceParts = {
    ...shared,
    fileStorage: { roots: fileStorageRoots, ownFolder },
    sharedFileStorage: { roots: sharedFileStorageRoots, ownFolder },
  };
  return new Map(
    Object.entries(BLOCK_DEVICE_DRIVERS).map(([template, construct]) => {
      const driver = construct(parts);
      return [template as DiskTemplate, storageRoot === undefined ? driver : belowStorageRoot(driver, storageRoot)];
    }),
  );
}

function hypervisorsOf(
  { stateDir, hypervisors, kvm }: AgentConfiguration,
  shared: Pick<HypervisorParts, "runner" | "logger">,
): ReadonlyMap<HypervisorName, HypervisorDriver> {
  const options = {
    kvmAcceleration: kvm.acceleration,
    ...(kvm.qemuPath === undefined ? {} : { qemuPath: kvm.qemuPath }),
  };
  const constructors: Partial<Record<HypervisorName, (parts: HypervisorParts) => HypervisorDriver>> =
    HYPERVISOR_DRIVERS;
  return new Map(
    hypervisors.flatMap((name) => {
      const construct = constructors[name];
      if (construct === undefined) return [];
      const driver = construct({ ...shared, stateDir, options });
      return [[name, kvm.userNetworking ? withUserNetworking(driver) : driver]];
    }),
  );
}

/** grpc-js writes to standard error by itself; what it says there, the errors it throws say as well. */
function logGrpc(logger: Logger): void {
  const write = (...words: unknown[]) => logger.debug({ grpc: words.join(" ") }, "grpc");
  setLogger({ error: write, info: write, debug: write });
}

/** @throws ConfigurationError */
function configurationFile(): string {
  const { config } = parseArguments();
  if (config === undefined) throw new ConfigurationError("give the configuration: --config <file>");
  return config;
}

function parseArguments(): { readonly config?: string | undefined } {
  try {
    return parseArgs({ options: { config: { type: "string" } } }).values;
  } catch (error) {
    throw new ConfigurationError(error instanceof Error ? error.message : String(error));
  }
}

/** What an operator can put right is one line; a defect shows its stack. */
function fail(error: unknown): never {
  const text = error instanceof GannetError || isSystemError(error) ? error.message : error;
  console.error("gannet-node-agent:", text);
  process.exit(exitCodeOf(error));
}

function isSystemError(error: unknown): error is Error {
  return error instanceof Error && "code" in error;
}

process.on("unhandledRejection", fail);
await main().catch(fail);
