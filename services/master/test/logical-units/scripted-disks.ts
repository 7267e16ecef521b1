/** The disks of a node without an agent: volumes with owners and contents, and DRBD ends that find each other. */
import { BlockDeviceError, OpPrereqError } from "@gannet/errors";
import type { BlockDevice, MirrorStatusReply_Disk } from "@gannet/rpc";
import type { DrbdEnd, ScriptedWorld, Volume } from "./scripted-world.ts";

/** Templates whose volumes are the same on every node. */
const SHARED_TEMPLATES = ["sharedfile", "rbd", "ext", "gluster"];

/** What of a node its disks are. */
interface Place {
  readonly name: string;
  readonly address: string;
  readonly volumes: Map<string, Volume>;
  readonly ends: Map<number, DrbdEnd>;
  readonly active: Set<string>;
  readonly images: ReadonlyMap<string, number>;
}

/** Of one node. */
export class ScriptedDisks {
  readonly #world: ScriptedWorld;
  readonly #node: Place;

  constructor(world: ScriptedWorld, node: Place) {
    this.#world = world;
    this.#node = node;
  }

  /** What an agent does when its master asks. */
  methods() {
    const nothing = (work: (device: BlockDevice) => void) => (request: { readonly device: BlockDevice }) => {
      work(request.device);
      return {};
    };
    return {
      create: nothing((device) => this.#create(device)),
      remove: nothing((device) => this.#remove(device)),
      assemble: ({ device }: { readonly device: BlockDevice }) => this.assemble(device),
      shutdown: nothing((device) => {
        this.#takeDown(device);
        this.#node.active.delete(idOf(device));
      }),
      status: ({ device }: { readonly device: BlockDevice }) => {
        const volume = this.#volume(device);
        return { exists: volume?.owner === device.uuid, sizeMib: volume?.sizeMib ?? 0 };
      },
      grow: ({ device, newSizeMib }: { readonly device: BlockDevice; readonly newSizeMib: number }) => {
        this.data(device).sizeMib = newSizeMib;
        return {};
      },
      rename: ({ device, logicalId }: { readonly device: BlockDevice; readonly logicalId: string[] }) => {
        const volume = this.#claimed(device);
        this.#node.volumes.delete(idOf(device));
        this.#node.volumes.set(logicalId.join("/"), volume);
        if (this.#node.active.delete(idOf(device))) this.#node.active.add(logicalId.join("/"));
        return {};
      },
      adoptable: ({ candidates }: { readonly candidates: readonly { readonly logicalId: string[] }[] }) => ({
        candidates: candidates.map(({ logicalId }) => {
          const volume = this.#node.volumes.get(logicalId.join("/"));
          return { exists: volume !== undefined, sizeMib: volume?.sizeMib ?? 0, inUse: volume?.inUse ?? false };
        }),
      }),
      wipe: nothing((device) => {
        this.write(device, "zeros");
      }),
      describeImage: ({ image }: { readonly image: string }) => {
        const sizeBytes = this.#node.images.get(image);
        if (sizeBytes === undefined) throw new OpPrereqError(`There is no image ${image}`, "environment_error");
        return { sizeBytes };
      },
      writeImage: ({ device, image }: { readonly device: BlockDevice; readonly image: string }) => {
        this.write(device, image);
        return {};
      },
      convert: ({ source, target }: { readonly source: BlockDevice; readonly target: BlockDevice }) => {
        this.assemble(source);
        this.assemble(target);
        this.write(target, this.data(source).contents);
        return {};
      },
      setInfo: nothing((device) => {
        for (const volume of device.children.length > 0 ? device.children : [device]) this.#own(volume);
      }),
      snapshot: ({ device, sizeMib }: { readonly device: BlockDevice; readonly sizeMib: number }) => {
        const { contents } = this.#own(device);
        const [group = "", name = ""] = device.logicalId;
        const held = { ...device, uuid: `${device.uuid}-held`, logicalId: [group, `${name}.held`], children: [] };
        this.#node.volumes.set(idOf(held), { owner: held.uuid, sizeMib, inUse: false, contents });
        return held;
      },
      connect: ({ device, dualPrimary }: { readonly device: BlockDevice; readonly dualPrimary: boolean }) => {
        const end = this.#end(device);
        this.#join(end, device);
        end.dualPrimary = dualPrimary;
        return {};
      },
      disconnect: nothing((device) => {
        const end = this.#node.ends.get(device.link?.localMinor ?? -1);
        if (end?.disk === device.uuid) end.connected = false;
      }),
      detachVolumes: nothing((device) => {
        const end = this.#end(device);
        end.data = undefined;
        end.metadata = undefined;
        end.upToDate = false;
      }),
      attachVolumes: nothing((device) => {
        const end = this.#end(device);
        this.#create(device);
        this.#attach(end, device);
        this.#world.startSync(end);
      }),
      standBy: nothing((device) => {
        this.#bringUp(device).role = "secondary";
      }),
      seed: nothing((device) => {
        const end = this.#bringUp(device);
        if (end.upToDate) throw new BlockDeviceError("it has been in use");
        this.#world.noteWhole(end);
        end.role = "primary";
        this.#world.startSync(end);
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
      const present = this.#node.volumes.get(idOf(each));
      if (present !== undefined && present.owner !== each.uuid)
        throw new BlockDeviceError(`${idOf(each)} is another's`);
      if (present === undefined)
        this.#node.volumes.set(idOf(each), { owner: each.uuid, sizeMib: each.sizeMib, inUse: false, contents: "" });
    }
  }

  #remove(device: BlockDevice): void {
    this.#takeDown(device);
    this.#node.active.delete(idOf(device));
    for (const each of [device, ...device.children]) {
      const volumes = this.#holderOf(each);
      if (volumes.get(idOf(each))?.owner === each.uuid && device.template !== "blockdev") volumes.delete(idOf(each));
    }
  }

  assemble(device: BlockDevice) {
    const attached = { kind: "block", format: "raw", uris: {} };
    if (device.template !== "drbd") {
      this.#own(device);
      this.#node.active.add(idOf(device));
      return { ...attached, path: `/dev/${idOf(device)}` };
    }
    const end = this.#bringUp(device);
    if (!end.upToDate) throw new BlockDeviceError("it has no data that could be used");
    const peer = this.#world.peerOf(end);
    if (peer?.role === "primary" && !(end.dualPrimary && peer.dualPrimary))
      throw new BlockDeviceError("the other end is primary");
    end.role = "primary";
    return { ...attached, path: `/dev/drbd${end.link.localMinor}` };
  }

  #bringUp(device: BlockDevice): DrbdEnd {
    const { link } = device;
    if (link === undefined || link.localAddress !== this.#node.address)
      throw new Error("a link that is not this node's");
    if (link.secret === "" || device.logicalId.includes(link.secret)) throw new Error("the secret is not in its place");
    const present: DrbdEnd | undefined = this.#node.ends.get(link.localMinor);
    if (present !== undefined && present.disk !== device.uuid) throw new BlockDeviceError("the minor is another's");
    const end: DrbdEnd = present ?? {
      ...{ disk: device.uuid, link, data: undefined, metadata: undefined, role: "secondary" },
      ...{ connected: false, dualPrimary: false, upToDate: false, paused: false },
    };
    if (end.data === undefined) this.#attach(end, device);
    this.#node.ends.set(link.localMinor, end);
    if (!end.connected || JSON.stringify(end.link) !== JSON.stringify(link)) this.#join(end, device);
    return end;
  }

  #attach(end: DrbdEnd, { children: [data, metadata] }: BlockDevice): void {
    if (data === undefined || metadata === undefined) throw new Error("a DRBD disk without volumes");
    end.data = this.#own(data);
    end.metadata = this.#own(metadata);
    end.upToDate = end.metadata.contents === "uptodate";
  }

  #join(end: DrbdEnd, { link }: BlockDevice): void {
    if (link === undefined) throw new Error("a DRBD disk without a link");
    end.link = link;
    end.connected = true;
    end.dualPrimary = false;
    this.#world.startSync(end);
  }

  #takeDown(device: BlockDevice): void {
    const end = device.link && this.#node.ends.get(device.link.localMinor);
    if (end === undefined || end.disk !== device.uuid) return;
    this.#node.ends.delete(end.link.localMinor);
  }

  #mirrorStatus(device: BlockDevice): MirrorStatusReply_Disk {
    const end = this.#node.ends.get(device.link?.localMinor ?? -1);
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
        connection: !end.connected
          ? "standalone"
          : peer === undefined
            ? "connecting"
            : isSyncing
              ? "syncing"
              : "connected",
        localDisk: end.data === undefined ? "diskless" : end.upToDate ? "uptodate" : "syncing",
        peerDisk: peer?.upToDate ? "uptodate" : "unknown",
        syncPercent: isSyncing ? (100 * (this.#world.syncLooks - looks)) / this.#world.syncLooks : undefined,
        estimatedSeconds: isSyncing ? looks / 100 : undefined,
        degraded: !(end.upToDate && peer?.upToDate),
        splitBrain: false,
      },
    };
  }

  #look(end: DrbdEnd, peer: DrbdEnd, looks: number): void {
    this.#world.syncs.set(end.link.port, looks - 1);
    if (looks <= 1) this.#world.finishSync(end, peer);
  }

  #end(device: BlockDevice): DrbdEnd {
    const end = this.#node.ends.get(device.link?.localMinor ?? -1);
    if (end === undefined || end.disk !== device.uuid) throw new BlockDeviceError("it is not up");
    return end;
  }

  data(device: BlockDevice): Volume {
    return this.#own(device.template === "drbd" ? (device.children[0] ?? device) : device);
  }

  /** As the guest would: what is written reaches the second copy, once that is whole. */
  write(device: BlockDevice, contents: string): void {
    this.data(device).contents = contents;
    const peer = device.template === "drbd" ? this.#world.peerOf(this.#end(device)) : undefined;
    if (peer?.upToDate && peer.data !== undefined) peer.data.contents = contents;
  }

  #volume(device: BlockDevice): Volume | undefined {
    return this.#holderOf(device).get(idOf(device));
  }

  /** The volumes of this node; of one that has a disk that all nodes see. */
  #holderOf(device: BlockDevice): Map<string, Volume> {
    if (!SHARED_TEMPLATES.includes(device.template) || this.#node.volumes.has(idOf(device))) return this.#node.volumes;
    const holder = this.#world.all().find(({ volumes }) => volumes.has(idOf(device)));
    return holder?.volumes ?? this.#node.volumes;
  }

  /** Whosever it was: names are given and taken back by those who know. */
  #claimed(device: BlockDevice): Volume {
    const volume = this.#volume(device);
    if (volume !== undefined) volume.owner = device.uuid;
    return this.#own(device);
  }

  #own(device: BlockDevice): Volume {
    const volume = this.#volume(device);
    if (volume === undefined) throw new BlockDeviceError(`${idOf(device)} does not exist on ${this.#node.name}`);
    volume.owner ??= device.uuid;
    if (volume.owner !== device.uuid) throw new BlockDeviceError(`${idOf(device)} is another's`);
    return volume;
  }
}

function idOf({ logicalId }: BlockDevice): string {
  return logicalId.join("/");
}
