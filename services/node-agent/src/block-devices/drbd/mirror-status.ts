/** The state of a mirrored disk in the contract's words. */
import type { DrbdDiskState, MirrorStatus } from "@gannet/driver-contract";
import type { KernelDevice } from "./kernel-state.ts";

/** spec/node-ops.json, `sync_states`, without the handshake before them. */
const SYNCING = new Set([
  "StartingSyncS",
  "StartingSyncT",
  "WFBitMapS",
  "WFBitMapT",
  "WFSyncUUID",
  "SyncSource",
  "SyncTarget",
  "PausedSyncS",
  "PausedSyncT",
  "Ahead",
  "Behind",
]);
const CONNECTED = new Set(["Connected", "VerifyS", "VerifyT"]);

/** Those that are not here are of moments between two states. */
const DISK_STATES: Readonly<Record<string, DrbdDiskState>> = {
  UpToDate: "uptodate",
  Outdated: "outdated",
  Diskless: "diskless",
  Failed: "diskless",
  Detaching: "diskless",
};

export const UNCONFIGURED: MirrorStatus = {
  role: "unknown",
  peerRole: "unknown",
  connection: "unconfigured",
  localDisk: "unknown",
  peerDisk: "unknown",
  syncPercent: null,
  estimatedSeconds: null,
  degraded: true,
  splitBrain: false,
};

export function mirrorStatusOf(device: KernelDevice, options: { readonly splitBrain: boolean }): MirrorStatus {
  const connection = connectionOf(device.connection);
  const isSyncing = connection === "syncing";
  return {
    role: roleOf(device.role),
    peerRole: roleOf(device.peerRole),
    connection,
    localDisk: diskOf(device.disk, isSyncing),
    peerDisk: diskOf(device.peerDisk, isSyncing),
    // A resync that is about to begin says nothing of its progress yet.
    syncPercent: isSyncing ? (device.syncPercent ?? 0) : null,
    estimatedSeconds: isSyncing ? (device.syncSecondsLeft ?? null) : null,
    degraded: !(CONNECTED.has(device.connection) && device.disk === "UpToDate" && device.peerDisk === "UpToDate"),
    splitBrain: options.splitBrain,
  };
}

function connectionOf(state: string): MirrorStatus["connection"] {
  if (state === "StandAlone") return "standalone";
  if (CONNECTED.has(state)) return "connected";
  return SYNCING.has(state) ? "syncing" : "connecting";
}

function roleOf(role: string): MirrorStatus["role"] {
  if (role === "Primary") return "primary";
  return role === "Secondary" ? "secondary" : "unknown";
}

/** Data that are not whole are on their way to be, or were left so. */
function diskOf(state: string, isSyncing: boolean): DrbdDiskState {
  if (state === "Inconsistent") return isSyncing ? "syncing" : "outdated";
  return DISK_STATES[state] ?? "unknown";
}
