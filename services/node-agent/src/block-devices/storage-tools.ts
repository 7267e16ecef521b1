/** Where the programs and the kernel's files of storage are; on a one-machine cluster simulated ones of one node. */

export interface StorageTools {
  /** Holds lvcreate, lvs, drbdsetup, drbdmeta, rbd, …; each is run by its absolute path. */
  readonly binFolder: string;
  /** Where device nodes appear: `/dev`. */
  readonly deviceFolder: string;
  /** `/proc/drbd`. */
  readonly drbdStatusFile: string;
  /** `/sys/module/drbd/parameters/usermode_helper`. */
  readonly drbdHelperFile: string;
}

export const SYSTEM_STORAGE_TOOLS: StorageTools = {
  binFolder: "/usr/sbin",
  deviceFolder: "/dev",
  drbdStatusFile: "/proc/drbd",
  drbdHelperFile: "/sys/module/drbd/parameters/usermode_helper",
};
