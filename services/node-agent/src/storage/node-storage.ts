/** What this node's storage is made of, beside the disks of instances. */
import type { StorageSpace, StorageUnitDriver, StorageVolume } from "@gannet/driver-contract";
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
  /**
   * Of each volume group, how many physical volumes may take disks, and how many of these hold nothing yet: the
   * spindles of exclusive storage. None without LVM. @throws BlockDeviceError
   */
  spindles(signal: AbortSignal): Promise<readonly StorageSpace[]>;
  /** @throws BlockDeviceError when there is no DRBD here */
  drbd(signal: AbortSignal): Promise<DrbdFacts>;
}
