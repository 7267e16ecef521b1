/** A cluster's certificates, and an agent with scripted drivers behind its real server, for tests over mutual TLS. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { BlockDeviceDriver, BlockDeviceSpec, GuestState, HypervisorDriver } from "@gannet/driver-contract";
import { createCommandRunner } from "@gannet/exec";
import type { DiskTemplate, HypervisorName } from "@gannet/objects";
import { type CertificateAuthority, createCa, type Identity, issueCertificate, loadIdentity } from "@gannet/pki";
import { type BlockDevice, createNodeClient, type Instance, type NodeClient, type Step } from "@gannet/rpc";
import { silentLogger } from "@gannet/telemetry";
import { vi } from "vitest";
import { type Agent, type AgentParts, startAgent } from "../src/agent.ts";
import { SiteAllocators } from "../src/allocators/site-allocators.ts";
import { SiteHooks } from "../src/hooks/site-hooks.ts";
import { HostsFile } from "../src/hosts-file/hosts-file.ts";
import { NodeIdentity } from "../src/identity/node-identity.ts";
import {
  type MasterAddressParts,
  MasterAddressSetup,
  SYSTEM_ADDRESS_TOOLS,
} from "../src/master-address/master-address.ts";
import type { MetadataSettings } from "../src/metadata/metadata-service.ts";
import { SYSTEM_NETWORK_TOOLS } from "../src/nics/network-tools.ts";
import { NodeVerification, type NodeVerificationParts } from "../src/node-facts/node-verification.ts";
import type { OsDefinitions } from "../src/os/index.ts";
import { PowerCycle } from "../src/power-cycle.ts";
import { OobProgram } from "../src/site-commands/oob-program.ts";
import { RestrictedCommands } from "../src/site-commands/restricted-commands.ts";
import type { Transfers } from "../src/transfers/transfers.ts";

/** Programs that tests write are this user's, and trusted for it. */
export const OWN_USER = process.getuid?.() ?? 0;
export const NODE = "node1.gannet.test";
export const runner = createCommandRunner({ logger: silentLogger(), killGraceMs: 200 });

export interface TestCluster {
  readonly root: string;
  readonly node: Identity;
  readonly nodePkiDir: string;
  readonly master: Identity;
  remove(): Promise<void>;
}

export async function createTestCluster(): Promise<TestCluster> {
  const root = await mkdtemp(path.join(tmpdir(), "gannet-agent-"));
  const ca = await createCa({ dir: path.join(root, "ca") });
  const nodePkiDir = path.join(root, "pki-node1");
  return {
    root,
    nodePkiDir,
    node: await issue(ca, NODE, "node", nodePkiDir),
    master: await issue(ca, "master.gannet.test", "master", path.join(root, "pki-master")),
    remove: () => rm(root, { recursive: true, force: true }),
  };
}

export async function issue(
  ca: CertificateAuthority,
  name: string,
  usage: "node" | "master",
  dir: string,
): Promise<Identity> {
  await issueCertificate({ ca, name, sans: ["127.0.0.1"], usage, dir });
  return loadIdentity(dir);
}

export function clientOf(cluster: TestCluster, port: number, identity = cluster.master): NodeClient {
  return createNodeClient({ nodeName: NODE, address: `127.0.0.1:${port}`, identity });
}

/** A hypervisor of a map and mocks: what it is told to do it notes, what it reports the test decides. */
export class ScriptedHypervisor implements HypervisorDriver {
  readonly name = "fake";
  readonly guests = new Map<string, GuestState>();
  readonly listeners = new Set<(name: string) => void>();
  recover = vi.fn<HypervisorDriver["recover"]>(async () => {});
  describe = vi.fn<HypervisorDriver["describe"]>(async () => ({ name: "fake", version: "1", accelerated: false }));
  validate = vi.fn<HypervisorDriver["validate"]>(async () => {});
  start = vi.fn<HypervisorDriver["start"]>(async (guest) => {
    const state = guestState(guest.name, { uuid: guest.uuid, memoryMib: guest.startMemoryMib, vcpus: guest.vcpus });
    this.guests.set(guest.name, state);
    return state;
  });
  stop = vi.fn<HypervisorDriver["stop"]>(async (name) => {
    this.guests.delete(name);
  });
  reboot = vi.fn<HypervisorDriver["reboot"]>(async (name) => this.guests.get(name) ?? guestState(name));
  list = vi.fn<HypervisorDriver["list"]>(async () => [...this.guests.values()]);
  close = vi.fn<HypervisorDriver["close"]>(async () => {});

  async state(name: string): Promise<GuestState | undefined> {
    return this.guests.get(name);
  }

  async console(name: string) {
    return { kind: "msg", message: `console of ${name}` } as const;
  }

  onChange(listener: (name: string) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** As if the driver had noticed it by itself. */
  notice(name: string, state: GuestState | undefined): void {
    if (state === undefined) this.guests.delete(name);
    else this.guests.set(name, state);
    for (const listener of this.listeners) listener(name);
  }
}

export function scriptedDisks() {
  return {
    template: "file",
    create: vi.fn<BlockDeviceDriver["create"]>(async () => {}),
    assemble: vi.fn<BlockDeviceDriver["assemble"]>(async (device: BlockDeviceSpec) => ({
      path: String(device.logicalId[1]),
      kind: "file",
      format: "raw",
    })),
    shutdown: vi.fn<BlockDeviceDriver["shutdown"]>(async () => {}),
    remove: vi.fn<BlockDeviceDriver["remove"]>(async () => {}),
    grow: vi.fn<BlockDeviceDriver["grow"]>(async () => {}),
    status: vi.fn<BlockDeviceDriver["status"]>(async () => ({ exists: true, sizeMib: 128 })),
    space: vi.fn<BlockDeviceDriver["space"]>(async () => [
      { type: "file", name: "/srv/ganeti/file-storage", totalMib: 1000, freeMib: 600 },
    ]),
  } as const satisfies BlockDeviceDriver;
}

export function scriptedOs() {
  return {
    diagnose: vi.fn<OsDefinitions["diagnose"]>(async () => []),
    validate: vi.fn<OsDefinitions["validate"]>(async () => {}),
    create: vi.fn<OsDefinitions["create"]>(async () => {}),
    rename: vi.fn<OsDefinitions["rename"]>(async () => {}),
    prepareInstallation: vi.fn<OsDefinitions["prepareInstallation"]>(async () => {}),
    finishInstallation: vi.fn<OsDefinitions["finishInstallation"]>(async () => {}),
    transferCommand: vi.fn<OsDefinitions["transferCommand"]>(),
  } as const satisfies OsDefinitions;
}

export interface TestAgent {
  readonly agent: Agent;
  readonly client: NodeClient;
  readonly hypervisor: ScriptedHypervisor;
  readonly disks: ReturnType<typeof scriptedDisks>;
  readonly os: ReturnType<typeof scriptedOs>;
  readonly leadersFolder: string;
  stop(): Promise<void>;
}

/** Drivers are fresh each time; the leaders' folder is what makes a second agent the first one restarted. */
export async function startTestAgent(
  cluster: TestCluster,
  options: {
    readonly leadersFolder: string;
    readonly lookIntervalMs?: number;
    readonly executionsFile?: string;
    /** Real ones, in the place of the scripted disks. */
    readonly blockDevices?: ReadonlyMap<DiskTemplate, BlockDeviceDriver>;
    /** Real ones, in the place of the scripted hypervisor. */
    readonly hypervisors?: ReadonlyMap<HypervisorName, HypervisorDriver>;
    readonly transfers?: Transfers;
    /** By default of a site that has none. */
    readonly allocators?: SiteAllocators;
    readonly hooks?: SiteHooks;
    /** Off by default. */
    readonly restrictedCommands?: RestrictedCommands;
    /** By default refused. */
    readonly powerCycle?: PowerCycle;
    /** By default no script is run, and the system's own tools are. */
    readonly masterAddress?: Partial<MasterAddressParts>;
    /** Off by default. */
    readonly metadata?: MetadataSettings;
    /** None by default. */
    readonly selfFence?: NonNullable<AgentParts["selfFence"]>;
    /** By default of a node without file storage. */
    readonly verification?: (hypervisors: NodeVerificationParts["hypervisors"]) => NodeVerification;
  },
): Promise<TestAgent> {
  const { masterAddress: _addressParts, ...rest } = options;
  await mkdir(options.leadersFolder, { recursive: true });
  const hypervisor = new ScriptedHypervisor();
  const disks = scriptedDisks();
  const os = scriptedOs();
  const hypervisors = options.hypervisors ?? new Map<HypervisorName, HypervisorDriver>([["fake", hypervisor]]);
  const agent = await startAgent({
    nodeName: NODE,
    listen: { host: "127.0.0.1", port: 0 },
    identity: await NodeIdentity.open({ nodeName: NODE, pkiDir: cluster.nodePkiDir, logger: silentLogger() }),
    hypervisors,
    blockDevices: new Map([["file", disks]]),
    os,
    openvswitch: { configure: vi.fn(async () => {}) },
    images: { sizeBytes: vi.fn(async () => 512), write: vi.fn(async () => {}) },
    contents: {
      wipe: vi.fn(async () => {}),
      copy: vi.fn(async () => {}),
      rawView: vi.fn(async (raw) => ({ disk: raw, keep: async () => {}, [Symbol.asyncDispose]: async () => {} })),
    },
    storage: { units: new Map(), volumes: vi.fn(async () => []), spindles: vi.fn(async () => []), drbd: vi.fn() },
    transfers: { close: vi.fn(async () => {}) } as never,
    oob: new OobProgram({ runner, owner: OWN_USER }),
    restrictedCommands: new RestrictedCommands({ enabled: false, folder: "/nowhere", runner, logger: silentLogger() }),
    powerCycle: new PowerCycle({ hypervisors, runner, logger: silentLogger(), trigger: undefined }),
    allocators: new SiteAllocators({ searchPath: [], stateDir: options.leadersFolder, runner }),
    hooks: new SiteHooks({ folder: path.join(options.leadersFolder, "no-hooks"), runner }),
    masterAddress: new MasterAddressSetup({
      ...{ tools: SYSTEM_ADDRESS_TOOLS, scriptFolder: "/nowhere", owner: OWN_USER, runner, logger: silentLogger() },
      ...options.masterAddress,
    }),
    hostsFile: new HostsFile(path.join(options.leadersFolder, "hosts")),
    logger: silentLogger(),
    development: false,
    ...rest,
    verification:
      options.verification?.(hypervisors) ??
      new NodeVerification({
        hypervisors,
        fileStorage: {},
        spaces: { read: async () => undefined },
        networkTools: SYSTEM_NETWORK_TOOLS,
        runner,
      }),
  });
  const client = clientOf(cluster, agent.port);
  return {
    ...{ agent, client, hypervisor, disks, os, leadersFolder: options.leadersFolder },
    stop: async () => {
      client.close();
      await agent.stop(0);
    },
  };
}

export function guestState(name: string, changes: Partial<GuestState> = {}): GuestState {
  return {
    name,
    uuid: "11111111-2222-4333-8444-555555555555",
    hypervisor: "fake",
    status: "running",
    memoryMib: 128,
    vcpus: 1,
    uptimeSeconds: 10,
    cpuSeconds: 1,
    ...changes,
  };
}

let steps = 0;
/** A step of its own each time, unless its name is given. */
export function step(changes: Partial<Step> = {}): Step {
  steps += 1;
  return { epoch: 1, jobId: 1, opcodeIndex: 0, step: `step-${steps}`, ...changes };
}

export function disk(changes: Partial<BlockDevice> = {}): BlockDevice {
  return {
    uuid: "aaaaaaaa-0000-4000-8000-000000000000",
    template: "file",
    logicalId: ["loop", "/srv/ganeti/file-storage/web1/disk0"],
    sizeMib: 128,
    mode: "rw",
    instanceName: "web1.gannet.test",
    index: 0,
    params: {},
    children: [],
    name: undefined,
    link: undefined,
    ...changes,
  };
}

export function instance(changes: Partial<Instance> = {}): Instance {
  return {
    name: "web1.gannet.test",
    uuid: "11111111-2222-4333-8444-555555555555",
    hypervisor: "fake",
    maxMemoryMib: 256,
    startMemoryMib: 256,
    vcpus: 2,
    disks: [disk()],
    nics: [],
    hvparams: {},
    networkPort: 0,
    tags: [],
    uidPool: [],
    ...changes,
  };
}

/** Resolves when the signal is aborted, and then rejects with its reason, as a well-behaved driver does. */
export function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}
