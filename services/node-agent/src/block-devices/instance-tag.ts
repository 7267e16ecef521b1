/** What Ganeti notes on a volume to say whose disk it is (`GetInstanceInfoText`, `BlockDev.SetInfo`). */
import type { BlockDeviceSpec } from "@gannet/driver-contract";

export const INSTANCE_TAG = "originstname+";
const LIMIT_CHARS = 128;

export function instanceTag({ instanceName }: Pick<BlockDeviceSpec, "instanceName">): string {
  return sanitised(`${INSTANCE_TAG}${instanceName}`);
}

/** As Ganeti does it: what LVM allows in no tag becomes `_`. */
function sanitised(text: string): string {
  const first = text.slice(0, 1).replace(/[^A-Za-z0-9_+.]/, "_");
  return (first + text.slice(1).replaceAll(/[^-A-Za-z0-9_+.]/g, "_")).slice(0, LIMIT_CHARS);
}
