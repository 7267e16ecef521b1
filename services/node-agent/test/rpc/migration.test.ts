/** The master's steps of a migration, and of changes to a running guest, over mutual TLS with two agents. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { HypervisorDriver } from "@gannet/driver-contract";
import { HYPERVISOR_DEFAULTS, type HypervisorName } from "@gannet/objects";
import { createCa, issueCertificate, loadIdentity } from "@gannet/pki";
import {
  createNodeClient,
  encodeParameters,
  HotplugRequest_Action,
  type Instance,
  type MigrationProgress,
  type Nic,
  type NodeClient,
} from "@gannet/rpc";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { type Agent, startAgent } from "../../src/agent.ts";
import { SiteAllocators } from "../../src/allocators/site-allocators.ts";
import { SiteHooks } from "../../src/hooks/site-hooks.ts";
import { HostsFile } from "../../src/hosts-file/hosts-file.ts";
import { FakeHypervisor } from "../../src/hypervisors/fake/fake-hypervisor.ts";
import { KvmHypervisor } from "../../src/hypervisors/kvm/kvm-hypervisor.ts";
import { NodeIdentity } from "../../src/identity/node-identity.ts";
import { MasterAddressSetup, SYSTEM_ADDRESS_TOOLS } from "../../src/master-address/master-address.ts";
import { SYSTEM_NETWORK_TOOLS } from "../../src/nics/network-tools.ts";
import { NodeVerification } from "../../src/node-facts/node-verification.ts";
import { PowerCycle } from "../../src/power-cycle.ts";
import { OobProgram } from "../../src/site-commands/oob-program.ts";
import { GANETI_RESTRICTED_COMMANDS, RestrictedCommands } from "../../src/site-commands/restricted-commands.ts";
import { disk, instance, issue, runner, scriptedDisks, scriptedOs, step } from "../agent-fixture.ts";

const ADDRESS = "127.0.0.1";
const CONSTRUCT = {
  fake: FakeHypervisor,
  kvm: KvmHypervisor,
} as const;

let root: string;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), "gannet-two-"));
  const ca = await createCa({ dir: path.join(root, "ca") });
  for (const name of ["node1.gannet.test", "node2.gannet.test"])
    await issue(ca, name, "node", path.join(root, name, "pki"));
  await issueCertificate({ ca, name: "master", sans: [], usage: "master", dir: path.join(root, "master") });
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** An agent with a real driver, its state in a folder; started anew it is the same node. */
class TestNode {
  readonly name: string;
  readonly stateDir: string;
  readonly #hypervisor: keyof typeof CONSTRUCT;
  #agent: Agent | undefined;
  #client: NodeClient | undefined;

  constructor(name: string, hypervisor: keyof typeof CONSTRUCT) {
    this.name = name;
    this.#hypervisor = hypervisor;
    this.stateDir = path.join(root, name, hypervisor);
  }

  get client(): NodeClient {
    if (this.#client === undefined) throw new Error(`${this.name} is down`);
    return this.#client;
  }

  async start(): Promise<void> {
    const leadersFolder = path.join(this.stateDir, "leaders");
    await mkdir(leadersFolder, { recursive: true });
    const logger = silentLogger();
    const pkiDir = path.join(root, this.name, "pki");
    const options = { kvmAcceleration: "off", pkiDir } as const;
    const driver = new CONSTRUCT[this.#hypervisor]({ stateDir: this.stateDir, runner, logger, options });
    const hypervisors = new Map<HypervisorName, HypervisorDriver>([[this.#hypervisor, driver]]);
    this.#agent = await startAgent({
      nodeName: this.name,
      listen: { host: ADDRESS, port: 0 },
      identity: await NodeIdentity.open({ nodeName: this.name, pkiDir, logger }),
      leadersFolder,
      hypervisors,
      blockDevices: new Map([["file", scriptedDisks()]]),
      os: scriptedOs(),
      openvswitch: { configure: vi.fn(async () => {}) },
      images: { sizeBytes: vi.fn(async () => 0), write: vi.fn(async () => {}) },
      contents: { wipe: vi.fn(async () => {}), copy: vi.fn(async () => {}), rawView: vi.fn() },
      storage: { units: new Map(), volumes: vi.fn(async () => []), spindles: vi.fn(async () => []), drbd: vi.fn() },
      transfers: { close: vi.fn(async () => {}) } as never,
      hooks: new SiteHooks({ folder: path.join(this.stateDir, "hooks"), runner }),
      allocators: new SiteAllocators({ searchPath: [], stateDir: this.stateDir, runner }),
      oob: new OobProgram({ runner }),
      restrictedCommands: new RestrictedCommands({
        enabled: false,
        folder: GANETI_RESTRICTED_COMMANDS,
        runner,
        logger,
      }),
      powerCycle: new PowerCycle({ hypervisors, runner, logger, trigger: undefined }),
      masterAddress: new MasterAddressSetup({ tools: SYSTEM_ADDRESS_TOOLS, scriptFolder: "/nowhere", runner, logger }),
      hostsFile: new HostsFile(path.join(this.stateDir, "hosts")),
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
    const identity = await loadIdentity(path.join(root, "master"));
    this.#client = createNodeClient({ nodeName: this.name, address: `${ADDRESS}:${this.#agent.port}`, identity });
  }

  async stop(): Promise<void> {
    this.#client?.close();
    await this.#agent?.stop(0);
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async status(): Promise<string> {
    const { name } = GUEST;
    return (await this.client.instances.state({ name, hypervisor: this.#hypervisor })).status;
  }

  async remove(): Promise<void> {
    const stop = { name: GUEST.name, hypervisor: this.#hypervisor, force: true, timeoutMs: 1_000 };
    await this.client.instances.stop({ ...stop, step: step() });
    await this.stop();
    await rm(this.stateDir, { recursive: true, force: true });
  }
}

const GUEST = instance({ disks: [], maxMemoryMib: 32, startMemoryMib: 32 });

describe.each(["fake", "kvm"] as const)("a guest of %s", (hypervisor) => {
  let one: TestNode;
  let two: TestNode;
  const guest: Instance = { ...GUEST, hypervisor, hvparams: encodeParameters(HYPERVISOR_DEFAULTS[hypervisor]) };

  beforeEach(async () => {
    one = new TestNode("node1.gannet.test", hypervisor);
    two = new TestNode("node2.gannet.test", hypervisor);
    for (const node of [one, two]) await node.start();
    await one.client.instances.start({ instance: guest, paused: false, step: step() });
  });
  afterEach(async () => {
    for (const node of [one, two]) await node.remove();
  });

  async function accept(accepting = step()): Promise<number> {
    const { info } = await one.client.instances.migrationInfo({ name: guest.name, hypervisor });
    const request = { instance: guest, info, address: ADDRESS, step: accepting };
    return (await two.client.instances.acceptMigration(request)).port;
  }

  async function migrate(
    targetPort: number,
    options: { readonly step?: ReturnType<typeof step>; readonly signal?: AbortSignal } = {},
  ): Promise<readonly MigrationProgress[]> {
    const target = { targetAddress: ADDRESS, targetPort, targetNode: two.name };
    const request = { instance: guest, ...target, live: true, step: options.step ?? step() };
    const { signal } = options;
    const told: MigrationProgress[] = [];
    const call = one.client.instances.migrate(request, signal === undefined ? {} : { signal });
    for await (const progress of call) told.push(progress);
    return told;
  }

  async function finish(succeeded: boolean, steps = [step(), step()] as const): Promise<void> {
    await two.client.instances.finishMigrationTarget({ instance: guest, succeeded, step: steps[0] });
    const source = { name: guest.name, hypervisor, succeeded, step: steps[1] };
    await one.client.instances.finishMigrationSource(source);
  }

  it("moves, each step told twice", async () => {
    const [accepting, sending, finishing] = [step(), step(), [step(), step()] as const];
    const port = await accept(accepting);
    expect(await accept(accepting)).toBe(port);
    const progress = await migrate(port, { step: sending });
    expect(progress.at(-1)).toMatchObject({ status: "completed", problem: "", downtimeMs: expect.any(Number) });
    expect((await migrate(port, { step: sending })).at(-1)).toEqual(progress.at(-1));
    expect([await one.status(), await two.status()]).toEqual(["paused", "shutdown"]);
    await finish(true, finishing);
    await finish(true, finishing);
    // As a new leader would, who does not know that it has been done.
    await finish(true);
    expect([await one.status(), await two.status()]).toEqual(["shutdown", "running"]);
  });

  it("moves while both agents are started anew between the steps", async () => {
    const port = await accept();
    for (const node of [one, two]) await node.restart();
    const sending = step();
    await migrate(port, { step: sending });
    for (const node of [one, two]) await node.restart();
    expect((await migrate(port, { step: sending })).at(-1)).toMatchObject({ status: "completed" });
    await finish(true);
    for (const node of [one, two]) await node.restart();
    expect([await one.status(), await two.status()]).toEqual(["shutdown", "running"]);
  });

  it("stays when the master gives up, whatever has happened until then", async () => {
    await finish(false);
    await accept();
    await finish(false);
    await migrate(await accept());
    await finish(false);
    expect([await one.status(), await two.status()]).toEqual(["running", "shutdown"]);
  });
});

describe("a guest that is changed or sent slowly", () => {
  let one: TestNode;
  let two: TestNode;
  const { name } = GUEST;
  const nic: Nic = {
    uuid: "bbbbbbbb-0000-4000-8000-000000000000",
    name: "",
    mac: "aa:00:00:00:00:01",
    ip: "",
    mode: "bridged",
    link: "br0",
    vlan: "",
    network: undefined,
    metadata: undefined,
  };

  beforeEach(async () => {
    one = new TestNode("node1.gannet.test", "fake");
    two = new TestNode("node2.gannet.test", "fake");
    for (const node of [one, two]) await node.start();
    await one.client.instances.start({ instance: GUEST, paused: false, step: step() });
  });
  afterEach(async () => {
    for (const node of [one, two]) await node.remove();
  });

  it("stays where it is when the call is given up half-way", async () => {
    const { info } = await one.client.instances.migrationInfo({ name, hypervisor: "fake" });
    const accepting = { instance: GUEST, info, address: ADDRESS, step: step() };
    const { port: targetPort } = await two.client.instances.acceptMigration(accepting);
    const faults = path.join(one.stateDir, "fake-hypervisor/faults.json");
    await writeFile(faults, JSON.stringify({ faults: [{ operation: "migrate", delayMs: 60_000 }] }));
    const abort = new AbortController();
    const target = { targetAddress: ADDRESS, targetPort, targetNode: two.name };
    const request = { instance: GUEST, ...target, live: true, step: step() };
    const seen: string[] = [];
    const call = async () => {
      for await (const { status } of one.client.instances.migrate(request, { signal: abort.signal })) {
        seen.push(status);
        if (seen.length === 2) abort.abort(new Error("given up"));
      }
    };
    await expect(call()).rejects.toThrow("given up");
    expect(seen).toEqual(["active", "active"]);
    await two.client.instances.finishMigrationTarget({ instance: GUEST, succeeded: false, step: step() });
    const source = { name, hypervisor: "fake", succeeded: false, step: step() };
    await one.client.instances.finishMigrationSource(source);
    expect([await one.status(), await two.status()]).toEqual(["running", "shutdown"]);
  });

  it("gets memory, a disk and a NIC, and is told why not when it cannot", async () => {
    const { instances } = one.client;
    await instances.setMemory({ name, hypervisor: "fake", memoryMib: 24, step: step() });
    expect(await instances.state({ name, hypervisor: "fake" })).toMatchObject({ memoryMib: 24 });
    await expect(instances.setMemory({ name, hypervisor: "fake", memoryMib: 33, step: step() })).rejects.toThrow(
      /between 1 and 32 MiB/,
    );
    await instances.checkHotplug({ name, hypervisor: "fake" });
    const change = (action: HotplugRequest_Action, device: "disk" | "nic") =>
      instances.hotplug({
        name,
        hypervisor: "fake",
        action,
        index: 0,
        step: step(),
        device: device === "disk" ? { $case: "disk", value: disk() } : { $case: "nic", value: nic },
      });
    for (const device of ["disk", "nic"] as const) {
      await change(HotplugRequest_Action.ACTION_ADD, device);
      await change(HotplugRequest_Action.ACTION_MODIFY, device);
    }
    await change(HotplugRequest_Action.ACTION_RESIZE, "disk");
    await expect(change(HotplugRequest_Action.ACTION_RESIZE, "nic")).rejects.toThrow(/cannot be changed in this way/);
    for (const device of ["disk", "nic"] as const) await change(HotplugRequest_Action.ACTION_REMOVE, device);
    await expect(change(HotplugRequest_Action.ACTION_MODIFY, "nic")).rejects.toThrow(/has no nic/);
  });
});
