/** A real executor with a real agent in one process, whose way to Redis leads through a proxy that cuts. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { initialiseConfiguration, RedisConfigStore } from "@gannet/config-store";
import { createCommandRunner } from "@gannet/exec";
import { BullWakeQueue, RedisJobLedger } from "@gannet/job-ledger";
import { RedisLeaderElection, RedisLockManager } from "@gannet/locking";
import { createCa, issueCertificate, loadIdentity } from "@gannet/pki";
import { connectRedis, type Redis } from "@gannet/redis";
import { createNodeClient, type NodeClient } from "@gannet/rpc";
import { silentLogger } from "@gannet/telemetry";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { initialRows } from "../../deploy/one-machine/initial-configuration.ts";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import { Executor } from "../../services/master/src/executor/executor.ts";
import { SecretVault } from "../../services/master/src/executor/secret-vault.ts";
import { MemoryLiveState } from "../../services/master/src/live-state/live-state.ts";
import { LOGICAL_UNITS } from "../../services/master/src/logical-units/registry.ts";
import { type Agent, startAgent } from "../../services/node-agent/src/agent.ts";
import { SiteAllocators } from "../../services/node-agent/src/allocators/site-allocators.ts";
import { createDiskContents } from "../../services/node-agent/src/block-devices/disk-contents.ts";
import { createLvm } from "../../services/node-agent/src/block-devices/lvm/lvm.ts";
import { createMachineImages } from "../../services/node-agent/src/block-devices/machine-images.ts";
import { SYSTEM_STORAGE_TOOLS } from "../../services/node-agent/src/block-devices/storage-tools.ts";
import { SiteHooks } from "../../services/node-agent/src/hooks/site-hooks.ts";
import { HostsFile } from "../../services/node-agent/src/hosts-file/hosts-file.ts";
import { FakeHypervisor } from "../../services/node-agent/src/hypervisors/fake/fake-hypervisor.ts";
import { NodeIdentity } from "../../services/node-agent/src/identity/node-identity.ts";
import {
  MasterAddressSetup,
  SYSTEM_ADDRESS_TOOLS,
} from "../../services/node-agent/src/master-address/master-address.ts";
import { SYSTEM_NETWORK_TOOLS } from "../../services/node-agent/src/nics/network-tools.ts";
import { NodeVerification } from "../../services/node-agent/src/node-facts/node-verification.ts";
import { createOsDefinitions } from "../../services/node-agent/src/os/index.ts";
import { PowerCycle } from "../../services/node-agent/src/power-cycle.ts";
import { OobProgram } from "../../services/node-agent/src/site-commands/oob-program.ts";
import {
  GANETI_RESTRICTED_COMMANDS,
  RestrictedCommands,
} from "../../services/node-agent/src/site-commands/restricted-commands.ts";
import { createNodeStorage } from "../../services/node-agent/src/storage/create-node-storage.ts";
import { createTransfers } from "../../services/node-agent/src/transfers/create-transfers.ts";
import { type CuttingProxy, startCuttingProxy } from "./cutting-proxy.ts";

const logger = silentLogger();
/** What was lost is found again by the sweeper. */
const SWEEP_INTERVAL_MS = 500;
const OS_SEARCH_PATH = [path.resolve(import.meta.dirname, "../../deploy/os")];

export interface ExecutorFixture extends AsyncDisposable {
  readonly nodeName: string;
  readonly redis: TestRedis;
  readonly proxy: CuttingProxy;
  /** Through the proxy, as the executor's own. */
  readonly ledger: RedisJobLedger;
  /** Past the proxy. */
  readonly direct: { readonly ledger: RedisJobLedger; readonly locks: RedisLockManager; readonly client: Redis };
  readonly configStore: RedisConfigStore;
  readonly hypervisor: FakeHypervisor;
  readonly executionsFile: string;
}

export async function startExecutorFixture(): Promise<ExecutorFixture> {
  await using stack = new AsyncDisposableStack();
  const root = await mkdtemp(path.join(tmpdir(), "gannet-cuts-"));
  stack.defer(() => rm(root, { recursive: true, force: true }));
  const redis = stack.use(await startTestRedis());
  const proxy = stack.use(await startCuttingProxy(redis.address.path, path.join(root, "redis.sock")));
  const node = await startNode(root, stack);
  await initialiseConfiguration(redis.client, node.rows);

  const { address } = proxy;
  const configStore = await RedisConfigStore.open({ address, name: "cut", logger });
  stack.defer(() => configStore.close());
  const { ledger, queue } = ledgerOn(address, "cut");
  const locksRedis = connectRedis(address, { name: "cut:locks" });
  const election = new RedisLeaderElection(redis.client, { holder: "cut", leaseMs: 60_000 });
  const { epoch, lost } = await election.campaign(new AbortController().signal);
  const executor = new Executor({
    ledger,
    queue,
    configStore,
    locks: new RedisLockManager(locksRedis),
    live: new MemoryLiveState(),
    node: () => node.client,
    connectAgent: () => node.client,
    domainSecret: async () => "",
    units: LOGICAL_UNITS,
    secrets: new SecretVault(),
    fence: { epoch },
    lost,
    logger,
  });
  await executor.start();
  const direct = ledgerOn(redis.address, "direct");
  stack.defer(async () => {
    await executor.stop();
    for (const { ledger: one, queue: its } of [{ ledger, queue }, direct]) {
      await one.close();
      await its.close();
    }
    locksRedis.disconnect();
  });
  const parts = stack.move();
  return {
    nodeName: node.name,
    redis,
    proxy,
    ledger,
    direct: { ledger: direct.ledger, locks: new RedisLockManager(redis.client), client: redis.client },
    configStore,
    hypervisor: node.hypervisor,
    executionsFile: node.executionsFile,
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

function ledgerOn(address: { readonly kind: "socket"; readonly path: string }, name: string) {
  const queue: BullWakeQueue = new BullWakeQueue({
    address,
    name,
    readyJobs: () => ledger.readyJobs(),
    sweepIntervalMs: SWEEP_INTERVAL_MS,
    logger,
  });
  const ledger = new RedisJobLedger({ address, name, wakeQueue: queue, logger });
  return { ledger, queue };
}

/** An agent with simulated guests, its client, and the configuration of a cluster of this one node. */
async function startNode(root: string, stack: AsyncDisposableStack) {
  const runner = createCommandRunner({ logger });
  const layout = layoutOf(root, 1);
  const [plan] = layout.nodes;
  if (plan === undefined) throw new Error("a layout of one node has none");
  const ca = await createCa({ dir: layout.caDir });
  await issueCertificate({ ca, name: plan.name, usage: "node", dir: plan.identityDir, sans: [plan.ip] });
  await issueCertificate({ ca, name: "master", usage: "master", dir: layout.masterIdentityDir, sans: [] });
  const stateDir = path.join(plan.dir, "state");
  const leadersFolder = path.join(stateDir, "leaders");
  await mkdir(leadersFolder, { recursive: true });
  const executionsFile = path.join(stateDir, "executions.log");
  const os = createOsDefinitions({ searchPath: OS_SEARCH_PATH, stateDir, runner, logger });
  const hypervisor = new FakeHypervisor({ stateDir, runner, logger, options: {} });
  const hypervisors = new Map([["fake", hypervisor] as const]);
  const contents = createDiskContents({ runner, tools: SYSTEM_STORAGE_TOOLS });
  const agent: Agent = await startAgent({
    nodeName: plan.name,
    listen: { host: plan.ip, port: 0 },
    identity: await NodeIdentity.open({ nodeName: plan.name, pkiDir: plan.identityDir, logger }),
    leadersFolder,
    executionsFile,
    hypervisors,
    blockDevices: new Map(),
    contents,
    openvswitch: { configure: () => Promise.reject(new Error("no switch is asked for")) },
    images: createMachineImages({ contents, ownFolders: [] }),
    storage: createNodeStorage({
      ...{ lvm: createLvm({ runner, tools: SYSTEM_STORAGE_TOOLS }), tools: SYSTEM_STORAGE_TOOLS },
      ...{ fileStorageRoots: [], sharedFileStorageRoots: [], spaces: { read: async () => undefined } },
    }),
    transfers: await createTransfers({
      ...{ nodeName: plan.name, stateDir, pkiDir: plan.identityDir, exportDir: path.join(stateDir, "export") },
      ...{ os, runner, logger },
    }),
    os,
    hooks: new SiteHooks({ folder: path.join(stateDir, "hooks"), runner }),
    allocators: new SiteAllocators({ searchPath: [], stateDir, runner }),
    oob: new OobProgram({ runner }),
    restrictedCommands: new RestrictedCommands({ enabled: false, folder: GANETI_RESTRICTED_COMMANDS, runner, logger }),
    powerCycle: new PowerCycle({ hypervisors, runner, logger, trigger: undefined }),
    masterAddress: new MasterAddressSetup({ tools: SYSTEM_ADDRESS_TOOLS, scriptFolder: "/nowhere", runner, logger }),
    hostsFile: new HostsFile(path.join(stateDir, "hosts")),
    verification: new NodeVerification({
      hypervisors,
      fileStorage: {},
      spaces: { read: async () => undefined },
      networkTools: SYSTEM_NETWORK_TOOLS,
      runner,
    }),
    logger,
    development: false,
  });
  stack.defer(() => agent.stop(0));
  const client: NodeClient = createNodeClient({
    nodeName: plan.name,
    address: `${plan.ip}:${agent.port}`,
    identity: await loadIdentity(layout.masterIdentityDir),
  });
  stack.defer(() => client.close());
  const rows = initialRows({
    layout,
    hypervisors: ["fake"],
    diskTemplates: ["diskless"],
    bridge: "none",
    ports: new Map([[plan.id, agent.port]]),
  });
  return { name: plan.name, client, hypervisor, executionsFile, rows };
}
