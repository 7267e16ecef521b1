/**
 * What happens between two ends: they find each other, agree whose data are newer, synchronise, and part. The rules
 * are DRBD 8.4's by generation identifiers (DRBD User's Guide 8.4, "Generation Identifiers"), with the answers to a
 * split brain that the driver asks for: after-sb-0pri discard-zero-changes, after-sb-1pri consensus.
 */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { separate, share, sizeKibOf, writeStamp } from "./contents.ts";
import { JUST_CREATED, NO_UUID, writeMetadata } from "./metadata.ts";
import { type AttachedVolume, counterpart, diskOf, type End, peerOf, type Sync, type World } from "./world.ts";

/** A resync is quick, and long enough to be seen. */
const LONGEST_SYNC_MS = 2_000;
/** What is synchronised when something has changed. */
const CHANGED_KIB = 4_096;
const DEFAULT_RATE_KIB = 250;

/** Let happen what must by now. */
export function settle(world: World, nowMs: number): void {
  for (const end of world.ends) {
    if (end.connection !== "WFConnection") continue;
    const peer = counterpart(world, end);
    if (peer?.connection === "WFConnection") meet(end, peer, nowMs);
  }
  for (const end of world.ends) {
    const peer = peerOf(world, end);
    if (end.volume === undefined || peer?.volume === undefined) continue;
    agreeOnSize(end.volume, peer.volume);
    // A command that was killed may have parted their contents, and not them.
    if (end.connection === "Connected") shareSame(end, peer);
  }
  for (const source of world.ends) {
    const target = source.sync === undefined ? undefined : peerOf(world, source);
    if (source.sync === undefined || target === undefined) continue;
    pauseOrResume(source, target, source.sync, nowMs);
    if (doneKib(source.sync, nowMs) >= source.sync.totalKib) finishSync(source, target);
  }
}

export function isSyncing(world: World): boolean {
  return world.ends.some(({ sync }) => sync?.sinceMs !== undefined);
}

export function doneKib(sync: Sync, nowMs: number): number {
  const running = sync.sinceMs === undefined ? 0 : ((nowMs - sync.sinceMs) / 1000) * sync.kibPerSecond;
  return Math.min(sync.totalKib, Math.floor(sync.doneKib + running));
}

/** The size of the device, in KiB: what both ends have, or had when they last met. */
export function deviceKib(world: World, end: End): number {
  if (end.volume === undefined) return peerOf(world, end)?.volume?.metadata.sizeKib ?? 0;
  const { metadata, wantedKib } = end.volume;
  return metadata.sizeKib || Math.min(offeredKib(end.volume), wantedKib || Number.POSITIVE_INFINITY);
}

/** One end's wish is enough; each must have the space. */
function agreeOnSize(one: AttachedVolume, other: AttachedVolume): void {
  const wantedKib = Math.max(one.wantedKib, other.wantedKib) || Number.POSITIVE_INFINITY;
  const sizeKib = Math.min(offeredKib(one), offeredKib(other), wantedKib);
  for (const { metadata } of [one, other]) metadata.sizeKib = Math.max(metadata.sizeKib, sizeKib);
}

function offeredKib({ dataPath }: AttachedVolume): number {
  return existsSync(dataPath) ? sizeKibOf(dataPath) : 0;
}

/** End an end's connection: both have their own data then, and the peer looks for it again. */
export function part(world: World, leaving: End): void {
  const peer = peerOf(world, leaving);
  leaving.connection = "StandAlone";
  if (peer !== undefined) {
    peer.connection = "WFConnection";
    for (const end of [leaving, peer]) delete end.sync;
    const keepsItsFile = leaving.role === "Primary" && peer.role === "Secondary" ? leaving : peer;
    separateVolumes(keepsItsFile, keepsItsFile === leaving ? peer : leaving);
    for (const end of [leaving, peer]) if (end.role === "Primary") beginGeneration(end);
  }
  delete leaving.net;
}

/** Take an end's volume away. Who has its device open goes on with the peer's data, which is the file of both. */
export function detach(world: World, end: End): void {
  if (end.volume === undefined) return;
  const peer = peerOf(world, end);
  if (peer !== undefined) {
    separateVolumes(peer, end);
    for (const each of [end, peer]) {
      delete each.sync;
      each.connection = "Connected";
    }
    if (end.role === "Primary" || peer.role === "Primary") beginGeneration(peer);
  }
  writeMetadata(end.volume.metadataPath, end.volume.metadata);
  delete end.volume;
}

/** Each volume its own file. */
function separateVolumes(keepsItsFile: End, getsCopy: End): void {
  if (keepsItsFile.volume === undefined || getsCopy.volume === undefined) return;
  separate(getsCopy.volume.dataPath, keepsItsFile.volume.dataPath);
  for (const { dataPath, metadata } of [keepsItsFile.volume, getsCopy.volume])
    metadata.partedAtNs = writeStamp(dataPath);
}

/** A primary without its peer: from here on its data are others than the peer's. */
export function beginGeneration({ volume }: End): void {
  if (volume === undefined || volume.disk !== "UpToDate" || volume.metadata.uuids[1] !== NO_UUID) return;
  const [current, , young, old] = volume.metadata.uuids;
  volume.metadata.uuids = [newUuid(), current, young, old];
}

/** The data of an end become the truth: `primary --force`. */
export function force(world: World, end: End, nowMs: number): void {
  if (end.volume === undefined || end.volume.disk === "UpToDate") return;
  const [current] = end.volume.metadata.uuids;
  end.volume.metadata.uuids = [newUuid(), NO_UUID, newUuid(), current];
  setUpToDate(end.volume, true);
  const peer = peerOf(world, end);
  if (peer?.volume !== undefined) startSync(end, peer, "everything", nowMs);
  else if (peer === undefined) end.volume.metadata.uuids[1] = current;
}

/** A volume that an end of a connection has just got; it may be brought up to date under a primary's users. */
export function attached(world: World, end: End, nowMs: number): void {
  const peer = peerOf(world, end);
  if (peer !== undefined) agree(peer, end, nowMs, { mayReplacePrimary: true });
}

function meet(one: End, other: End, nowMs: number): void {
  const isDual = ({ net }: End) => net?.options["allow-two-primaries"] === "yes";
  const bothPrimary = one.role === "Primary" && other.role === "Primary";
  if (one.net?.secret !== other.net?.secret || isDual(one) !== isDual(other) || (bothPrimary && !isDual(one))) {
    standAlone(one, other);
    return;
  }
  one.connection = "Connected";
  other.connection = "Connected";
  agree(one, other, nowMs, { mayReplacePrimary: false });
}

type Verdict = "same" | "one is newer" | "other is newer" | "split brain" | "unrelated";
type Amount = "everything" | "changes";

function agree(one: End, other: End, nowMs: number, options: { readonly mayReplacePrimary: boolean }): void {
  if (one.volume === undefined || other.volume === undefined) return;
  const { verdict, amount } = compare(one.volume, other.volume);
  const settled = verdict === "split brain" ? afterSplitBrain(one, other) : verdict;
  const [source, target] = settled === "one is newer" ? [one, other] : [other, one];
  // A primary's data are not replaced under its users.
  const isKept = target.role === "Primary" && !options.mayReplacePrimary;
  if (settled === "same") shareSame(one, other);
  else if (settled === "split brain" || settled === "unrelated" || isKept) standAlone(one, other);
  else startSync(source, target, amount, nowMs);
}

/** Two new ends have nothing in common yet. */
function shareSame(one: End, other: End): void {
  if (diskOf(one) !== "UpToDate" || diskOf(other) !== "UpToDate" || !one.volume || !other.volume) return;
  if (other.role === "Primary") share(other.volume.dataPath, one.volume.dataPath);
  else share(one.volume.dataPath, other.volume.dataPath);
}

export function compare(one: AttachedVolume, other: AttachedVolume): { verdict: Verdict; amount: Amount } {
  const [current, bitmap, ...history] = one.metadata.uuids;
  const [otherCurrent, otherBitmap, ...otherHistory] = other.metadata.uuids;
  const isNew = current === JUST_CREATED;
  const isOtherNew = otherCurrent === JUST_CREATED;
  if (isNew && isOtherNew) return { verdict: "same", amount: "changes" };
  if (isNew) return { verdict: "other is newer", amount: "everything" };
  if (isOtherNew) return { verdict: "one is newer", amount: "everything" };
  if (one.disk !== other.disk)
    return { verdict: one.disk === "UpToDate" ? "one is newer" : "other is newer", amount: "changes" };
  if (current === otherCurrent) return { verdict: "same", amount: "changes" };
  if (bitmap === otherCurrent || history.includes(otherCurrent)) return { verdict: "one is newer", amount: "changes" };
  if (otherBitmap === current || otherHistory.includes(current))
    return { verdict: "other is newer", amount: "changes" };
  const ancestors = [bitmap, ...history].filter((uuid) => uuid !== NO_UUID);
  const isKin = ancestors.some((uuid) => [otherBitmap, ...otherHistory].includes(uuid));
  return { verdict: isKin ? "split brain" : "unrelated", amount: "changes" };
}

/** The end that has written nothing gives in, unless it is primary. */
function afterSplitBrain(one: End, other: End): Verdict {
  const givesIn = (end: End) => end.role === "Secondary" && !hasChanged(end);
  if (givesIn(one)) return "other is newer";
  return givesIn(other) ? "one is newer" : "split brain";
}

function hasChanged({ volume }: End): boolean {
  return volume?.metadata.partedAtNs === undefined || writeStamp(volume.dataPath) !== volume.metadata.partedAtNs;
}

/** The kernel gives the connection up, at both ends. */
function standAlone(...ends: readonly End[]): void {
  for (const end of ends) {
    end.connection = "StandAlone";
    delete end.net;
  }
}

function startSync(source: End, target: End, amount: Amount, nowMs: number): void {
  if (source.volume === undefined || target.volume === undefined) return;
  const sizeKib = Math.min(offeredKib(source.volume), offeredKib(target.volume));
  const changed = hasChanged(source) || hasChanged(target) ? Math.min(sizeKib, CHANGED_KIB) : 0;
  const totalKib = amount === "everything" ? sizeKib : changed;
  share(source.volume.dataPath, target.volume.dataPath);
  setUpToDate(target.volume, false);
  const rateKib = Number.parseInt(source.volume.options["resync-rate"] ?? "", 10) || DEFAULT_RATE_KIB;
  source.sync = {
    totalKib,
    kibPerSecond: Math.max(rateKib, (totalKib * 1000) / LONGEST_SYNC_MS),
    doneKib: 0,
    sinceMs: nowMs,
  };
  source.connection = "SyncSource";
  target.connection = "SyncTarget";
  if (totalKib === 0) finishSync(source, target);
}

function finishSync(source: End, target: End): void {
  delete source.sync;
  source.connection = "Connected";
  target.connection = "Connected";
  if (source.volume === undefined || target.volume === undefined) return;
  const [current, bitmap, young, old] = source.volume.metadata.uuids;
  source.volume.metadata.uuids =
    bitmap === NO_UUID ? [current, NO_UUID, young, old] : [current, NO_UUID, bitmap, young];
  target.volume.metadata.uuids = [...source.volume.metadata.uuids];
  setUpToDate(target.volume, true);
}

function pauseOrResume(source: End, target: End, sync: Sync, nowMs: number): void {
  const isPaused = source.syncPaused || target.syncPaused;
  if (isPaused && sync.sinceMs !== undefined) {
    sync.doneKib = doneKib(sync, nowMs);
    sync.sinceMs = undefined;
  } else if (!isPaused) sync.sinceMs ??= nowMs;
  source.connection = isPaused ? "PausedSyncS" : "SyncSource";
  target.connection = isPaused ? "PausedSyncT" : "SyncTarget";
}

function setUpToDate(volume: AttachedVolume, isUpToDate: boolean): void {
  volume.disk = isUpToDate ? "UpToDate" : "Inconsistent";
  volume.metadata.isUpToDate = isUpToDate;
}

/** Even: the last bit says whether the end is primary, and is added when it is shown. */
function newUuid(): string {
  const bytes = randomBytes(8);
  bytes[7] = (bytes[7] ?? 0) & 0xfe;
  return bytes.toString("hex").toUpperCase();
}
