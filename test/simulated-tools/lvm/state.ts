/** What simulated LVM remembers of one node, and how it becomes files below the node's device folder. */
import { randomUUID } from "node:crypto";
import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
} from "node:fs";
import { access } from "node:fs/promises";
import path from "node:path";
import { layoutOf } from "../node-layout.ts";
import { readJsonFile, withNodeLock, writeJsonFile } from "../node-lock.ts";

export const BYTES_PER_MIB = 1024 * 1024;
/** What LVM takes by default. */
const DEFAULT_EXTENT_MIB = 4;
/** At the beginning of a physical volume, for LVM's own metadata. */
const LABEL_MIB = 1;

/** A volume group as it is to be made. */
export interface SimulatedVolumeGroup {
  readonly name: string;
  readonly physicalVolumes: readonly { readonly name: string; readonly sizeMib: number }[];
  readonly extentMib?: number;
}

export interface PhysicalVolume {
  /** `/dev/vdb` */
  readonly name: string;
  readonly uuid: string;
  readonly extents: number;
  allocatable: boolean;
  /** Its device is gone, which `losePhysicalVolume` does. */
  missing: boolean;
}

/** A run of a logical volume's extents, spread over as many areas as it has stripes. */
export interface Segment {
  readonly extents: number;
  readonly areas: readonly Area[];
}

/** Where a segment's part on one physical volume begins; its length is the segment's by the number of areas. */
export interface Area {
  readonly physicalVolume: string;
  readonly start: number;
}

export interface LogicalVolume {
  name: string;
  /** Names the file of its contents. */
  readonly id: string;
  tags: string[];
  active: boolean;
  /** Of a snapshot: the id of its origin. Its own segments hold what is written meanwhile. */
  readonly origin?: string;
  segments: Segment[];
}

export interface VolumeGroup {
  readonly name: string;
  readonly extentBytes: number;
  physicalVolumes: PhysicalVolume[];
  logicalVolumes: LogicalVolume[];
}

export interface LvmState {
  readonly volumeGroups: VolumeGroup[];
}

/** Give a node its volume groups, unless it has some. */
export async function initialiseLvm(nodeFolder: string, groups: readonly SimulatedVolumeGroup[]): Promise<void> {
  await withNodeLock(nodeFolder, "lvm", async () => {
    const file = layoutOf(nodeFolder).lvmStateFile;
    const exists = await access(file).then(
      () => true,
      () => false,
    );
    if (!exists) writeJsonFile(file, { volumeGroups: groups.map(newVolumeGroup) } satisfies LvmState);
  });
}

function newVolumeGroup(group: SimulatedVolumeGroup): VolumeGroup {
  const extentMib = group.extentMib ?? DEFAULT_EXTENT_MIB;
  return {
    name: group.name,
    extentBytes: extentMib * BYTES_PER_MIB,
    physicalVolumes: group.physicalVolumes.map(({ name, sizeMib }) => ({
      name,
      uuid: lvmUuid(),
      extents: Math.floor((sizeMib - LABEL_MIB) / extentMib),
      allocatable: true,
      missing: false,
    })),
    logicalVolumes: [],
  };
}

/** As LVM writes them: 32 characters in groups of 6, 4, 4, 4, 4, 4, 6. */
function lvmUuid(): string {
  const parts = /^(.{6})(.{4})(.{4})(.{4})(.{4})(.{4})(.{6})$/.exec(randomUUID().replaceAll("-", ""));
  return (parts ?? []).slice(1).join("-");
}

/** Take a physical volume's device away, as when a disk dies. */
export async function losePhysicalVolume(nodeFolder: string, name: string): Promise<void> {
  await changeLvm(nodeFolder, (state) => {
    for (const group of state.volumeGroups)
      for (const each of group.physicalVolumes) if (each.name === name) each.missing = true;
  });
}

export function readLvm<Result>(nodeFolder: string, work: (state: LvmState) => Result): Promise<Result> {
  return withNodeLock(nodeFolder, "lvm", () => work(readJsonFile(layoutOf(nodeFolder).lvmStateFile)));
}

/** Change the state and what follows from it below the device folder; nothing of it when `work` throws. */
export function changeLvm<Result>(nodeFolder: string, work: (state: LvmState) => Result): Promise<Result> {
  return withNodeLock(nodeFolder, "lvm", () => {
    const file = layoutOf(nodeFolder).lvmStateFile;
    const state = readJsonFile<LvmState>(file);
    const result = work(state);
    for (const group of state.volumeGroups)
      for (const volume of group.logicalVolumes) sizeContents(nodeFolder, group, volume);
    writeJsonFile(file, state);
    removeStrayContents(nodeFolder, state);
    linkDevices(nodeFolder, state);
    return result;
  });
}

export function contentsFile(nodeFolder: string, volume: LogicalVolume): string {
  return path.join(layoutOf(nodeFolder).volumesFolder, volume.id);
}

/** A snapshot is as large as its origin. */
export function sizeBytesOf(group: VolumeGroup, volume: LogicalVolume): number {
  const sized = group.logicalVolumes.find(({ id }) => id === volume.origin) ?? volume;
  return extentsOf(sized) * group.extentBytes;
}

export function extentsOf(volume: LogicalVolume): number {
  return volume.segments.reduce((sum, { extents }) => sum + extents, 0);
}

function sizeContents(nodeFolder: string, group: VolumeGroup, volume: LogicalVolume): void {
  const file = openSync(contentsFile(nodeFolder, volume), "a", 0o600);
  // Only when it must be: it counts as a write, by which simulated DRBD knows that contents have changed.
  if (fstatSync(file).size !== sizeBytesOf(group, volume)) ftruncateSync(file, sizeBytesOf(group, volume));
  closeSync(file);
}

/** Of volumes that were removed, or whose creation was killed. */
function removeStrayContents(nodeFolder: string, state: LvmState): void {
  const known = new Set(state.volumeGroups.flatMap((group) => group.logicalVolumes.map(({ id }) => id)));
  const folder = layoutOf(nodeFolder).volumesFolder;
  for (const name of readdirSync(folder)) if (!known.has(name)) rmSync(path.join(folder, name));
}

/** As in /dev: a folder for each group, with a link for each active volume. */
function linkDevices(nodeFolder: string, state: LvmState): void {
  for (const group of state.volumeGroups) {
    const folder = path.join(layoutOf(nodeFolder).deviceFolder, group.name);
    const wanted = new Map(
      group.logicalVolumes.filter(({ active }) => active).map((each) => [each.name, contentsFile(nodeFolder, each)]),
    );
    const present = existsSync(folder) ? readdirSync(folder) : [];
    for (const name of present)
      if (wanted.get(name) !== readlinkSync(path.join(folder, name))) unlinkSync(path.join(folder, name));
      else wanted.delete(name);
    if (wanted.size > 0) mkdirSync(folder, { recursive: true });
    for (const [name, target] of wanted) symlinkSync(target, path.join(folder, name));
    if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
  }
}
