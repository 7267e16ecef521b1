/** Simulated `lvextend`. */
import { ALLOCATION_POLICIES, allocate, freeExtents, joined } from "./allocation.ts";
import { humanSize, parseSize } from "./sizes.ts";
import { changeLvm, extentsOf, type LogicalVolume, type LvmState, type VolumeGroup } from "./state.ts";
import { groupNamed, LvmFailure, requireWhole, runLvmTool, splitName } from "./tool.ts";

await runLvmTool(
  "lvextend",
  { size: { type: "string", short: "L" }, alloc: { type: "string" } },
  (nodeFolder, values, [name = "", ...physicalVolumes]) =>
    changeLvm(nodeFolder, (state) => {
      const { group, volume } = volumeOf(state, name);
      requireWhole(group);
      const last = volume.segments.at(-1);
      const stripes = last?.areas.length ?? 1;
      const present = extentsOf(volume);
      const asked = parseSize(values.size ?? "");
      if (asked === undefined) throw new LvmFailure(`  Invalid argument for --size: ${values.size}`, { exitCode: 3 });
      const extents = Math.ceil(Number(asked.bytes) / group.extentBytes);
      const total = asked.relative ? present + extents : extents;
      const wanted = Math.ceil(total / stripes) * stripes;
      const rounded = extents * group.extentBytes;
      const said: string[] = [];
      if (rounded !== Number(asked.bytes))
        said.push(`Rounding size to boundary between physical extents: ${humanSize(rounded, "long")}.`);
      if (stripes > 1) said.push("Using stripesize of last segment 64.00 KiB");
      if (wanted !== total)
        said.push(`Rounding size (${total} extents) up to stripe boundary size for segment (${wanted} extents).`);
      const failed = (text: string) =>
        new LvmFailure(`  ${text}`, { stdout: said.map((line) => `  ${line}\n`).join("") });
      if (group.logicalVolumes.some(({ origin }) => origin === volume.id))
        throw failed("Snapshot origin volumes can be resized only while inactive: try lvchange -an.");
      if (wanted === present) throw failed(`New size (${wanted} extents) matches existing size (${present} extents).`);
      if (wanted < present)
        throw failed(`New size given (${wanted} extents) not larger than existing size (${present} extents)`);
      const more = wanted - present;
      const free = [...freeExtents(group).values()].reduce((sum, count) => sum + count, 0);
      if (more > free) throw failed(`Insufficient free space: ${more} extents needed, but only ${free} available`);
      const policy = ALLOCATION_POLICIES.find((each) => each === values.alloc) ?? "normal";
      const usable = physicalVolumes.length > 0 ? physicalVolumes : group.physicalVolumes.map((each) => each.name);
      const segments = allocate(group, { extents: more, stripes, physicalVolumes: usable, policy, after: last });
      if (segments === undefined) {
        const suitable = policy === "contiguous" ? "suitable contiguous allocatable" : "suitable allocatable";
        throw failed(`Insufficient ${suitable} extents for logical volume ${volume.name}: ${more} more required`);
      }
      volume.segments = joined([...volume.segments, ...segments]);
      const size = (count: number) => `${humanSize(count * group.extentBytes, "long")} (${count} extents)`;
      said.push(
        `Size of logical volume ${group.name}/${volume.name} changed from ${size(present)} to ${size(wanted)}.`,
        `Logical volume ${group.name}/${volume.name} successfully resized.`,
      );
      return { exitCode: 0, stdout: said.map((line) => `  ${line}\n`).join("") };
    }),
);

/** lvextend has its own words for a volume that it does not find. */
function volumeOf(state: LvmState, name: string): { readonly group: VolumeGroup; readonly volume: LogicalVolume } {
  const { groupName, volumeName } = splitName(name);
  const group = groupNamed(state, groupName);
  const volume = group.logicalVolumes.find((each) => each.name === volumeName);
  if (volume === undefined)
    throw new LvmFailure(`  Logical volume ${volumeName} not found in volume group ${groupName}.`);
  return { group, volume };
}
