/** Reads `drbdsetup events2 --now --statistics`: the objects of 8.4 and of 9, one a line (drbdsetup-9.0.8(8)). */
import { BlockDeviceError } from "@gannet/errors";
import type { KernelDevice } from "./kernel-state.ts";

export interface EventsDevice extends KernelDevice {
  readonly resource: string;
  /** What the device offers, in KiB; 0 while it is not known. */
  readonly sizeKib: number;
}

type Fields = ReadonlyMap<string, string>;

/** The line that ends the list; a list without it was cut short. */
const END = "exists -";

/**
 * Every device, with the state of its only peer.
 * @throws BlockDeviceError when the list has no end
 */
export function parseEvents(text: string): readonly EventsDevice[] {
  const lines = text.split("\n").filter((line) => line !== "");
  if (lines.at(-1) !== END) throw new BlockDeviceError("The kernel's DRBD did not tell all its devices");
  const objects = lines.slice(0, -1).map(parseLine);
  const of = (kind: string, name: string | undefined) =>
    objects.find((each) => each.kind === kind && each.fields.get("name") === name)?.fields;
  return objects
    .filter(({ kind }) => kind === "device")
    .map(({ fields }) => {
      const name = fields.get("name") ?? "";
      return deviceOf(fields, {
        resource: of("resource", name),
        connection: of("connection", name),
        peerDevice: of("peer-device", name),
      });
    });
}

function parseLine(line: string): { readonly kind: string; readonly fields: Fields } {
  const [event, kind, ...words] = line.split(" ");
  if (event !== "exists" || kind === undefined)
    throw new BlockDeviceError(`The kernel's DRBD says something unknown: ${JSON.stringify(line.slice(0, 200))}`);
  const pairs = words.map((word): [string, string] => {
    const colon = word.indexOf(":");
    return colon < 0 ? [word, ""] : [word.slice(0, colon), word.slice(colon + 1)];
  });
  return { kind, fields: new Map(pairs) };
}

function deviceOf(
  device: Fields,
  around: {
    readonly resource: Fields | undefined;
    readonly connection: Fields | undefined;
    readonly peerDevice: Fields | undefined;
  },
): EventsDevice {
  const { resource, connection, peerDevice } = around;
  const sizeKib = Number(device.get("size") ?? 0);
  const replication = peerDevice?.get("replication") ?? "Off";
  const link = connection?.get("connection") ?? "StandAlone";
  return {
    resource: device.get("name") ?? "",
    minor: Number(device.get("minor")),
    sizeKib,
    // 8.4 has one state for both: the replication's once there is some.
    connection: replication === "Off" ? inTheWordsOf84(link) : inTheWordsOf84(replication),
    role: resource?.get("role") ?? "Unknown",
    peerRole: connection?.get("role") ?? "Unknown",
    disk: device.get("disk") ?? "DUnknown",
    peerDisk: peerDevice?.get("peer-disk") ?? "DUnknown",
    syncPaused: (peerDevice?.get("resync-suspended") ?? "no").split(",").includes("user"),
    ...progress(peerDevice, sizeKib),
  };
}

/** 9 renamed two states. */
function inTheWordsOf84(state: string): string {
  if (state === "Connecting") return "WFConnection";
  return state === "Established" ? "Connected" : state;
}

function progress(peerDevice: Fields | undefined, sizeKib: number): Pick<KernelDevice, "syncPercent"> {
  const done = peerDevice?.get("done");
  if (done !== undefined) return { syncPercent: Number(done) };
  const outOfSyncKib = Number(peerDevice?.get("out-of-sync") ?? 0);
  return sizeKib > 0 ? { syncPercent: 100 * (1 - Math.min(outOfSyncKib, sizeKib) / sizeKib) } : {};
}
