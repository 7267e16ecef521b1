/** Simulated `lvcreate`: linear, striped, and snapshots that copy their origin at once. */
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { allocate, freeExtents } from "./allocation.ts";
import { humanSize, parseSize } from "./sizes.ts";
import { changeLvm, contentsFile, type LogicalVolume, type LvmState, type VolumeGroup } from "./state.ts";
import { findVolume, groupNamed, LvmFailure, refusedArguments, requireWhole, runLvmTool } from "./tool.ts";

const TOOL = "lvcreate";
const MAX_NAME_CHARS = 127;
const RESERVED_BEGINNINGS = ["snapshot", "pvmove"];
const RESERVED_PARTS = [
  ...["_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_mimage", "_mlog", "_pmspare", "_rimage", "_rmeta", "_tdata"],
  ...["_tmeta", "_vdata", "_vorigin", "_wcorig"],
];

await runLvmTool(
  TOOL,
  {
    size: { type: "string", short: "L" },
    name: { type: "string", short: "n" },
    stripes: { type: "string", short: "i" },
    snapshot: { type: "boolean", short: "s" },
    wipesignatures: { type: "string", short: "W" },
    addtag: { type: "string", multiple: true },
  },
  (nodeFolder, values, [place = "", ...physicalVolumes]) => {
    const name = acceptableName(values.name ?? "");
    const size = parseSize(values.size ?? "");
    if (size === undefined || size.bytes >= 2n ** 64n)
      throw new LvmFailure(
        `  Size is too big (>=16EiB).\n  Invalid argument for --size: ${values.size}\n  Error during parsing of command line.`,
        { exitCode: 3 },
      );
    if (size.bytes === 0n) throw refusedArguments(TOOL, "--size may not be zero.");
    const said: string[] = [];
    const wanted = { name, bytes: Number(size.bytes), tags: values.addtag ?? [], said };
    return changeLvm(nodeFolder, (state) => {
      if (values.snapshot) addSnapshot(nodeFolder, state, place, wanted);
      else addVolume(groupNamed(state, place), wanted, Number(values.stripes ?? 1), physicalVolumes);
      return { exitCode: 0, stdout: spoken([...said, `Logical volume "${name}" created.`]) };
    });
  },
);

interface Wanted {
  readonly name: string;
  readonly bytes: number;
  readonly tags: readonly string[];
  /** What is told on the way. */
  readonly said: string[];
}

function addVolume(group: VolumeGroup, wanted: Wanted, stripes: number, named: readonly string[]): void {
  if (stripes > 1) wanted.said.push("Using default stripesize 64.00 KiB.");
  const extents = roundedToStripes(roundedToExtents(wanted, group), stripes, wanted, group);
  addToGroup(group, { ...wanted, extents, stripes, named });
}

function addSnapshot(nodeFolder: string, state: LvmState, place: string, wanted: Wanted): void {
  const { group, volume: origin } = findVolume(state, place);
  const extents = roundedToExtents(wanted, group);
  const snapshot = addToGroup(group, { ...wanted, extents, stripes: 1, named: [], origin: origin.id });
  const [from, to] = [contentsFile(nodeFolder, origin), contentsFile(nodeFolder, snapshot)];
  execFileSync("/usr/bin/cp", ["--sparse=always", "--reflink=auto", from, to]);
}

function addToGroup(
  group: VolumeGroup,
  wanted: Wanted & {
    readonly extents: number;
    readonly stripes: number;
    readonly named: readonly string[];
    readonly origin?: string;
  },
): LogicalVolume {
  const { name, tags, said, extents, stripes, named, origin } = wanted;
  const failed = (text: string) => new LvmFailure(`  ${text}`, { stdout: spoken(said) });
  requireWhole(group);
  if (group.logicalVolumes.some((each) => each.name === name))
    throw failed(`Logical Volume "${name}" already exists in volume group "${group.name}"`);
  const unknown = named.find((each) => !group.physicalVolumes.some((known) => known.name === each));
  if (unknown !== undefined) throw failed(`Physical Volume "${unknown}" not found in Volume Group "${group.name}".`);
  const usable = named.length > 0 ? named : group.physicalVolumes.map((each) => each.name);
  if (stripes > usable.length)
    throw failed(`Number of stripes (${stripes}) must not exceed number of physical volumes (${usable.length})`);
  const free = [...freeExtents(group).values()].reduce((sum, count) => sum + count, 0);
  if (extents > free)
    throw failed(`Volume group "${group.name}" has insufficient free space (${free} extents): ${extents} required.`);
  const segments = allocate(group, { extents, stripes, physicalVolumes: usable, policy: "normal" });
  if (segments === undefined)
    throw failed(`Insufficient suitable allocatable extents for logical volume ${name}: ${extents} more required`);
  const volume: LogicalVolume = {
    ...{ name, id: randomUUID(), tags: [...new Set(tags)], active: true, segments },
    ...(origin === undefined ? {} : { origin }),
  };
  group.logicalVolumes.push(volume);
  return volume;
}

function roundedToExtents({ bytes, said }: Wanted, group: VolumeGroup): number {
  const extents = Math.ceil(bytes / group.extentBytes);
  const rounded = extents * group.extentBytes;
  if (rounded !== bytes) said.push(`Rounding up size to full physical extent ${humanSize(rounded, "long")}`);
  return extents;
}

function roundedToStripes(extents: number, stripes: number, { said }: Wanted, { extentBytes }: VolumeGroup): number {
  const rounded = Math.ceil(extents / stripes) * stripes;
  const size = (count: number) => `${humanSize(count * extentBytes, "long")} (${count} extents)`;
  if (rounded !== extents) said.push(`Rounding size ${size(extents)} up to stripe boundary size ${size(rounded)}.`);
  return rounded;
}

function acceptableName(name: string): string {
  if (!/^[a-zA-Z0-9+_.][a-zA-Z0-9+_.-]*$/.test(name) || name.length > MAX_NAME_CHARS || [".", ".."].includes(name))
    throw refusedArguments(TOOL, `Logical volume name "${name}" is invalid.`);
  const reserved = (how: string, what: string) =>
    refusedArguments(TOOL, `Names ${how} "${what}" are reserved. Please choose a different LV name.`);
  for (const beginning of RESERVED_BEGINNINGS) if (name.startsWith(beginning)) throw reserved("starting", beginning);
  for (const part of RESERVED_PARTS) if (name.includes(part)) throw reserved("including", part);
  return name;
}

function spoken(said: readonly string[]): string {
  return said.map((text) => `  ${text}\n`).join("");
}
