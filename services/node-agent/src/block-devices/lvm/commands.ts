/** The command lines of LVM (spec/node-ops.json, `storage.lvm`); each program is run from the node's tools. */
import { fullName, type VolumeName } from "./names.ts";

export type LvmCommand = readonly [program: string, ...args: string[]];

/** What a report prints, in this order; `reports.ts` reads it. */
export const REPORT_COLUMNS = {
  lvs: [
    ...(["vg_name", "lv_name", "lv_size", "lv_attr", "lv_tags", "origin"] as const),
    ...(["vg_extent_size", "vg_free", "stripes", "devices"] as const),
  ],
  // With their groups: whoever wants both, and a node's description does, needs one command.
  pvs: [
    ...(["pv_name", "vg_name", "pv_size", "pv_free", "pv_used", "pv_attr"] as const),
    ...(["vg_size", "vg_free", "vg_attr"] as const),
  ],
} as const;
export type ReportProgram = keyof typeof REPORT_COLUMNS;

/**
 * Everything of the node at once: one process answers for all disks. Bytes, because the units that Ganeti asks for
 * round.
 */
export function report(program: ReportProgram): LvmCommand {
  const columns = REPORT_COLUMNS[program].join(",");
  return [program, "--noheadings", "--nosuffix", "--units=b", "--separator=|", "-o", columns];
}

export function createVolume(
  volume: VolumeName,
  options: {
    readonly sizeMib: number;
    readonly stripes: number;
    readonly tags: readonly string[];
    readonly physicalVolumes: readonly string[];
  },
): LvmCommand {
  return [
    "lvcreate",
    // Whatever signature lies in the space, nobody is asked about it.
    "-Wn",
    `-L${options.sizeMib}m`,
    `-n${volume.name}`,
    `-i${options.stripes}`,
    ...options.tags.flatMap((tag) => ["--addtag", tag]),
    volume.volumeGroup,
    ...options.physicalVolumes,
  ];
}

export function createSnapshot(
  origin: VolumeName,
  options: { readonly name: string; readonly sizeMib: number; readonly tags: readonly string[] },
): LvmCommand {
  const tags = options.tags.flatMap((tag) => ["--addtag", tag]);
  return ["lvcreate", `-L${options.sizeMib}m`, "-s", `-n${options.name}`, ...tags, fullName(origin)];
}

export function removeVolume(volume: VolumeName): LvmCommand {
  return ["lvremove", "-f", fullName(volume)];
}

export function renameVolume(volume: VolumeName, to: string): LvmCommand {
  return ["lvrename", volume.volumeGroup, volume.name, to];
}

export function activateVolume(volume: VolumeName): LvmCommand {
  return ["lvchange", "-ay", fullName(volume)];
}

export function changeTags(
  volume: VolumeName,
  changes: { readonly add: readonly string[]; readonly remove: readonly string[] },
): LvmCommand {
  return [
    "lvchange",
    ...changes.add.flatMap((tag) => ["--addtag", tag]),
    ...changes.remove.flatMap((tag) => ["--deltag", tag]),
    fullName(volume),
  ];
}

/** In this order: the new extents first where they keep the volume in one piece, and anywhere only in the end. */
export const GROW_POLICIES = ["contiguous", "cling", "normal"] as const;

/**
 * @param options.toKib - the whole new size, where Ganeti gives the difference: a repeat of a command that had its
 *   effect then changes nothing
 */
export function extendVolume(
  volume: VolumeName,
  options: {
    readonly toKib: number;
    readonly policy: (typeof GROW_POLICIES)[number];
    readonly physicalVolumes: readonly string[];
  },
): LvmCommand {
  const { toKib, policy, physicalVolumes } = options;
  return ["lvextend", "-L", `${toKib}k`, "--alloc", policy, fullName(volume), ...physicalVolumes];
}

export function setAllocatable(physicalVolume: string, allocatable: boolean): LvmCommand {
  return ["pvchange", "--allocatable", allocatable ? "y" : "n", physicalVolume];
}

export function removeMissing(volumeGroup: string, how: "when no volume suffers" | "with its volumes"): LvmCommand {
  const force = how === "with its volumes" ? ["--force"] : [];
  return ["vgreduce", "--removemissing", ...force, volumeGroup];
}

export function checkGroup(volumeGroup: string): LvmCommand {
  return ["vgs", "--noheadings", "--nosuffix", volumeGroup];
}
