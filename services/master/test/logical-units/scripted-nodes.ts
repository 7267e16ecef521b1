/**
 * Nodes without agents: what the master calls, answered from memory as the drivers of the agents answer it. Volumes
 * have owners and contents, DRBD ends find each other by their links, and anything can be told to fail.
 */
import { BlockDeviceError, OpPrereqError } from "@gannet/errors";
import type { NodeUuid } from "@gannet/objects";
import type {
  BlockDevice,
  CheckAddressesRequest,
  DescribeDrbdReply,
  DrbdLink,
  HookResult,
  MirrorStatusReply_Disk,
  NodeClient,
  RunAllocatorRequest,
  RunHooksRequest,
  StorageUnit,
  VerifyNodeReply,
} from "@gannet/rpc";
import { guest, nodeState } from "../rapi/cluster-fixture.ts";

export interface Volume {
  /** UUID of the disk it belongs to; undefined for one that is nobody's. */
  owner: string | undefined;
  sizeMib: number;
  inUse: boolean;
  /** A word for what is on it. */
  contents: string;
}

interface DrbdEnd {
  readonly disk: string;
  readonly link: DrbdLink;
  readonly data: Volume;
  role: "primary" | "secondary";
  upToDate: boolean;
  paused: boolean;
}

export interface Failure {
  readonly node?: string;
  /** `create`, `seed`, `os.create`, … */
  readonly method: string;
  readonly template?: string;
  readonly error?: Error;
  /** How many calls fail; all when absent. */
  times?: number;
  /** The work is done before the call fails, as when an answer is lost. */
  readonly after?: boolean;
}

export interface Call {
  readonly node: string;
  readonly method: string;
  readonly template: string;
  readonly index: number;
  readonly request: unknown;
}

const BLOCK_DEVICES = "blockDevices";

/** Looks at a mirror's state that a resync takes. */
const SYNC_LOOKS = 3;

export class ScriptedNodes {
  readonly calls: Call[] = [];
  failures: Failure[] = [];
  /** What the test does while a node is asked. */
  onCall: ((call: Call) => Promise<void>) | undefined;
  readonly #nodes = new Map<NodeUuid, ScriptedNode>();
  /** Addresses that no node reaches. */
  readonly silent = new Set<string>();
  /** Looks left until the ends of a pair are the same, by port. */
  readonly syncs = new Map<number, number>();

  add(uuid: NodeUuid, name: string, address: string): void {
    this.#nodes.set(uuid, new ScriptedNode(this, name, address));
  }

  node(uuid: NodeUuid): ScriptedNode {
    const node = this.#nodes.get(uuid);
    if (node === undefined) throw new OpPrereqError(`No node has the UUID ${uuid}`, "unknown_entity");
    return node;
  }

  all(): readonly ScriptedNode[] {
    return [...this.#nodes.values()];
  }

  named(name: string): ScriptedNode {
    const node = [...this.#nodes.values()].find((each) => each.name === name);
    if (node === undefined) throw new Error(`no scripted node ${name}`);
    return node;
  }

  readonly #transfers: {
    readonly name: string;
    readonly write: (contents: string) => void;
    readonly done: PromiseWithResolvers<void>;
  }[] = [];

  openTransfer(name: string, write: (contents: string) => void): string {
    this.#transfers.push({ name, write, done: Promise.withResolvers() });
    return name;
  }

  /** @param port - the number that the receiver told, from 1 on */
  sendTransfer(port: number, contents: string): string {
    const transfer = this.#transfers[port - 1];
    if (transfer === undefined) throw new Error(`nobody listens on port ${port}`);
    transfer.write(contents);
    transfer.done.resolve();
    return transfer.name;
  }

  async *followTransfer(name: string) {
    const place = this.#transfers.findLastIndex((each) => each.name === name);
    const state = {
      name,
      listenPort: place + 1,
      connected: true,
      transferredMib: 0,
      mibPerSecond: 0,
      recentOutput: [],
    };
    yield { transfers: [{ ...state, over: false, problem: "" }] };
    await this.#transfers[place]?.done.promise;
    const failure = this.failures.find(({ method }) => method === "transfers.follow");
    yield { transfers: [{ ...state, over: true, problem: failure === undefined ? "" : "it was told to fail" }] };
  }

  client(uuid: NodeUuid): NodeClient {
    return this.node(uuid).client;
  }

  peerOf({ link }: DrbdEnd): DrbdEnd | undefined {
    const node = [...this.#nodes.values()].find(({ address }) => address === link.peerAddress);
    const peer = node?.ends.get(link.peerMinor);
    const isPaired =
      peer !== undefined &&
      peer.link.port === link.port &&
      peer.link.secret === link.secret &&
      peer.link.peerAddress === link.localAddress &&
      peer.link.peerMinor === link.localMinor;
    return isPaired ? peer : undefined;
  }

  /** `node1 create plain` in order, those of `interesting` only. */
  story(...interesting: readonly string[]): readonly string[] {
    return this.calls
      .filter(({ method }) => interesting.length === 0 || interesting.includes(method))
      .map(({ node, method, template, index }) => `${node} ${method} ${template}/${index}`);
  }

  /** Everything on all nodes that an instance could have left. */
  leftovers(): readonly string[] {
    return [...this.#nodes.values()].flatMap((node) => [
      ...[...node.volumes].filter(([, volume]) => volume.owner !== undefined).map(([id]) => `${node.name}: ${id}`),
      ...[...node.ends.keys()].map((minor) => `${node.name}: minor ${minor} is up`),
      ...[...node.guests].map((name) => `${node.name}: guest ${name}`),
    ]);
  }
}

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
  readonly addresses = new Set<string>();
  /** What the out-of-band program prints here, by the machine that it is asked about. */
  readonly oobOutputs = new Map<string, string>();
  /** Of its agent; the master's own when undefined. */
  version: string | undefined;
  /** The cluster fixture's when undefined. */
  memoryFreeMib: number | undefined;
  readonly units: StorageUnit[] = [];
  verification: VerifyNodeReply = { digests: [], problems: [], clockMs: Date.now(), agentVersion: "test" };
  drbd: DescribeDrbdReply = { version: "8.4", minors: [], usermodeHelper: "/bin/true", problem: "" };
  /** A site's hooks, by what becomes of them. */
  hooks: (request: RunHooksRequest) => readonly HookResult[] = () => [];
  /** A site's allocators, by what they print. */
  allocator: (name: string, input: unknown) => { readonly output: string } = (name) => {
    throw new OpPrereqError(`There is no allocator ${name}`, "unknown_entity");
  };
  readonly client: NodeClient;
  readonly #world: ScriptedNodes;

  constructor(world: ScriptedNodes, name: string, address: string) {
    this.#world = world;
    this.name = name;
    this.address = address;
    const services = {
      nodeName: name,
      close: () => {},
      node: this.#service("node.", this.#nodeItself()),
      [BLOCK_DEVICES]: this.#service("", this.#blockDevices()),
      instances: this.#service("instances.", this.#instances()),
      os: this.#service("os.", {
        validate: () => ({}),
        create: (request: OsRequest) => this.#install(request),
        rename: () => ({}),
      }),
      storage: this.#service("storage.", this.#storage()),
      transfers: {
        ...recorded(this.#service("transfers.", this.#transfers()), ["startImport", "startExport", "end"]),
        follow: ({ names: [name = ""] }: { readonly names: readonly string[] }) => world.followTransfer(name),
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

  async #called(
    method: string,
    request: { readonly device?: unknown; readonly source?: unknown },
    work: () => unknown,
  ) {
    const device = (request.device ?? request.source) as BlockDevice | undefined;
    const template = device?.template ?? "";
    const call = { node: this.name, method, template, index: device?.index ?? 0, request };
    this.#world.calls.push(structuredClone(call));
    await this.#world.onCall?.(call);
    const failure = this.#world.failures.find(
      (each) =>
        each.method === method &&
        (each.node ?? this.name) === this.name &&
        (each.template ?? template) === template &&
        (each.times ?? 1) > 0,
    );
    if (failure?.times !== undefined) failure.times -= 1;
    const answer = failure === undefined || failure.after ? await work() : undefined;
    if (failure === undefined) return answer;
    throw failure.error ?? new BlockDeviceError(`${method} on ${this.name} was told to fail`);
  }

  #nodeItself() {
    return {
      describe: () => this.#describe(),
      verify: () => this.verification,
      runHooks: (request: RunHooksRequest) => ({ results: this.hooks(request) }),
      runAllocator: ({ name, input }: RunAllocatorRequest) => this.allocator(name, JSON.parse(input)),
      runOob: ({ nodeName }: { readonly nodeName: string }) => ({ output: this.oobOutputs.get(nodeName) ?? "" }),
      runRestrictedCommand: ({ command }: { readonly command: string }) => ({ output: `${command} on ${this.name}` }),
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
      storage: [...storage, file, { ...file, type: "sharedfile" }],
      ...(this.version === undefined ? {} : { agentVersion: this.version }),
      ...(this.memoryFreeMib === undefined ? {} : { memoryFreeMib: this.memoryFreeMib }),
    });
  }

  #instances() {
    return {
      validate: () => ({}),
      state: ({ name }: { readonly name: string }) =>
        guest(name, { status: this.guests.has(name) ? "running" : "shutdown" }),
      start: ({ instance }: { readonly instance: { readonly name: string; readonly disks: BlockDevice[] } }) => {
        for (const disk of instance.disks) this.#assemble(disk);
        this.guests.add(instance.name);
        return guest(instance.name);
      },
      stop: ({ name }: { readonly name: string }) => {
        this.guests.delete(name);
        return {};
      },
      reboot: ({ name }: { readonly name: string }) => guest(name),
      console: () => ({ kind: "msg", message: "no console here", command: [], port: 0, display: 0 }),
      setMemory: () => ({}),
      checkHotplug: () => ({}),
      hotplug: () => ({}),
    };
  }

  #install({ instance }: OsRequest) {
    for (const disk of instance.disks) {
      this.#assemble(disk);
      this.#write(disk, "installed");
    }
    return {};
  }

  /** Contents of whole disks, which go from one node to another at once when both ends are there. */
  #transfers() {
    type DiskEnd = { readonly end: { readonly value: { readonly device: BlockDevice } } };
    return {
      startImport: ({ component, target }: { readonly component: string; readonly target: DiskEnd }) => {
        const { device } = target.end.value;
        this.#assemble(device);
        return {
          name: this.#world.openTransfer(`${this.name}/${component}`, (contents) => this.#write(device, contents)),
        };
      },
      startExport: (request: { readonly component: string; readonly port: number; readonly source: DiskEnd }) => {
        const { device } = request.source.end.value;
        this.#assemble(device);
        return { name: this.#world.sendTransfer(request.port, this.#data(device).contents) };
      },
      end: () => ({}),
    };
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
        volumes: [...this.volumes].map(([id, { sizeMib, inUse }]) => {
          const [volumeGroup = "", name = ""] = id.split("/");
          return { name, volumeGroup, sizeMib, active: true, inUse, devices: ["/dev/sdb1"] };
        }),
      }),
    };
  }

  #blockDevices() {
    const nothing = (work: (device: BlockDevice) => void) => (request: { readonly device: BlockDevice }) => {
      work(request.device);
      return {};
    };
    return {
      create: nothing((device) => this.#create(device)),
      remove: nothing((device) => this.#remove(device)),
      assemble: ({ device }: { readonly device: BlockDevice }) => this.#assemble(device),
      shutdown: nothing((device) => void this.#takeDown(device)),
      status: ({ device }: { readonly device: BlockDevice }) => {
        const volume = this.volumes.get(idOf(device));
        return { exists: volume?.owner === device.uuid, sizeMib: volume?.sizeMib ?? 0 };
      },
      grow: ({ device, newSizeMib }: { readonly device: BlockDevice; readonly newSizeMib: number }) => {
        this.#data(device).sizeMib = newSizeMib;
        return {};
      },
      rename: ({ device, logicalId }: { readonly device: BlockDevice; readonly logicalId: string[] }) => {
        const volume = this.#own(device);
        this.volumes.delete(idOf(device));
        this.volumes.set(logicalId.join("/"), volume);
        return {};
      },
      adoptable: ({ candidates }: { readonly candidates: readonly { readonly logicalId: string[] }[] }) => ({
        candidates: candidates.map(({ logicalId }) => {
          const volume = this.volumes.get(logicalId.join("/"));
          return { exists: volume !== undefined, sizeMib: volume?.sizeMib ?? 0, inUse: volume?.inUse ?? false };
        }),
      }),
      wipe: nothing((device) => {
        this.#write(device, "zeros");
      }),
      convert: ({ source, target }: { readonly source: BlockDevice; readonly target: BlockDevice }) => {
        this.#assemble(source);
        this.#assemble(target);
        this.#write(target, this.#data(source).contents);
        return {};
      },
      standBy: nothing((device) => {
        this.#bringUp(device).role = "secondary";
      }),
      seed: nothing((device) => {
        const end = this.#bringUp(device);
        if (end.upToDate) throw new BlockDeviceError("it has been in use");
        end.upToDate = true;
        end.role = "primary";
        this.#world.syncs.set(end.link.port, SYNC_LOOKS);
      }),
      pauseSync: ({ device, paused }: { readonly device: BlockDevice; readonly paused: boolean }) => {
        this.#end(device).paused = paused;
        return {};
      },
      mirrorStatus: ({ devices }: { readonly devices: readonly BlockDevice[] }) => ({
        disks: devices.map((device) => this.#mirrorStatus(device)),
      }),
    };
  }

  #create(device: BlockDevice): void {
    for (const each of device.children.length > 0 ? device.children : [device]) {
      const present = this.volumes.get(idOf(each));
      if (present !== undefined && present.owner !== each.uuid)
        throw new BlockDeviceError(`${idOf(each)} is another's`);
      if (present === undefined)
        this.volumes.set(idOf(each), { owner: each.uuid, sizeMib: each.sizeMib, inUse: false, contents: "" });
    }
  }

  #remove(device: BlockDevice): void {
    this.#takeDown(device);
    for (const each of [device, ...device.children]) {
      const volume = this.volumes.get(idOf(each));
      if (volume?.owner === each.uuid && device.template !== "blockdev") this.volumes.delete(idOf(each));
    }
  }

  #assemble(device: BlockDevice) {
    const attached = { kind: "block", format: "raw", uris: {} };
    if (device.template !== "drbd") {
      this.#own(device);
      return { ...attached, path: `/dev/${idOf(device)}` };
    }
    const end = this.#bringUp(device);
    if (!end.upToDate) throw new BlockDeviceError("it has no data that could be used");
    if (this.#world.peerOf(end)?.role === "primary") throw new BlockDeviceError("the other end is primary");
    end.role = "primary";
    return { ...attached, path: `/dev/drbd${end.link.localMinor}` };
  }

  #bringUp(device: BlockDevice): DrbdEnd {
    const { link } = device;
    if (link === undefined || link.localAddress !== this.address) throw new Error("a link that is not this node's");
    if (link.secret === "" || device.logicalId.includes(link.secret)) throw new Error("the secret is not in its place");
    const present = this.ends.get(link.localMinor);
    if (present !== undefined && present.disk !== device.uuid) throw new BlockDeviceError("the minor is another's");
    if (present !== undefined) return present;
    const [data, metadata] = device.children;
    if (data === undefined || metadata === undefined) throw new Error("a DRBD disk without volumes");
    const end: DrbdEnd = {
      disk: device.uuid,
      link,
      data: this.#own(data),
      role: "secondary",
      upToDate: this.#own(metadata).contents === "uptodate",
      paused: false,
    };
    this.ends.set(link.localMinor, end);
    return end;
  }

  #takeDown(device: BlockDevice): void {
    const end = device.link && this.ends.get(device.link.localMinor);
    if (end === undefined || end.disk !== device.uuid) return;
    const metadata = device.children[1] && this.volumes.get(idOf(device.children[1]));
    if (metadata !== undefined && end.upToDate) metadata.contents = "uptodate";
    this.ends.delete(end.link.localMinor);
  }

  #mirrorStatus(device: BlockDevice): MirrorStatusReply_Disk {
    const end = this.ends.get(device.link?.localMinor ?? -1);
    if (end === undefined || end.disk !== device.uuid) return { status: undefined, problem: "it is not up" };
    const peer = this.#world.peerOf(end);
    const looks = this.#world.syncs.get(end.link.port) ?? 0;
    const isSyncing = peer !== undefined && looks > 0 && (end.upToDate || peer.upToDate);
    if (isSyncing && !end.paused) this.#look(end, peer, looks);
    return {
      problem: "",
      status: {
        role: end.role,
        peerRole: peer?.role ?? "unknown",
        connection: peer === undefined ? "connecting" : isSyncing ? "syncing" : "connected",
        localDisk: end.upToDate ? "uptodate" : "syncing",
        peerDisk: peer?.upToDate ? "uptodate" : "unknown",
        syncPercent: isSyncing ? (100 * (SYNC_LOOKS - looks)) / SYNC_LOOKS : undefined,
        estimatedSeconds: isSyncing ? looks / 100 : undefined,
        degraded: !(end.upToDate && peer?.upToDate),
        splitBrain: false,
      },
    };
  }

  #look(end: DrbdEnd, peer: DrbdEnd, looks: number): void {
    this.#world.syncs.set(end.link.port, looks - 1);
    if (looks > 1) return;
    const [from, to] = end.upToDate ? [end, peer] : [peer, end];
    to.data.contents = from.data.contents;
    to.upToDate = true;
  }

  #end(device: BlockDevice): DrbdEnd {
    const end = this.ends.get(device.link?.localMinor ?? -1);
    if (end === undefined || end.disk !== device.uuid) throw new BlockDeviceError("it is not up");
    return end;
  }

  #data(device: BlockDevice): Volume {
    return this.#own(device.template === "drbd" ? (device.children[0] ?? device) : device);
  }

  /** As the guest would: what is written reaches the second copy, once that is whole. */
  #write(device: BlockDevice, contents: string): void {
    this.#data(device).contents = contents;
    const peer = device.template === "drbd" ? this.#world.peerOf(this.#end(device)) : undefined;
    if (peer?.upToDate) peer.data.contents = contents;
  }

  #own(device: BlockDevice): Volume {
    const volume = this.volumes.get(idOf(device));
    if (volume === undefined) throw new BlockDeviceError(`${idOf(device)} does not exist on ${this.name}`);
    volume.owner ??= device.uuid;
    if (volume.owner !== device.uuid) throw new BlockDeviceError(`${idOf(device)} is another's`);
    return volume;
  }
}

/** The methods of a service as properties, to stand beside others. */
function recorded(service: object, names: readonly string[]): object {
  return Object.fromEntries(names.map((name) => [name, (service as Record<string, unknown>)[name]]));
}

interface OsRequest {
  readonly instance: { readonly disks: readonly BlockDevice[] };
}

function idOf({ logicalId }: BlockDevice): string {
  return logicalId.join("/");
}
