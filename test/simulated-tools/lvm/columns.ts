/** The columns that simulated lvs, vgs and pvs can print, and those they print unasked. */
import { freeExtents } from "./allocation.ts";
import type { Columns } from "./report.ts";
import { type LogicalVolume, type PhysicalVolume, type Segment, sizeBytesOf, type VolumeGroup } from "./state.ts";

export interface VolumeRow {
  readonly group: VolumeGroup;
  readonly volume: LogicalVolume;
  /** One row for each, when a column of segments is asked for. */
  readonly segment: Segment | undefined;
  readonly isOpen: boolean;
}

export interface PhysicalRow {
  readonly group: VolumeGroup;
  readonly physicalVolume: PhysicalVolume;
}

/** Room that LVM keeps for a count even without headings, and for `100.00`. */
const COUNT_WIDTH = 3;
const PERCENT_WIDTH = 6;

const GROUP_COLUMNS: Columns<{ readonly group: VolumeGroup }> = {
  vg_name: { heading: "VG", value: ({ group }) => group.name },
  vg_attr: { heading: "Attr", value: ({ group }) => (isPartial(group) ? "wz-pn-" : "wz--n-") },
  vg_size: { heading: "VSize", kind: "size", value: ({ group }) => totalExtents(group) * group.extentBytes },
  vg_free: {
    heading: "VFree",
    kind: "size",
    value: ({ group }) => sum(freeExtents(group).values()) * group.extentBytes,
  },
  vg_extent_size: { heading: "Ext", kind: "size", value: ({ group }) => group.extentBytes },
  pv_count: { heading: "#PV", width: COUNT_WIDTH, kind: "count", value: ({ group }) => group.physicalVolumes.length },
  lv_count: { heading: "#LV", width: COUNT_WIDTH, kind: "count", value: ({ group }) => group.logicalVolumes.length },
  snap_count: {
    heading: "#SN",
    width: COUNT_WIDTH,
    kind: "count",
    value: ({ group }) => group.logicalVolumes.filter(({ origin }) => origin !== undefined).length,
  },
};

export const VGS = {
  columns: GROUP_COLUMNS,
  standard: ["vg_name", "pv_count", "lv_count", "snap_count", "vg_attr", "vg_size", "vg_free"],
};

export const PVS: { readonly columns: Columns<PhysicalRow>; readonly standard: readonly string[] } = {
  columns: {
    ...GROUP_COLUMNS,
    pv_name: { heading: "PV", value: ({ physicalVolume: { name, missing } }) => (missing ? "[unknown]" : name) },
    pv_fmt: { heading: "Fmt", value: () => "lvm2" },
    pv_attr: {
      heading: "Attr",
      value: ({ physicalVolume: { allocatable, missing } }) => `${allocatable ? "a" : "u"}-${missing ? "m" : "-"}`,
    },
    pv_size: {
      heading: "PSize",
      kind: "size",
      value: ({ group, physicalVolume }) => physicalVolume.extents * group.extentBytes,
    },
    pv_free: { heading: "PFree", kind: "size", value: (row) => freeOf(row) * row.group.extentBytes },
    pv_used: {
      heading: "Used",
      kind: "size",
      value: (row) => (row.physicalVolume.extents - freeOf(row)) * row.group.extentBytes,
    },
  },
  standard: ["pv_name", "vg_name", "pv_fmt", "pv_attr", "pv_size", "pv_free"],
};

const empty = (heading: string) => ({ heading, value: () => "" });

export const LVS: { readonly columns: Columns<VolumeRow>; readonly standard: readonly string[] } = {
  columns: {
    ...GROUP_COLUMNS,
    lv_name: { heading: "LV", value: ({ volume }) => volume.name },
    lv_attr: { heading: "Attr", value: attributesOf },
    lv_size: { heading: "LSize", kind: "size", value: ({ group, volume }) => sizeBytesOf(group, volume) },
    lv_tags: { heading: "LV Tags", value: ({ volume }) => volume.tags.toSorted().join(",") },
    origin: {
      heading: "Origin",
      value: ({ group, volume }) => group.logicalVolumes.find(({ id }) => id === volume.origin)?.name ?? "",
    },
    pool_lv: empty("Pool"),
    data_percent: {
      heading: "Data%",
      width: PERCENT_WIDTH,
      value: ({ volume }) => (volume.origin === undefined ? "" : "0.00"),
    },
    metadata_percent: { ...empty("Meta%"), width: PERCENT_WIDTH },
    move_pv: empty("Move"),
    mirror_log: empty("Log"),
    copy_percent: empty("Cpy%Sync"),
    convert_lv: empty("Convert"),
    stripes: { heading: "#Str", kind: "count", value: ({ segment }) => segment?.areas.length ?? 0 },
    seg_size: {
      heading: "SSize",
      kind: "size",
      value: ({ group, segment }) => (segment?.extents ?? 0) * group.extentBytes,
    },
    devices: { heading: "Devices", value: devicesOf },
  },
  standard: [
    ...["lv_name", "vg_name", "lv_attr", "lv_size", "pool_lv", "origin", "data_percent", "metadata_percent"],
    ...["move_pv", "mirror_log", "copy_percent", "convert_lv"],
  ],
};

/** Columns that make a row of each segment. */
export const SEGMENT_COLUMNS: readonly string[] = ["stripes", "seg_size", "devices"];

function attributesOf({ group, volume, isOpen }: VolumeRow): string {
  const isOrigin = group.logicalVolumes.some(({ origin }) => origin === volume.id);
  const isSnapshot = volume.origin !== undefined;
  return [
    isSnapshot ? "s" : isOrigin ? "o" : "-",
    "wi-",
    volume.active ? "a" : "-",
    isOpen ? "o" : "-",
    isSnapshot || isOrigin ? "s" : "-",
    "-",
    isLost(group, volume) ? "p" : "-",
    "-",
  ].join("");
}

/** Whether a part of it lay on a physical volume that is gone. */
export function isLost(group: VolumeGroup, volume: LogicalVolume): boolean {
  const missing = new Set(group.physicalVolumes.filter((each) => each.missing).map(({ name }) => name));
  return volume.segments.some(({ areas }) => areas.some(({ physicalVolume }) => missing.has(physicalVolume)));
}

function devicesOf({ group, segment }: VolumeRow): string {
  const areas = segment?.areas ?? [];
  return areas
    .map(({ physicalVolume, start }) => {
      const isMissing = group.physicalVolumes.some(({ name, missing }) => missing && name === physicalVolume);
      return `${isMissing ? "[unknown]" : physicalVolume}(${start})`;
    })
    .join(",");
}

function isPartial(group: VolumeGroup): boolean {
  return group.physicalVolumes.some(({ missing }) => missing);
}

function totalExtents(group: VolumeGroup): number {
  return sum(group.physicalVolumes.map(({ extents }) => extents));
}

function freeOf({ group, physicalVolume }: PhysicalRow): number {
  return freeExtents(group).get(physicalVolume.name) ?? 0;
}

function sum(counts: Iterable<number>): number {
  return [...counts].reduce((total, count) => total + count, 0);
}
