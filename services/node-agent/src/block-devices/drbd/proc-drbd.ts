/** Reads /proc/drbd: the module's version, and with 8.4 the state of every device (spec/node-ops.json, `storage.drbd`). */
import { BlockDeviceError } from "@gannet/errors";
import type { DrbdVersion, KernelDevice } from "./kernel-state.ts";

const VERSION = /^version: ((\d+)\.(\d+)\.\d+\S*) \(api:/;
const DEVICE = /^\s*(\d+): cs:(\w+)(?: (?:ro|st):(\w+)\/(\w+) ds:(\w+)\/(\w+) .(?: (\S+))?)?/;
const PERCENT = /sync'ed:\s*(\d+(?:\.\d+)?)%/;
const FINISH = /finish: (\d+):(\d\d):(\d\d)/;
/** What a minor says that was configured once and no longer is. */
const UNCONFIGURED = "Unconfigured";
/** Of the flags after the protocol, the one of a resync that this end has paused. */
const PAUSED_FLAG = 3;

/** @throws BlockDeviceError when the text is not of DRBD */
export function parseVersion(text: string): DrbdVersion {
  const found = VERSION.exec(text);
  const [, version, major, minor] = found ?? [];
  if (version === undefined || major === undefined || minor === undefined)
    throw new BlockDeviceError(`The kernel's DRBD does not say its version: ${JSON.stringify(text.slice(0, 100))}`);
  return { major: Number(major), minor: Number(minor), text: version };
}

/** Every configured device. @throws BlockDeviceError for a line of a device that cannot be understood */
export function parseProcDrbd(text: string): readonly KernelDevice[] {
  const devices: KernelDevice[] = [];
  for (const line of text.split("\n")) {
    if (/^\s*\d+: /.test(line)) {
      const device = parseDevice(line);
      if (device !== undefined) devices.push(device);
      continue;
    }
    const last = devices.pop();
    if (last !== undefined) devices.push({ ...last, ...progress(line) });
  }
  return devices;
}

function parseDevice(line: string): KernelDevice | undefined {
  const [, minor, connection, role, peerRole, disk, peerDisk, flags = ""] = DEVICE.exec(line) ?? [];
  if (connection === UNCONFIGURED) return undefined;
  if (
    minor === undefined ||
    connection === undefined ||
    role === undefined ||
    peerRole === undefined ||
    disk === undefined ||
    peerDisk === undefined
  )
    throw new BlockDeviceError(`The kernel's DRBD says something unknown: ${JSON.stringify(line.slice(0, 200))}`);
  return {
    ...{ minor: Number(minor), connection, role, peerRole, disk, peerDisk },
    syncPaused: flags.charAt(PAUSED_FLAG) === "u",
  };
}

/** A resync's progress stands on the lines below its device. */
function progress(line: string): Partial<KernelDevice> {
  const percent = PERCENT.exec(line)?.[1];
  const [, hours, minutes, seconds] = FINISH.exec(line) ?? [];
  return {
    ...(percent === undefined ? {} : { syncPercent: Number(percent) }),
    ...(seconds === undefined
      ? {}
      : { syncSecondsLeft: Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds) }),
  };
}
