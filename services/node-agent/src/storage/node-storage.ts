/** What this node's storage is made of, beside the disks of instances. */
import type { StorageUnitDriver, StorageVolume } from "@gannet/driver-contract";
import type { StorageType } from "@gannet/objects";

/** The kernel's DRBD. */
export interface DrbdFacts {
  readonly version: string;
  /** In use, by whomever. */
  readonly minors: readonly number[];
  /** The helper program that the kernel calls, to be compared with the cluster's. */
  readonly usermodeHelper: string;
}

export interface NodeStorage {
  readonly units: ReadonlyMap<StorageType, StorageUnitDriver>;
  /** Logical volumes of all volume groups, whoever they belong to. @throws BlockDeviceError without LVM */
  volumes(signal: AbortSignal): Promise<readonly StorageVolume[]>;
  /** @throws BlockDeviceError when there is no DRBD here */
  drbd(signal: AbortSignal): Promise<DrbdFacts>;
}
