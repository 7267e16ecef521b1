/** Where a logical volume's extents are put, near enough to LVM's way that the same requests succeed and fail. */
import type { Area, LogicalVolume, Segment, VolumeGroup } from "./state.ts";

/** From the strictest: a policy is tried after all those before it, as LVM does. */
export const ALLOCATION_POLICIES = ["contiguous", "cling", "normal"] as const;
export type AllocationPolicy = (typeof ALLOCATION_POLICIES)[number];

export interface Allocation {
  readonly extents: number;
  readonly stripes: number;
  /** None but these. */
  readonly physicalVolumes: readonly string[];
  readonly policy: AllocationPolicy;
  /** Of a volume that grows. */
  readonly after?: Segment | undefined;
}

interface FreeArea {
  readonly physicalVolume: string;
  readonly start: number;
  readonly extents: number;
}

/** Undefined when there is no such space. */
export function allocate(group: VolumeGroup, wanted: Allocation): Segment[] | undefined {
  for (const policy of ALLOCATION_POLICIES.slice(0, ALLOCATION_POLICIES.indexOf(wanted.policy) + 1)) {
    const segments = allocateBy(group, { ...wanted, policy });
    if (segments !== undefined) return segments;
  }
  return undefined;
}

function allocateBy(group: VolumeGroup, wanted: Allocation): Segment[] | undefined {
  const segments: Segment[] = [];
  let free = suitable(group, wanted);
  let left = wanted.extents;
  while (left > 0) {
    const areas = widest(free, wanted.stripes);
    if (areas === undefined) return undefined;
    const each = Math.min(left / wanted.stripes, ...areas.map(({ extents }) => extents));
    segments.push({
      extents: each * wanted.stripes,
      areas: areas.map(({ physicalVolume, start }): Area => ({ physicalVolume, start })),
    });
    left -= each * wanted.stripes;
    free = free.flatMap((area) => (areas.includes(area) ? remainderOf(area, each) : [area]));
  }
  if (wanted.policy === "contiguous" && segments.length > 1) return undefined;
  return segments;
}

/** Extents that no volume has, of each physical volume. */
export function freeExtents(group: VolumeGroup): ReadonlyMap<string, number> {
  const sums = new Map(group.physicalVolumes.map(({ name }) => [name, 0]));
  for (const { physicalVolume, extents } of freeAreas(group))
    sums.set(physicalVolume, (sums.get(physicalVolume) ?? 0) + extents);
  return sums;
}

export function segmentLength(segment: Segment): number {
  return segment.extents / segment.areas.length;
}

/** Adjacent segments become one, as LVM has it. */
export function joined(segments: readonly Segment[]): Segment[] {
  const result: Segment[] = [];
  for (const segment of segments) {
    const last = result.at(-1);
    if (last !== undefined && continues(last, segment))
      result.splice(-1, 1, { areas: last.areas, extents: last.extents + segment.extents });
    else result.push(segment);
  }
  return result;
}

function continues(first: Segment, second: Segment): boolean {
  return (
    first.areas.length === second.areas.length &&
    first.areas.every(
      ({ physicalVolume, start }, index) =>
        second.areas[index]?.physicalVolume === physicalVolume &&
        second.areas[index]?.start === start + segmentLength(first),
    )
  );
}

function suitable(group: VolumeGroup, { physicalVolumes, policy, after }: Allocation): FreeArea[] {
  const usable = new Set(
    group.physicalVolumes.filter(({ allocatable, missing }) => allocatable && !missing).map(({ name }) => name),
  );
  const free = freeAreas(group).filter(
    ({ physicalVolume }) => usable.has(physicalVolume) && physicalVolumes.includes(physicalVolume),
  );
  if (after === undefined || policy === "normal") return free;
  const beside = new Map(
    after.areas.map(({ physicalVolume, start }) => [physicalVolume, start + segmentLength(after)]),
  );
  return free.filter(({ physicalVolume, start }) =>
    policy === "cling" ? beside.has(physicalVolume) : beside.get(physicalVolume) === start,
  );
}

/** One area on each of as many physical volumes, the largest there are. */
function widest(free: readonly FreeArea[], stripes: number): readonly FreeArea[] | undefined {
  const chosen = new Map<string, FreeArea>();
  for (const area of free.toSorted((a, b) => b.extents - a.extents))
    if (chosen.size < stripes && !chosen.has(area.physicalVolume)) chosen.set(area.physicalVolume, area);
  return chosen.size === stripes ? free.filter((area) => chosen.get(area.physicalVolume) === area) : undefined;
}

function remainderOf(area: FreeArea, taken: number): FreeArea[] {
  if (area.extents === taken) return [];
  return [{ ...area, start: area.start + taken, extents: area.extents - taken }];
}

function freeAreas(group: VolumeGroup): FreeArea[] {
  return group.physicalVolumes.flatMap(({ name, extents }) => {
    const taken = group.logicalVolumes.flatMap((volume) => takenOn(volume, name)).toSorted((a, b) => a.start - b.start);
    const free: FreeArea[] = [];
    let at = 0;
    for (const { start, end } of [...taken, { start: extents, end: extents }]) {
      if (start > at) free.push({ physicalVolume: name, start: at, extents: start - at });
      at = end;
    }
    return free;
  });
}

function takenOn(volume: LogicalVolume, physicalVolume: string): { start: number; end: number }[] {
  return volume.segments.flatMap((segment) =>
    segment.areas
      .filter((area) => area.physicalVolume === physicalVolume)
      .map(({ start }) => ({ start, end: start + segmentLength(segment) })),
  );
}
