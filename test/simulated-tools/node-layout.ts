/** What the folder of a simulated node holds. */
import path from "node:path";

export interface NodeLayout {
  readonly binFolder: string;
  /** Instead of /dev. */
  readonly deviceFolder: string;
  /** What tools are to do wrong; see faults.ts. */
  readonly faultsFolder: string;
  /** Contents of logical volumes. */
  readonly volumesFolder: string;
  readonly lvmStateFile: string;
  /** Instead of /proc/drbd. */
  readonly drbdStatusFile: string;
  /** Instead of /sys/module/drbd/parameters/usermode_helper. */
  readonly drbdHelperFile: string;
}

export function layoutOf(nodeFolder: string): NodeLayout {
  const inside = (name: string) => path.join(nodeFolder, name);
  return {
    binFolder: inside("bin"),
    deviceFolder: inside("dev"),
    faultsFolder: inside("faults"),
    volumesFolder: inside("volumes"),
    lvmStateFile: inside("lvm.json"),
    drbdStatusFile: inside("proc-drbd"),
    drbdHelperFile: inside("usermode-helper"),
  };
}
