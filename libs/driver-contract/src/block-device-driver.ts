/** What every disk template's driver does on a node, and the optional abilities of some. */
import type { DiskTemplate, Parameters, StorageType } from "@gannet/objects";

/** A disk as it is asked for; `logicalId` names the device in the template's own way. */
export interface BlockDeviceSpec {
  readonly uuid: string;
  readonly template: DiskTemplate;
  readonly logicalId: readonly (string | number)[];
  readonly sizeMib: number;
  readonly mode: "ro" | "rw";
  readonly instanceName: string;
  readonly index: number;
  readonly params: Parameters;
  readonly children: readonly BlockDeviceSpec[];
}

/** An assembled device: what a guest or an OS script opens. */
export interface AttachedDevice {
  readonly path: string;
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
  /** Make it usable on this node. @throws BlockDeviceError when it does not exist */
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
