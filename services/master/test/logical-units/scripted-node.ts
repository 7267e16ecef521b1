/** One node without an agent: what the master calls of it, answered from memory. */
import { BlockDeviceError, NodeUnreachable, OpPrereqError } from "@gannet/errors";
import type {
  BlockDevice,
  ChangeMasterNetmaskRequest,
  CheckAddressesRequest,
  DescribeDrbdReply,
  HookResult,
  HotplugRequest,
  LiveStateUpdate,
  MasterAddress,
  MasterAddressRequest,
  MigrateRequest,
  MigrationProgress,
  NodeClient,
  ParameterValue,
  RunAllocatorRequest,
  RunHooksRequest,
  SetHostsRequest,
  Step,
  StorageSpace,
  StorageUnit,
  TransferEnd,
  VerifyNodeReply,
  WriteNonvolatileRequest,
} from "@gannet/rpc";
import { decodeParameters, HotplugRequest_Action } from "@gannet/rpc";
import { guest, nodeState } from "../rapi/cluster-fixture.ts";
import { ScriptedDisks } from "./scripted-disks.ts";
import { CERTIFICATE, ExportFolder } from "./scripted-exports.ts";
import type { Call, DrbdEnd, ScriptedWorld, Volume } from "./scripted-world.ts";

/** Of a guest that has just been started, whatever it may have. */
const GUEST_MEMORY_MIB = 128;

const BLOCK_DEVICES = "blockDevices";

export class ScriptedNode {
  readonly name: string;
  readonly address: string;
  readonly volumes = new Map<string, Volume>();
  readonly groups = new Map([
    ["xenvg", 10_000],
    ["fast", 10_000],
  ]);
  readonly ends = new Map<number, DrbdEnd>();
  readonly guests = new Set<string>();
  /** Of these, those that stand still. */
  readonly paused = new Set<string>();
  /** Sizes in bytes of the images of machines that the node can read. */
  readonly images = new Map<string, number>();
  /** UUIDs of the disks and NICs of running guests, by the guest's name. */
  readonly devices = new Map<string, Set<string>>();
  /** Of running guests, in MiB. */
  readonly memories = new Map<string, number>();
  /** What guests' machines keep while they are off, by their UUID. */
  readonly nonvolatile = new Map<string, Uint8Array>();
  /** Guests that are being sent here. */
  readonly incoming = new Set<string>();
  /** Volumes that are ready for use, those below DRBD apart. */
  readonly active = new Set<string>();
  /** Names of transfers that nobody has ended. */
  readonly transfers = new Set<string>();
  readonly exports = new ExportFolder();
  /** Names of keys that were made for transfers to other clusters. */
  readonly transferKeys = new Set<string>();
  readonly addresses = new Set<string>();
  /** What the out-of-band program prints here, by the machine that it is asked about. */
  readonly oobOutputs = new Map<string, string>();
  /** Of its agent; the master's own when undefined. */
  version: string | undefined;
  /** The cluster fixture's when undefined. */
  memoryFreeMib: number | undefined;
  readonly units: StorageUnit[] = [];
  /** The cluster's address, by the interface that carries it. */
  readonly masterAddresses = new Map<string, MasterAddress>();
  /** What the hosts file was told last. */
  hosts: readonly string[] = [];
  /** Physical volumes, counted. */
  spindles: readonly StorageSpace[] = [];
  verification: VerifyNodeReply = {
    digests: [],
    problems: [],
    certificates: [],
    siteFiles: [],
    clockMs: Date.now(),
    agentVersion: "test",
  };
  drbd: DescribeDrbdReply = { version: "8.4", minors: [], usermodeHelper: "/bin/true", problem: "" };
  /** A site's hooks, by what becomes of them. */
  hooks: (request: RunHooksRequest) => readonly HookResult[] = () => [];
  /** A site's allocators, by what they print. */
  allocator: (name: string, input: unknown) => { readonly output: string } = (name) => {
    throw new OpPrereqError(`There is no allocator ${name}`, "unknown_entity");
  };
  readonly client: NodeClient;
  readonly #world: ScriptedWorld;
  readonly #disks: ScriptedDisks;
  /** What finished steps were answered with: one that is asked for again is not done again. */
  readonly #answers = new Map<string, { readonly answer: unknown } | { readonly error: unknown }>();

  constructor(world: ScriptedWorld, name: string, address: string) {
    this.#world = world;
    this.name = name;
    this.address = address;
    this.#disks = new ScriptedDisks(world, this);
    const services = {
      nodeName: name,
      close: () => {},
      node: {
        ...this.#methods("node.", this.#nodeItself()),
        watch: () => this.#stream("node.watch", {}, () => [this.#snapshot()]),
      },
      [BLOCK_DEVICES]: this.#service("", this.#disks.methods()),
      instances: {
        ...this.#methods("instances.", { ...this.#instances(), ...this.#migrations() }),
        migrate: (request: MigrateRequest) =>
          this.#stream("instances.migrate", request, () => [this.#sendGuest(request)]),
      },
      os: this.#service("os.", {
        validate: () => ({}),
        create: (request: OsRequest) => this.#install(request),
        rename: () => ({}),
        prepareInstallation: (request: InstallationRequest) => this.#prepareInstallation(request),
        finishInstallation: ({ device }: InstallationRequest) => {
          this.#disks.assemble(device);
          return {};
        },
      }),
      storage: this.#service("storage.", this.#storage()),
      transfers: {
        ...this.#methods("transfers.", { ...this.#transfers(), ...this.exports.methods() }),
        follow: ({ names: [name = ""] }: { readonly names: readonly string[] }) =>
          this.#stream("transfers.follow", { names: [name] }, () => world.followTransfer(name)),
      },
    };
    this.client = services as unknown as NodeClient;
  }

  freeMib(group: string): number {
    const used = [...this.volumes].filter(([id]) => id.startsWith(`${group}/`));
    return (this.groups.get(group) ?? 0) - used.reduce((sum, [, { sizeMib }]) => sum + sizeMib, 0);
  }

  /** Methods that are recorded, and fail when told to. What is not scripted fails the test. */
  #service(prefix: string, methods: Readonly<Record<string, (request: never) => unknown>>) {
    return new Proxy(
      {},
      {
        get: (_target, name) => {
          const method = methods[String(name)];
          return async (request: { readonly device?: BlockDevice }) => {
            const called = `${prefix}${String(name)}`;
            if (method === undefined) throw new Error(`${called} is not scripted`);
            return this.#called(called, request, () => method(request as never));
          };
        },
      },
    );
  }

  #methods<Method extends string>(prefix: string, methods: Readonly<Record<Method, (request: never) => unknown>>) {
    const service = this.#service(prefix, methods) as Readonly<Record<Method, unknown>>;
    return Object.fromEntries(Object.keys(methods).map((name) => [name, service[name as Method]]));
  }

  async #called(
    method: string,
    request: { readonly device?: unknown; readonly source?: unknown },
    work: () => unknown,
  ) {
    const device = (request.device ?? request.source) as BlockDevice | undefined;
    const template = device?.template ?? "";
    const call = { node: this.name, method, template, index: device?.index ?? 0, request };
    const position = this.#world.calls.push(structuredClone(call)) - 1;
    await this.#world.onCall?.(call);
    const failure = this.#failureOf(call, position);
    const isCut = failure?.error instanceof NodeUnreachable;
    if (isCut && !failure.after) throw failure.error;
    const answer = await this.#once(call, async () => {
      const done = failure === undefined || failure.after ? await work() : undefined;
      if (failure !== undefined && !isCut) throw failure.error;
      return done;
    });
    if (isCut) throw failure.error;
    return answer;
  }

  /** As agents do: a step that has finished is answered as it was the first time, its failure too. */
  async #once({ method, request }: Call, work: () => Promise<unknown>): Promise<unknown> {
    const { step } = request as { readonly step?: Step };
    if (step === undefined) return work();
    const key = `${step.jobId}/${step.opcodeIndex} ${method} ${step.step}`;
    const before = this.#answers.get(key);
    if (before !== undefined && "error" in before) throw before.error;
    if (before !== undefined) return before.answer;
    try {
      const answer = await work();
      this.#answers.set(key, { answer });
      return answer;
    } catch (error) {
      this.#answers.set(key, { error });
      throw error;
    }
  }

  #failureOf(call: Call, position: number): { readonly error: Error; readonly after: boolean } | undefined {
    const { fault, failures } = this.#world;
    if (fault?.call === position) return { error: fault.errorOf(call), after: fault.after };
    const { method, template } = call;
    const failure = failures.find(
      (each) =>
        each.method === method &&
        (each.node ?? this.name) === this.name &&
        (each.template ?? template) === template &&
        (each.times ?? 1) > 0,
    );
    if (failure === undefined) return undefined;
    if (failure.times !== undefined) failure.times -= 1;
    const error = failure.error ?? new BlockDeviceError(`${method} on ${this.name} was told to fail`);
    return { error, after: failure.after ?? false };
  }

  /** What of a stream's work is done is what has been read of it. */
  async *#stream<Item>(
    method: string,
    request: object,
    work: () => AsyncIterable<Item> | Iterable<Item>,
  ): AsyncIterable<Item> {
    await this.#called(method, request, () => undefined);
    yield* work();
  }

  #nodeItself() {
    return {
      describe: () => this.#describe(),
      verify: () => this.verification,
      runHooks: (request: RunHooksRequest) => ({ results: this.hooks(request) }),
      runAllocator: ({ name, input }: RunAllocatorRequest) => this.allocator(name, JSON.parse(input)),
      runOob: ({ nodeName }: { readonly nodeName: string }) => ({ output: this.oobOutputs.get(nodeName) ?? "" }),
      runRestrictedCommand: ({ command }: { readonly command: string }) => ({ output: `${command} on ${this.name}` }),
      configureOpenvswitch: () => ({}),
      activateMasterAddress: ({ address }: MasterAddressRequest) => {
        if (address !== undefined) this.masterAddresses.set(address.netdev, address);
        return {};
      },
      deactivateMasterAddress: ({ address }: MasterAddressRequest) => {
        if (address !== undefined) this.masterAddresses.delete(address.netdev);
        return {};
      },
      changeMasterNetmask: ({ address, newNetmask }: ChangeMasterNetmaskRequest) => {
        if (address !== undefined) this.masterAddresses.set(address.netdev, { ...address, netmask: newNetmask });
        return {};
      },
      setHosts: ({ hosts }: SetHostsRequest) => {
        this.hosts = hosts.map(({ address, name }) => `${address} ${name}`);
        return { contradicted: [] };
      },
      delay: () => ({}),
      powercycle: () => ({ message: "Reboot scheduled in 5 seconds" }),
      checkAddresses: ({ own, peers }: CheckAddressesRequest) => ({
        foreign: own.filter((address) => !this.addresses.has(address)),
        silent: peers.filter(({ address }) => this.#world.silent.has(address)),
      }),
    };
  }

  #describe() {
    const storage = [...this.groups].map(([name, totalMib]) => ({
      ...{ type: "lvm-vg", name, totalMib },
      freeMib: this.freeMib(name),
    }));
    const file = { type: "file", name: "/srv/ganeti/file-storage", totalMib: 50_000, freeMib: 40_000 };
    return nodeState(this.name, {
      storage: [...storage, file, { ...file, type: "sharedfile" }, ...this.spindles],
      ...(this.version === undefined ? {} : { agentVersion: this.version }),
      ...(this.memoryFreeMib === undefined ? {} : { memoryFreeMib: this.memoryFreeMib }),
    });
  }

  /** As who asks is told at once of a node that nobody watches. */
  #snapshot(): LiveStateUpdate {
    const instances = [...this.guests].map((name) => guest(name));
    return { update: { $case: "snapshot", value: { node: this.#describe(), instances, os: [], asOfMs: 0 } } };
  }

  #instances() {
    return {
      validate: () => ({}),
      state: ({ name }: { readonly name: string }) =>
        guest(name, {
          status: this.paused.has(name) ? "paused" : this.guests.has(name) ? "running" : "shutdown",
          memoryMib: this.memories.get(name) ?? GUEST_MEMORY_MIB,
        }),
      start: ({ instance }: { readonly instance: Guest }) => {
        for (const disk of instance.disks) this.#disks.assemble(disk);
        this.#run(instance);
        this.#keepVariables(instance);
        return guest(instance.name);
      },
      stop: ({ name }: { readonly name: string }) => {
        this.#forgetGuest(name);
        return {};
      },
      reboot: ({ name }: { readonly name: string }) => guest(name),
      console: () => ({ kind: "msg", message: "no console here", command: [], port: 0, display: 0 }),
      setMemory: ({ name, memoryMib }: { readonly name: string; readonly memoryMib: number }) => {
        this.memories.set(name, memoryMib);
        return {};
      },
      readNonvolatile: ({ uuid }: { readonly uuid: string }) => ({
        state: this.nonvolatile.get(uuid) ?? Buffer.alloc(0),
      }),
      writeNonvolatile: ({ uuid, state }: WriteNonvolatileRequest) => {
        this.nonvolatile.set(uuid, state);
        return {};
      },
      removeNonvolatile: ({ uuid }: { readonly uuid: string }) => {
        this.nonvolatile.delete(uuid);
        return {};
      },
      checkHotplug: () => ({}),
      hotplug: (request: HotplugRequest) => {
        hotplug(this.devices.get(request.name) ?? new Set(), request);
        return {};
      },
    };
  }

  /** Variables are made at the first start, and say where that was. */
  #keepVariables({ uuid = "", hvparams = {} }: Guest): void {
    const isUefi = decodeParameters(hvparams).uefi === true;
    if (isUefi && !this.nonvolatile.has(uuid)) this.nonvolatile.set(uuid, Buffer.from(`made on ${this.name}`));
  }

  /** A guest is on both nodes from when the target has taken it until the source has let go of it. */
  #migrations() {
    return {
      migrationInfo: () => ({ info: "" }),
      acceptMigration: ({ instance }: { readonly instance: Guest }) => {
        for (const disk of instance.disks) this.#disks.assemble(disk);
        this.incoming.add(instance.name);
        return { port: 1 };
      },
      finishMigrationTarget: ({ instance, succeeded }: { readonly instance: Guest; readonly succeeded: boolean }) => {
        if (succeeded && this.incoming.has(instance.name)) this.#run(instance);
        this.incoming.delete(instance.name);
        return {};
      },
      finishMigrationSource: ({ name, succeeded }: { readonly name: string; readonly succeeded: boolean }) => {
        if (succeeded) this.#forgetGuest(name);
        return {};
      },
    };
  }

  #sendGuest({ instance, targetNode }: MigrateRequest): MigrationProgress {
    const arrives = this.#world.named(targetNode).incoming.has(instance?.name ?? "");
    const problem = arrives ? "" : "nobody listens";
    return { status: arrives ? "completed" : "failed", transferredBytes: 1, totalBytes: 1, problem };
  }

  #run({ name, disks, nics }: Guest): void {
    if (this.guests.has(name)) return;
    this.guests.add(name);
    this.memories.set(name, GUEST_MEMORY_MIB);
    this.devices.set(name, new Set([...disks, ...(nics ?? [])].map(({ uuid }) => uuid)));
  }

  #forgetGuest(name: string): void {
    this.guests.delete(name);
    this.paused.delete(name);
    this.devices.delete(name);
    this.memories.delete(name);
  }

  #install({ instance }: OsRequest) {
    for (const disk of instance.disks) {
      this.#disks.assemble(disk);
      this.#disks.write(disk, "installed");
    }
    return {};
  }

  #prepareInstallation({ device, instance }: InstallationRequest) {
    this.#disks.assemble(device);
    this.#disks.write(device, JSON.stringify(instance.parameters));
    return {};
  }

  /** Contents go from one end to the other at once when both are there. */
  #transfers() {
    return {
      startImport: ({ component, target }: { readonly component: string; readonly target: TransferEnd }) => {
        const name = this.#world.openTransfer(`${this.name}/${component}`, this.#writerOf(target));
        this.transfers.add(name);
        return { name };
      },
      startExport: (request: { readonly component: string; readonly port: number; readonly source: TransferEnd }) => {
        this.#world.sendTransfer(request.port, this.#read(request.source));
        const name = `${this.name}/sent-${request.component}`;
        this.transfers.add(name);
        return { name };
      },
      createCertificate: () => {
        const name = `x509-${this.transferKeys.size + 1}`;
        this.transferKeys.add(name);
        return { name, certificatePem: CERTIFICATE };
      },
      removeCertificate: ({ name }: { readonly name: string }) => {
        this.transferKeys.delete(name);
        return {};
      },
      end: ({ names }: { readonly names: readonly string[] }) => {
        for (const name of names) {
          this.transfers.delete(name);
          this.#world.endTransfer(name);
        }
        return {};
      },
    };
  }

  #writerOf({ end }: TransferEnd): (contents: string) => void {
    if (end?.$case === "file") return this.exports.writerOf(end.value);
    const device = deviceOf(end);
    this.#disks.assemble(device);
    return (contents) => this.#disks.write(device, contents);
  }

  #read({ end }: TransferEnd): string {
    if (end?.$case === "file") return this.exports.read(end.value);
    const device = deviceOf(end);
    this.#disks.assemble(device);
    return this.#disks.data(device).contents;
  }

  #storage() {
    return {
      listUnits: ({ type, name }: { readonly type: string; readonly name?: string }) => ({
        units: this.units.filter((unit) => unit.type === type && (name === undefined || unit.name === name)),
      }),
      setAllocatable: ({ name, allocatable }: { readonly name: string; readonly allocatable: boolean }) => {
        for (const unit of this.units) if (unit.name === name) unit.allocatable = allocatable;
        return {};
      },
      repair: () => ({}),
      describeDrbd: () => ({ ...this.drbd, minors: [...this.drbd.minors, ...this.ends.keys()] }),
      listVolumes: () => ({
        volumes: [...this.volumes].map(([id, { sizeMib, inUse, devices = ["/dev/sdb1"] }]) => {
          const [volumeGroup = "", name = ""] = id.split("/");
          return { name, volumeGroup, sizeMib, active: true, inUse, devices: [...devices] };
        }),
      }),
    };
  }
}

function deviceOf(end: TransferEnd["end"]): BlockDevice {
  const device = end?.$case === "file" ? undefined : end?.value.device;
  if (device === undefined) throw new Error("a transfer without a disk");
  return device;
}

/** Put a device into a running guest, or take it out. */
function hotplug(devices: Set<string>, { action, device }: HotplugRequest): void {
  const uuid = device?.value.uuid ?? "";
  if (action === HotplugRequest_Action.ACTION_ADD) devices.add(uuid);
  if (action === HotplugRequest_Action.ACTION_REMOVE) devices.delete(uuid);
}

/** What of a guest's message its node keeps. */
interface Guest {
  readonly name: string;
  readonly uuid?: string;
  readonly hvparams?: Readonly<Record<string, ParameterValue>>;
  readonly disks: readonly BlockDevice[];
  readonly nics?: readonly { readonly uuid: string }[];
}

interface OsRequest {
  readonly instance: { readonly disks: readonly BlockDevice[] };
}

interface InstallationRequest {
  readonly instance: { readonly parameters: Readonly<Record<string, string>> };
  readonly device: BlockDevice;
}
