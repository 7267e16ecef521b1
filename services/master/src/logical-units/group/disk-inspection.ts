/** How disks of instances are on one node, by what its agent sees. */
import type { Disk, Instance, Node } from "@gannet/objects";
import type { MirrorStatus, StorageVolume } from "@gannet/rpc";
import type { PrereqContext } from "../../executor/context.ts";
import { type DiskEnd, endsOf, placedDisks } from "../instance/disk-ends.ts";

/** `inactive`: it is there and not in use as it should be. `faulty`: it is in use and cannot be relied on. */
export type DiskCondition = "ok" | "missing" | "inactive" | "faulty";

export interface InspectedDisk {
  readonly instance: Instance;
  readonly end: DiskEnd;
  readonly condition: DiskCondition;
  /** Of a disk that is missing, what of it is: names of volumes, or where it should be. */
  readonly missing: readonly string[];
  /** Words for a disk that is not ok. */
  readonly problem: string;
}

/**
 * Look at every disk of the instances that has an end on the node. What a disk should be in use as counts only for
 * instances whose disks are to be active.
 * @throws NodeUnreachable and whatever else the agent answers
 */
export async function inspectDisks(
  ctx: PrereqContext,
  node: Node,
  instances: readonly Instance[],
): Promise<readonly InspectedDisk[]> {
  const view = ctx.config;
  const ends = instances.flatMap((instance) =>
    placedDisks(view, instance)
      .flatMap((placed) => endsOf(view, instance, placed))
      .filter((end) => end.node === node.uuid)
      .map((end) => ({ instance, end })),
  );
  const needsVolumes = ends.some(({ end }) => volumesOf(end.disk).length > 0);
  const mirrored = ends.filter(({ instance, end }) => instance.disksActive && end.disk.template === "drbd");
  const [volumes, statuses] = await Promise.all([
    needsVolumes ? volumesOn(ctx, node) : new Map<string, StorageVolume>(),
    mirrored.length > 0 ? mirrorStatuses(ctx, node, mirrored) : new Map<string, MirrorStatus | undefined>(),
  ]);
  return await Promise.all(
    ends.map(async ({ instance, end }): Promise<InspectedDisk> => {
      const verdict =
        volumesOf(end.disk).length > 0
          ? volumeVerdict(instance, end, volumes, statuses)
          : await deviceVerdict(ctx, node, end);
      return { instance, end, ...verdict };
    }),
  );
}

type Verdict = Pick<InspectedDisk, "condition" | "missing" | "problem">;
const OK: Verdict = { condition: "ok", missing: [], problem: "" };

/** Logical volumes that a disk consists of on each of its nodes. */
export function volumesOf(disk: Pick<Disk, "template" | "logicalId" | "children">): readonly string[] {
  return [disk, ...disk.children]
    .filter(({ template }) => template === "plain")
    .map(({ logicalId }) => logicalId.join("/"));
}

function volumeVerdict(
  { disksActive }: Instance,
  { disk, title }: DiskEnd,
  volumes: ReadonlyMap<string, StorageVolume>,
  statuses: ReadonlyMap<string, MirrorStatus | undefined>,
): Verdict {
  const own = volumesOf(disk);
  const missing = own.filter((volume) => !volumes.has(volume));
  if (missing.length > 0)
    return { condition: "missing", missing, problem: `${title} is missing: ${missing.join(", ")}` };
  if (!disksActive) return OK;
  const isActive = own.every((volume) => volumes.get(volume)?.active === true);
  if (disk.template !== "drbd") return isActive ? OK : unfit("inactive", `${title} is not active`);
  const status = statuses.get(disk.uuid);
  if (status === undefined) return unfit("inactive", `${title} is not active`);
  const isFaulty = status.localDisk === "diskless" || status.connection === "standalone" || status.splitBrain;
  if (!isFaulty) return OK;
  const state = status.splitBrain ? "split brain" : `${status.connection}, local disk ${status.localDisk}`;
  return unfit("faulty", `${title} is faulty: ${state}`);
}

function unfit(condition: DiskCondition, problem: string): Verdict {
  return { condition, missing: [], problem };
}

async function deviceVerdict(ctx: PrereqContext, node: Node, { device, disk, title }: DiskEnd): Promise<Verdict> {
  const { exists } = await ctx.node(node.uuid).blockDevices.status({ device }, { signal: ctx.signal });
  const place = disk.logicalId.join("/");
  return exists ? OK : { condition: "missing", missing: [place], problem: `${title} is missing: ${place}` };
}

async function volumesOn(ctx: PrereqContext, node: Node): Promise<ReadonlyMap<string, StorageVolume>> {
  const { volumes } = await ctx.node(node.uuid).storage.listVolumes({}, { signal: ctx.signal });
  return new Map(volumes.map((volume) => [`${volume.volumeGroup}/${volume.name}`, volume]));
}

/** By the disks' UUIDs; undefined where a disk is not up. */
async function mirrorStatuses(
  ctx: PrereqContext,
  node: Node,
  ends: readonly { readonly end: DiskEnd }[],
): Promise<ReadonlyMap<string, MirrorStatus | undefined>> {
  const devices = ends.map(({ end }) => end.device);
  const { disks } = await ctx.node(node.uuid).blockDevices.mirrorStatus({ devices }, { signal: ctx.signal });
  return new Map(ends.map(({ end }, index) => [end.disk.uuid, disks[index]?.status]));
}
