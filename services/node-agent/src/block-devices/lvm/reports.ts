/** What lvs and pvs print, read. */
import { BlockDeviceError } from "@gannet/errors";
import { REPORT_COLUMNS, type ReportProgram } from "./commands.ts";

export interface LogicalVolume {
  readonly volumeGroup: string;
  readonly name: string;
  readonly sizeBytes: number;
  /** lvs(8) explains each letter. */
  readonly attributes: string;
  readonly tags: readonly string[];
  /** Of a snapshot: the name of the volume it is of. Empty otherwise. */
  readonly origin: string;
  readonly extentBytes: number;
  readonly groupFreeBytes: number;
  /** Of its last segment, which is the one that grows. */
  readonly stripes: number;
  /** Physical volumes, each once; `[unknown]` for one that is gone. */
  readonly devices: readonly string[];
}

export interface VolumeGroup {
  readonly name: string;
  readonly sizeBytes: number;
  readonly freeBytes: number;
  readonly attributes: string;
}

export interface PhysicalVolume {
  readonly name: string;
  /** Empty when it is in none. */
  readonly volumeGroup: string;
  readonly sizeBytes: number;
  readonly freeBytes: number;
  readonly usedBytes: number;
  readonly attributes: string;
}

/** The groups, and what they are made of. */
export interface Storage {
  readonly volumeGroups: readonly VolumeGroup[];
  readonly physicalVolumes: readonly PhysicalVolume[];
}

const LV_ATTRIBUTES = /^[-a-zA-Z0-9]{6,}$/;
const VG_ATTRIBUTES = /^[-a-z]{6,}$/;
const PV_ATTRIBUTES = /^[-a-z]{3,}$/;
/** `/dev/vdb(0)`: where a segment begins on a physical volume. */
const AREA = /^(.+)\([0-9]+\)$/;

/** @throws BlockDeviceError when it is no report of logical volumes */
export function parseLogicalVolumes(stdout: string): readonly LogicalVolume[] {
  const volumes = new Map<string, LogicalVolume>();
  for (const row of rowsOf("lvs", stdout)) {
    const segment: LogicalVolume = {
      volumeGroup: row.text("vg_name"),
      name: row.text("lv_name"),
      sizeBytes: row.count("lv_size"),
      attributes: row.matching("lv_attr", LV_ATTRIBUTES),
      tags: row.list("lv_tags"),
      origin: row.text("origin"),
      extentBytes: row.count("vg_extent_size"),
      groupFreeBytes: row.count("vg_free"),
      stripes: Math.max(1, row.count("stripes")),
      devices: row.list("devices").map((area) => row.check(AREA.exec(area)?.[1], "devices")),
    };
    const key = `${segment.volumeGroup}/${segment.name}`;
    const devices = new Set([...(volumes.get(key)?.devices ?? []), ...segment.devices]);
    volumes.set(key, { ...segment, devices: [...devices] });
  }
  return [...volumes.values()];
}

/** @throws BlockDeviceError when it is no report of physical volumes */
export function parseStorage(stdout: string): Storage {
  const rows = rowsOf("pvs", stdout);
  const physicalVolumes = rows.map((row) => ({
    name: row.text("pv_name"),
    volumeGroup: row.text("vg_name"),
    sizeBytes: row.count("pv_size"),
    freeBytes: row.count("pv_free"),
    usedBytes: row.count("pv_used"),
    attributes: row.matching("pv_attr", PV_ATTRIBUTES),
  }));
  const ofGroups = rows.filter((row) => row.text("vg_name") !== "");
  const groups = ofGroups.map((row) => ({
    name: row.text("vg_name"),
    sizeBytes: row.count("vg_size"),
    freeBytes: row.count("vg_free"),
    attributes: row.matching("vg_attr", VG_ATTRIBUTES),
  }));
  return { physicalVolumes, volumeGroups: [...new Map(groups.map((group) => [group.name, group])).values()] };
}

/** Whether it is one that a disk can be: no part of another volume, no pool, no snapshot, not virtual. */
export function isOrdinary({ attributes }: LogicalVolume): boolean {
  return ["-", "o"].includes(attributes.charAt(0));
}

export function isActive({ attributes }: LogicalVolume): boolean {
  return attributes.charAt(4) === "a";
}

export function isOpen({ attributes }: LogicalVolume): boolean {
  return attributes.charAt(5) === "o";
}

export function isWritable({ attributes }: VolumeGroup): boolean {
  return attributes.charAt(0) === "w";
}

export function isAllocatable({ attributes }: PhysicalVolume): boolean {
  return attributes.charAt(0) === "a";
}

/** Its device is gone. */
export function isMissing({ attributes }: PhysicalVolume): boolean {
  return attributes.charAt(2) === "m";
}

type Column<P extends ReportProgram> = (typeof REPORT_COLUMNS)[P][number];

interface Row<P extends ReportProgram> {
  text(column: Column<P>): string;
  count(column: Column<P>): number;
  matching(column: Column<P>, pattern: RegExp): string;
  list(column: Column<P>): readonly string[];
  check<Value>(value: Value | undefined, column: Column<P>): Value;
}

function rowsOf<P extends ReportProgram>(program: P, stdout: string): readonly Row<P>[] {
  const columns: readonly Column<P>[] = REPORT_COLUMNS[program];
  return stdout
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const cells = line.trim().split("|");
      const refuse = (what: string): never => {
        throw new BlockDeviceError(`What ${program} printed is not understood, ${what}: ${line.trim().slice(0, 200)}`);
      };
      if (cells.length !== columns.length) refuse(`it has ${cells.length} columns instead of ${columns.length}`);
      const text = (column: Column<P>): string => cells[columns.indexOf(column)] ?? refuse(`no ${column}`);
      const check = <Value>(value: Value | undefined, column: Column<P>): Value => value ?? refuse(`a wrong ${column}`);
      return {
        text,
        check,
        count: (column) => {
          const value = Number(text(column));
          return check(/^[0-9]+$/.test(text(column)) && Number.isSafeInteger(value) ? value : undefined, column);
        },
        matching: (column, pattern) => check(pattern.test(text(column)) ? text(column) : undefined, column),
        list: (column) => text(column).split(",").filter(Boolean),
      };
    });
}
