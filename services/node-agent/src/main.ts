/** The node agent's process: `main.ts --config <file>`. The one place where its parts are chosen and put together. */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";
import type { BlockDeviceDriver, HypervisorDriver } from "@gannet/driver-contract";
import { ConfigurationError, exitCodeOf, GannetError } from "@gannet/errors";
import { type CommandRunner, createCommandRunner, endLeftoverCommands } from "@gannet/exec";
import type { DiskTemplate, HypervisorName } from "@gannet/objects";
import { IDENTITY_FILES } from "@gannet/pki";
import { createLogger, createMetricsRegistry, type Logger, serviceManager, tryMetricsServer } from "@gannet/telemetry";
import { setLogger } from "@grpc/grpc-js";
import { type Agent, startAgent } from "./agent.ts";
import { SiteAllocators } from "./allocators/site-allocators.ts";
import { belowStorageRoot } from "./block-devices/below-storage-root.ts";
import { createDiskContents } from "./block-devices/disk-contents.ts";
import { RootSpaces } from "./block-devices/file/root-space.ts";
import { BLOCK_DEVICE_DRIVERS, type BlockDeviceParts } from "./block-devices/index.ts";
import { createLvm } from "./block-devices/lvm/lvm.ts";
import { createMachineImages } from "./block-devices/machine-images.ts";
import { type AgentConfiguration, readConfiguration } from "./configuration.ts";
import { SiteHooks } from "./hooks/site-hooks.ts";
import { HostsFile } from "./hosts-file/hosts-file.ts";
import { HYPERVISOR_DRIVERS, type HypervisorParts } from "./hypervisors/index.ts";
import { detectGuestScopes } from "./hypervisors/kvm/isolation/guest-scopes.ts";
import { SYSTEM_SPICE_CERTIFICATE } from "./hypervisors/kvm/spice-certificate.ts";
import { withUserNetworking } from "./hypervisors/with-user-networking.ts";
import { xenOptions } from "./hypervisors/xen/xen-options.ts";
import { NodeIdentity } from "./identity/node-identity.ts";
import { LogFolder } from "./log-folder.ts";
import { MasterAddressSetup, siteScriptIn } from "./master-address/master-address.ts";
import { claimOnLoopback } from "./metadata/claim-address.ts";
import type { MetadataSettings } from "./metadata/metadata-service.ts";
import { AgentMetrics } from "./metrics/agent-metrics.ts";
import { SYSTEM_NETWORK_TOOLS } from "./nics/network-tools.ts";
import { createOpenvswitchSetup } from "./nics/openvswitch-setup.ts";
import { type FileStoragePlace, NodeVerification } from "./node-facts/node-verification.ts";
import { createOsDefinitions } from "./os/index.ts";
import { KERNEL_TRIGGER, PowerCycle, REBOOT_COMMAND } from "./power-cycle.ts";
import { FenceFile } from "./self-fence/fence-file.ts";
import { runFenceProcess } from "./self-fence/fence-process.ts";
import { createWatchman, detachOutputs } from "./self-fence/watchman.ts";
import { OobProgram } from "./site-commands/oob-program.ts";
import { RestrictedCommands } from "./site-commands/restricted-commands.ts";
import { keepLeaders, takeStateFolder } from "./state-folder.ts";
import { createNodeStorage } from "./storage/create-node-storage.ts";
import { createTransfers } from "./transfers/create-transfers.ts";

/** At once: more would only take the guests' processors, and LVM and DRBD let one at a time work anyway. */
const MOST_COMMANDS = 32;

async function main(): Promise<void> {
  const configuration = await readConfiguration(configurationFile());
  const { nodeName, log } = configuration;
  if (parseArguments().selfFence) return await watchSelfFence(configuration);
  const logger = await createLogger({ name: nodeName, level: log.level, format: log.format });
  logGrpc(logger);
  const registry = createMetricsRegistry(configuration.metrics);
  const { agent, release } = await start(configuration, new AgentMetrics(registry), logger);
  logger.info({ host: configuration.listen.host, port: agent.port, pid: process.pid }, "agent ready");
  const manager = serviceManager();
  manager.ready();

  let stopping = false;
  const readiness = () => ({ ready: !stopping, state: { node: nodeName, rpcPort: agent.port } });
  const metricsServer = await tryMetricsServer(configuration.metrics, { registry, readiness, logger });
  const stop = async (signal: string): Promise<void> => {
    if (stopping) return;
    stopping = true;
    manager.stopping();
    logger.info({ signal }, "agent stopping");
    await agent.stop(configuration.stopTimeoutMs);
    await metricsServer?.stop();
    release();
    logger.info("agent stopped");
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void stop(signal));
}

async function start(
  configuration: AgentConfiguration,
  metrics: AgentMetrics,
  logger: Logger,
): Promise<{ readonly agent: Agent; readonly release: () => void }> {
  const { stateDir, pkiDir, exportDir, nodeName, listen, development } = configuration;
  const identity = await NodeIdentity.open({
    nodeName,
    pkiDir,
    onAuthorities: (former, authorities) => keepLeaders(stateDir, former, authorities),
    logger,
  });
  const folder = await takeStateFolder(stateDir, identity.live.identity.ca);
  await endLeftoverCommands(folder.commands, logger);
  const runner = createCommandRunner({
    logger,
    recordFolder: folder.commands,
    maxParallel: MOST_COMMANDS,
    onCommandEnd: (run) => metrics.commandEnded(run),
  });
  const os = createOsDefinitions({ searchPath: configuration.osSearchPath, stateDir, runner, logger });
  const hypervisors = hypervisorsOf(configuration, { runner, logger });
  const lvm = createLvm({ runner, tools: configuration.storageTools });
  const spaces = createSpaces(stateDir, runner);
  const contents = createDiskContents({ runner, tools: configuration.storageTools });
  const allocators = new SiteAllocators({ searchPath: configuration.allocatorSearchPath, stateDir, runner });
  const agent = await startAgent({
    nodeName,
    listen,
    identity,
    leadersFolder: folder.leaders,
    configurationFile: path.join(stateDir, "configuration.json"),
    hypervisors,
    blockDevices: blockDevicesOf(configuration, { lvm, spaces, runner, logger }),
    contents,
    images: createMachineImages({ contents, ownFolders: [stateDir, pkiDir] }),
    storage: createNodeStorage({
      lvm,
      tools: configuration.storageTools,
      fileStorageRoots: configuration.fileStorageRoots,
      sharedFileStorageRoots: configuration.sharedFileStorageRoots,
      spaces,
    }),
    transfers: await createTransfers({ nodeName, stateDir, pkiDir, exportDir, os, runner, logger }),
    os,
    hooks: new SiteHooks({ folder: configuration.hooksFolder, runner }),
    allocators,
    oob: new OobProgram({ runner }),
    restrictedCommands: new RestrictedCommands({ ...configuration.restrictedCommands, runner, logger }),
    powerCycle: new PowerCycle({
      hypervisors,
      runner,
      logger,
      trigger: configuration.powercycle ? KERNEL_TRIGGER : undefined,
      command: REBOOT_COMMAND,
    }),
    openvswitch: createOpenvswitchSetup({ runner, tools: SYSTEM_NETWORK_TOOLS }),
    masterAddress: new MasterAddressSetup({
      tools: configuration.addressTools,
      scriptFolder: configuration.scriptFolder,
      runner,
      logger,
    }),
    metadata: await metadataOf(configuration, runner),
    selfFence: {
      file: new FenceFile(stateDir),
      watchman: createWatchman({
        stateDir,
        configFile: configurationFile(),
        runner,
        scopes: await detectGuestScopes(stateDir),
        logger,
      }),
      stopWithinMs: stopWithinMsOf(configuration),
    },
    hostsFile: new HostsFile(configuration.hostsFile),
    verification: new NodeVerification({
      hypervisors,
      fileStorage: {
        ...fileStorageOf(configuration),
        gluster: { allowed: { roots: [configuration.glusterStorageDir] }, isMadeWhenUsed: true },
      },
      spaces,
      networkTools: SYSTEM_NETWORK_TOOLS,
      runner,
      allocators,
      certificates: certificatesOf(configuration),
      siteFiles: siteFilesOf(configuration),
      masterAddressScript: siteScriptIn(configuration.scriptFolder),
    }),
    logger,
    metrics,
    development,
    ...(configuration.recordExecutions ? { executionsFile: path.join(stateDir, "executions.log") } : {}),
  });
  return { agent, release: folder.release };
}

function stopWithinMsOf({ selfFence }: AgentConfiguration): number {
  const { stopWithinS, watchdogDevice, watchdogTimeoutS } = selfFence;
  return (stopWithinS + (watchdogDevice === undefined ? 0 : watchdogTimeoutS)) * 1000;
}

/** The process beside the agent, which the agent itself starts with `--self-fence`. */
async function watchSelfFence(configuration: AgentConfiguration): Promise<void> {
  const { stateDir, selfFence, powercycle, nodeName, log } = configuration;
  detachOutputs(path.join(stateDir, "self-fence.log"));
  const logger = await createLogger({ name: nodeName, level: log.level, format: "json" });
  const runner = createCommandRunner({ logger });
  const lvm = createLvm({ runner, tools: configuration.storageTools });
  const spaces = createSpaces(stateDir, runner);
  await runFenceProcess({
    stateDir,
    file: new FenceFile(stateDir),
    drivers: () => ({
      hypervisors: [...hypervisorsOf(configuration, { runner, logger }).values()],
      blockDevices: [...blockDevicesOf(configuration, { lvm, spaces, runner, logger }).values()],
    }),
    stopWithinMs: selfFence.stopWithinS * 1000,
    configFile: configurationFile(),
    trigger: powercycle ? KERNEL_TRIGGER : undefined,
    watchdogDevice: selfFence.watchdogDevice,
    logger,
  });
  process.exit(0);
}

/** What was kept of guests is not left behind where the service is turned off. */
async function metadataOf(
  { stateDir, metadata, addressTools }: AgentConfiguration,
  runner: CommandRunner,
): Promise<MetadataSettings | undefined> {
  const folder = path.join(stateDir, "metadata");
  const { enabled, ...settings } = metadata;
  if (enabled) return { ...settings, folder, claimAddress: claimOnLoopback({ runner, ip: addressTools.ip }) };
  await rm(folder, { recursive: true, force: true });
  return undefined;
}

function createSpaces(stateDir: string, runner: CommandRunner): RootSpaces {
  return new RootSpaces({ runner, lockFolder: path.join(stateDir, "file-storage-locks") });
}

/** Where files of disks may lie, by their templates. */
function fileStorageOf(configuration: AgentConfiguration): Readonly<Record<"file" | "sharedfile", FileStoragePlace>> {
  const { stateDir, storageRoot, sharedStorageRoot, fileStorageRoots, sharedFileStorageRoots } = configuration;
  return {
    file: { allowed: { roots: fileStorageRoots, ownFolder: storageRoot ?? stateDir }, below: storageRoot },
    sharedfile: {
      allowed: { roots: sharedFileStorageRoots, ownFolder: sharedStorageRoot ?? stateDir },
      below: sharedStorageRoot,
    },
  };
}

/** The agent's own; that of SPICE connections where there is one. */
function certificatesOf({ pkiDir, kvm }: AgentConfiguration): readonly string[] {
  const spice = kvm.spiceCertificate ?? SYSTEM_SPICE_CERTIFICATE;
  return [
    path.join(pkiDir, IDENTITY_FILES.cert),
    path.join(pkiDir, IDENTITY_FILES.ca),
    ...[spice.certFile, spice.caFile].filter((file) => existsSync(file)),
  ];
}

/** What must not differ between nodes, where guests or the cluster's address go from one to another. */
function siteFilesOf({ pkiDir, kvm, scriptFolder, networkScriptFolder }: AgentConfiguration): Record<string, string> {
  const spice = kvm.spiceCertificate ?? SYSTEM_SPICE_CERTIFICATE;
  return {
    "certificate of the cluster's authority": path.join(pkiDir, IDENTITY_FILES.ca),
    "SPICE certificate": spice.certFile,
    "SPICE authority": spice.caFile,
    "master-ip-setup": siteScriptIn(scriptFolder),
    "kvm-vif-bridge": path.join(networkScriptFolder, "kvm-vif-bridge"),
  };
}

function blockDevicesOf(
  configuration: AgentConfiguration,
  shared: Pick<BlockDeviceParts, "lvm" | "spaces" | "runner" | "logger">,
): ReadonlyMap<DiskTemplate, BlockDeviceDriver> {
  /** Of the templates whose logical ids hold paths of files. */
  const files = fileStorageOf(configuration);
  const places: Partial<Record<string, FileStoragePlace>> = files;
  const parts: BlockDeviceParts = {
    ...shared,
    logs: new LogFolder(path.join(configuration.stateDir, "extstorage-logs")),
    tools: configuration.storageTools,
    fileStorage: files.file.allowed,
    sharedFileStorage: files.sharedfile.allowed,
    glusterStorageDir: configuration.glusterStorageDir,
  };
  return new Map(
    Object.entries(BLOCK_DEVICE_DRIVERS).map(([template, construct]) => {
      const driver = construct(parts);
      const root = places[template]?.below;
      return [template as DiskTemplate, root === undefined ? driver : belowStorageRoot(driver, root)];
    }),
  );
}

function hypervisorsOf(
  { nodeName, stateDir, pkiDir, hypervisors, kvm, xen, lxc, networkScriptFolder }: AgentConfiguration,
  shared: Pick<HypervisorParts, "runner" | "logger">,
): ReadonlyMap<HypervisorName, HypervisorDriver> {
  const options = {
    nodeName,
    pkiDir,
    xen: xenOptions(xen),
    lxc,
    kvmAcceleration: kvm.acceleration,
    ...(kvm.qemuPath === undefined ? {} : { qemuPath: kvm.qemuPath }),
    ...(kvm.spiceCertificate === undefined ? {} : { spiceCertificate: kvm.spiceCertificate }),
    networkTools: { ...SYSTEM_NETWORK_TOOLS, scriptFolder: networkScriptFolder },
  };
  return new Map(
    hypervisors.map((name) => {
      const driver = HYPERVISOR_DRIVERS[name]({ ...shared, stateDir, options });
      return [name, name === "kvm" && kvm.userNetworking ? withUserNetworking(driver) : driver];
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

function parseArguments(): { readonly config?: string | undefined; readonly selfFence: boolean } {
  try {
    const { values } = parseArgs({
      options: { config: { type: "string" }, "self-fence": { type: "boolean", default: false } },
    });
    return { config: values.config, selfFence: values["self-fence"] };
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
