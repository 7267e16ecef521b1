/**
 * Simulated DRBD: a kernel module 8.4.11 with its tools. What the kernels of all nodes of one machine would keep is one
 * file in a folder that they share, their network: two ends find each other there by addresses and port. Each command
 * reads it, changes it, and lets what follows happen (replication.ts).
 *
 * Contents are the data volumes' own files. While two ends are connected these are two names of one file (hard links,
 * so the nodes' folders must be on one filesystem): what is written at one end is read at the other, and a live
 * migration's guests share it. A resync shows its progress in time, and the bytes are one from its beginning. When the
 * ends part, the one that is not primary gets a copy; between two primaries, the one that leaves.
 *
 * Different from the real one: `/dev/drbd<minor>` exists only while it may be opened, which is while it is primary,
 * and leads to a file; who holds it open is not known, so that it can be demoted meanwhile; LVM does not know which of
 * its volumes are attached; I/O is not counted; how much has changed while apart is not known, only whether something
 * has. The folders of the nodes must stay where they are.
 */
import { existsSync, realpathSync } from "node:fs";
import path from "node:path";
import { layoutOf } from "../node-layout.ts";
import { readJsonFile, withNodeLock, writeJsonFile } from "../node-lock.ts";

export interface World {
  ends: End[];
}

export type DiskState = "Diskless" | "Inconsistent" | "UpToDate";
export type ConnectionState =
  | "StandAlone"
  | "WFConnection"
  | "Connected"
  | "SyncSource"
  | "SyncTarget"
  | "PausedSyncS"
  | "PausedSyncT";

/** One resource of one node's kernel. */
export interface End {
  /** The node's folder. */
  readonly node: string;
  readonly name: string;
  /** Once it has its device. */
  minor?: number;
  role: "Primary" | "Secondary";
  connection: ConnectionState;
  /** While it is attached. */
  volume?: AttachedVolume;
  /** While it is connected or looks for its peer. */
  net?: Net;
  syncPaused: boolean;
  /** Chosen when it is attached, and kept. */
  writeOrdering: "flush" | "drain";
  /** Of the end that others are synchronised from. */
  sync?: Sync;
}

export interface AttachedVolume {
  readonly dataPath: string;
  readonly metadataPath: string;
  readonly metadataIndex: string;
  disk: Exclude<DiskState, "Diskless">;
  /** As `show` prints them, in its order. */
  options: Record<string, string>;
  /** Asked for, in KiB; 0 for the whole volume. */
  wantedKib: number;
  metadata: Metadata;
}

export interface Net {
  /** `ipv4:192.0.2.1:11000` */
  readonly local: string;
  readonly peer: string;
  readonly secret: string;
  options: Record<string, string>;
}

export interface Sync {
  readonly totalKib: number;
  readonly kibPerSecond: number;
  /** Done before it was paused last. */
  doneKib: number;
  /** Of the clock; undefined while it waits. */
  sinceMs?: number | undefined;
}

/** What a metadata volume holds. */
export interface Metadata {
  deviceUuid: string;
  /** Current, bitmap, and two of the history; sixteen hexadecimal digits each. */
  uuids: [string, string, string, string];
  /** Agreed with the peer, in KiB; 0 before the first time. */
  sizeKib: number;
  isUpToDate: boolean;
  /** Of the data's file when the ends parted: another one says that it was written to since. */
  partedAtNs?: string | undefined;
}

/** In a node's folder: leads to its network. */
export function networkLink(nodeFolder: string): string {
  return path.join(nodeFolder, "drbd-network");
}

export function networkOf(nodeFolder: string): string {
  return realpathSync(networkLink(nodeFolder));
}

/** Change the world while nobody else does. What `work` throws leaves it as it was. */
export async function changeWorld<Result>(networkFolder: string, work: (world: World) => Result): Promise<Result> {
  return withNodeLock(networkFolder, "drbd", () => {
    const file = path.join(networkFolder, "drbd.json");
    const world = existsSync(file) ? readJsonFile<World>(file) : { ends: [] };
    const before = JSON.stringify(world);
    const result = work(world);
    if (JSON.stringify(world) !== before) writeJsonFile(file, world);
    return result;
  });
}

export function endsOf(world: World, node: string): End[] {
  return world.ends.filter((end) => end.node === node).toSorted((a, b) => (a.minor ?? -1) - (b.minor ?? -1));
}

/** The end at the other side of a connection that is made. */
export function peerOf(world: World, end: End): End | undefined {
  if (end.net === undefined || end.connection === "StandAlone" || end.connection === "WFConnection") return undefined;
  return counterpart(world, end);
}

/** The end that this one's connection leads to, connected or not. */
export function counterpart(world: World, { net }: End): End | undefined {
  return world.ends.find((each) => net !== undefined && each.net?.local === net.peer && each.net.peer === net.local);
}

export function diskOf({ volume }: End): DiskState {
  return volume?.disk ?? "Diskless";
}

/** The device of an end: a link, where the kernel would have a node. */
export function deviceFile({ node, minor }: End): string {
  return path.join(layoutOf(node).deviceFolder, `drbd${minor}`);
}
