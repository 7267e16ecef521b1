/** What every disk template's driver does on a node, and the optional abilities of some. */
import type { DiskTemplate, HypervisorName, LogicalId, Parameters, StorageType } from "@gannet/objects";

/** One end of a DRBD disk. */
export interface DrbdEnd {
  /** The node's secondary address, v4 or v6. */
  readonly address: string;
  readonly minor: number;
}

/** Both ends of a DRBD disk, as seen from the node that is asked. */
export interface DrbdLink {
  readonly local: DrbdEnd;
  readonly peer: DrbdEnd;
  /** TCP port on both nodes. */
  readonly port: number;
  /** By which the ends know each other; never in a log, an answer, or a message of an error. */
  readonly secret: string;
}

/** A disk as it is asked for; `logicalId` names the device in the template's own way. */
export interface BlockDeviceSpec {
  readonly uuid: string;
  readonly template: DiskTemplate;
  readonly logicalId: readonly (string | number)[];
  readonly sizeMib: number;
  readonly mode: "ro" | "rw";
  readonly instanceName: string;
  readonly index: number;
  /** That its user gave it. */
  readonly name?: string | undefined;
  readonly params: Parameters;
  /** Of a DRBD disk: its data volume, then its metadata volume. */
  readonly children: readonly BlockDeviceSpec[];
  /** Of a DRBD disk, whose logical id holds no secret here: node UUIDs, port and minors. */
  readonly link?: DrbdLink | undefined;
}

/** An assembled device: what a guest or an OS script opens. */
export interface AttachedDevice {
  readonly path: string;
  /** How each hypervisor reaches it without the kernel's help (`rbd:pool/image`), where it can. */
  readonly uris?: Readonly<Partial<Record<HypervisorName, string>>>;
  readonly kind: "block" | "file";
  readonly format: "raw" | "qcow2";
}

export interface BlockDeviceStatus {
  readonly exists: boolean;
  /** 0 when it does not exist. */
  readonly sizeMib: number;
}

/** Space of one storage unit (spec/query-fields.json, node fields `dtotal`, `dfree`). */
export interface StorageSpace {
  readonly type: StorageType;
  readonly name: string;
  readonly totalMib: number;
  readonly freeMib: number;
}

/** Every method is idempotent: create of what exists with the same identity and removal of what is gone succeed. */
export interface BlockDeviceDriver {
  readonly template: DiskTemplate;

  /** @throws BlockDeviceError or FileStoragePathError; nothing is left behind then */
  create(device: BlockDeviceSpec, signal: AbortSignal): Promise<void>;
  /**
   * Make it usable on this node; a DRBD end becomes primary and is connected, or connecting.
   * @throws BlockDeviceError when it does not exist
   */
  assemble(device: BlockDeviceSpec, signal: AbortSignal): Promise<AttachedDevice>;
  /** The opposite of assemble; the data stay. */
  shutdown(device: BlockDeviceSpec, signal: AbortSignal): Promise<void>;
  remove(device: BlockDeviceSpec, signal: AbortSignal): Promise<void>;
  /** @throws BlockDeviceError when the new size is below the present one */
  grow(device: BlockDeviceSpec, newSizeMib: number, signal: AbortSignal): Promise<void>;
  status(device: BlockDeviceSpec, signal: AbortSignal): Promise<BlockDeviceStatus>;
  /** Space of the storage this template draws from; empty where that has no meaning. */
  space(signal: AbortSignal): Promise<readonly StorageSpace[]>;
}

/** A template whose devices can be given another name. */
export interface RenamingDriver {
  /**
   * Nothing changes when it bears the new name already. The device is this disk's from then on, whosever it was: so
   * that a volume can be adopted, or become the data of another disk.
   * @throws BlockDeviceError when another device bears the name
   */
  rename(device: BlockDeviceSpec, to: LogicalId, signal: AbortSignal): Promise<void>;
}

/** A template whose storage notes whose disk it holds, for people who look there. */
export interface LabellingDriver {
  /** Note the disk's instance, which has got another name; what its storage notes of another is replaced. */
  setInfo(device: BlockDeviceSpec, signal: AbortSignal): Promise<void>;
}

/** A template that can hold the contents of one moment. */
export interface SnapshottingDriver {
  /**
   * An older snapshot of the name is replaced.
   * @param name - of the snapshot's own device; the driver's choice when absent
   * @param sizeMib - for what is written to the origin meanwhile
   * @returns the snapshot, a device of the same template
   */
  snapshot(
    device: BlockDeviceSpec,
    options: { readonly name?: string; readonly sizeMib: number },
    signal: AbortSignal,
  ): Promise<BlockDeviceSpec>;
}

/** An existing device that may become a disk (`adopt`). */
export interface AdoptableDevice {
  readonly logicalId: LogicalId;
  /** Rounded down. */
  readonly sizeMib: number;
  readonly inUse: boolean;
}

/** A template whose disks may be devices that exist already. */
export interface AdoptingDriver {
  /** In the order asked; undefined for what does not exist here. */
  adoptable(logicalIds: readonly LogicalId[], signal: AbortSignal): Promise<readonly (AdoptableDevice | undefined)[]>;
}

/** How far a mirrored disk is from being whole, seen from one node (spec/rpc.json, `BlockDevStatus`). */
export interface MirrorStatus {
  readonly role: "primary" | "secondary" | "unknown";
  readonly peerRole: "primary" | "secondary" | "unknown";
  readonly connection: "connected" | "connecting" | "syncing" | "standalone" | "unconfigured";
  /** The end's own data: `diskless` when it has lost or been taken them. */
  readonly localDisk: DrbdDiskState;
  readonly peerDisk: DrbdDiskState;
  /** Null when nothing is being synchronised. */
  readonly syncPercent: number | null;
  /** Seconds; null when unknown or in sync. */
  readonly estimatedSeconds: number | null;
  /** Not both ends have all data. */
  readonly degraded: boolean;
  /** Both ends were written to while apart: they stay apart until an operator chooses. */
  readonly splitBrain: boolean;
}
export type DrbdDiskState = "uptodate" | "syncing" | "outdated" | "diskless" | "unknown";

/** A template that keeps a second copy on another node: DRBD. Each method concerns this node's end only. */
export interface MirroringDriver {
  /** Bring up this end as the secondary: data attached, connected or connecting, not open for writing. */
  standBy(device: BlockDeviceSpec, signal: AbortSignal): Promise<void>;
  /**
   * Take this end's data as the truth, whatever the other end has: once, when both are new.
   * @throws BlockDeviceError when this end has been in use before
   */
  seed(device: BlockDeviceSpec, signal: AbortSignal): Promise<void>;
  /** Allow both ends to be primary, as a live migration needs, or no longer. Both ends must agree. */
  connect(device: BlockDeviceSpec, options: { readonly dualPrimary: boolean }, signal: AbortSignal): Promise<void>;
  /** End the connection; the end goes on alone. */
  disconnect(device: BlockDeviceSpec, signal: AbortSignal): Promise<void>;
  mirrorStatus(device: BlockDeviceSpec, signal: AbortSignal): Promise<MirrorStatus>;
  /** Give the end new volumes for its data (`device.children`), which the peer then fills. */
  attachVolumes(device: BlockDeviceSpec, signal: AbortSignal): Promise<void>;
  /** Take its volumes away; the end goes on diskless, over the network. */
  detachVolumes(device: BlockDeviceSpec, signal: AbortSignal): Promise<void>;
  pauseSync(device: BlockDeviceSpec, paused: boolean, signal: AbortSignal): Promise<void>;
  /**
   * When no guest of this node runs any more and its disks are to be used at their other ends: none of them is open for
   * writing here from then on. Does nothing where there are none.
   */
  demoteAll(signal: AbortSignal): Promise<void>;
  /** Minors in use on this node. */
  minors(signal: AbortSignal): Promise<readonly number[]>;
  /** The helper program that the kernel calls, to be compared with the cluster's. */
  usermodeHelper(): Promise<string>;
}

/** A logical volume, or what else a node's storage is cut into. */
export interface StorageVolume {
  readonly name: string;
  readonly volumeGroup: string;
  readonly sizeMib: number;
  readonly active: boolean;
  readonly inUse: boolean;
  /** One for each physical volume it lies on. */
  readonly devices: readonly string[];
}

/** One storage unit (spec/query-fields.json, `storage`). */
export interface StorageUnit {
  readonly name: string;
  readonly type: StorageType;
  readonly sizeMib: number;
  readonly usedMib: number;
  readonly freeMib: number;
  readonly allocatable: boolean;
}

/** What an operator does with a storage type's units: /2/nodes/N/storage and what follows it. */
export interface StorageUnitDriver {
  readonly type: StorageType;
  /** @param name - of one unit; all when absent */
  list(name: string | undefined, signal: AbortSignal): Promise<readonly StorageUnit[]>;
  /** @throws BlockDeviceError for types where this has no meaning */
  setAllocatable(name: string, allocatable: boolean, signal: AbortSignal): Promise<void>;
  /** Bring a unit that lost parts back into a consistent state. @throws BlockDeviceError as above */
  repair(name: string, signal: AbortSignal): Promise<void>;
}
