/** What the nodes of an instance say of its disks, as OP_INSTANCE_QUERY_DATA tells it. */
import {
  type ChildDisk,
  type ConfigView,
  DISK_TEMPLATE_TRAITS,
  type Disk,
  type DiskUuid,
  type Instance,
  type NodeUuid,
} from "@gannet/objects";
import type { DiskStatus, DiskStatuses } from "@gannet/query";
import type { BlockDevice, MirrorStatus } from "@gannet/rpc";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { nodesOfDisk, placedDisks } from "./disk-ends.ts";
import { blockDeviceMessage } from "./messages.ts";

/** Ganeti's numbers (spec/rpc.json, `BlockDevStatus`). */
const LOCAL_DISK = { ok: 1, syncing: 2, unknown: 3, faulty: 4 } as const;
const DRBD_MAJOR = 147;

type Statuses = ReadonlyMap<DiskUuid, DiskStatus>;

/** Ask the instance's nodes; a disk that a node does not have, or a node that cannot be asked, is left out. */
export async function diskStatuses(ctx: ExecContext, instance: Instance): Promise<DiskStatuses> {
  const view = ctx.config;
  const [secondary] = view.secondaryNodes(instance);
  return {
    primary: await statusesOn(ctx, view, instance, instance.primaryNode),
    secondary: secondary === undefined ? new Map() : await statusesOn(ctx, view, instance, secondary),
  };
}

async function statusesOn(ctx: ExecContext, view: ConfigView, instance: Instance, node: NodeUuid): Promise<Statuses> {
  if (!ctx.live.node(node).reachable) return new Map();
  const statuses = new Map<DiskUuid, DiskStatus>();
  const asked = placedDisks(view, instance)
    .filter(({ disk }) => nodesOfDisk(instance, disk).includes(node))
    .flatMap(({ disk, index }) => [disk, ...disk.children].map((each) => ({ each, index })));
  await Promise.all(
    asked.map(({ each, index }) =>
      failureOf(ctx, async () => {
        const device = blockDeviceMessage(view, instance, each, index, node);
        const status = await statusOf(ctx, node, each, device);
        if (status !== undefined) statuses.set(each.uuid, status);
      }),
    ),
  );
  return statuses;
}

async function statusOf(
  ctx: ExecContext,
  node: NodeUuid,
  disk: Disk | ChildDisk,
  device: BlockDevice,
): Promise<DiskStatus | undefined> {
  const { blockDevices } = ctx.node(node);
  if (DISK_TEMPLATE_TRAITS[disk.template].mirroring === "internal") {
    const [found] = (await blockDevices.mirrorStatus({ devices: [device] }, { signal: ctx.signal })).disks;
    const minor = device.link?.localMinor;
    if (found?.status === undefined || minor === undefined) return undefined;
    return mirrorStatus(found.status, minor);
  }
  const { exists } = await blockDevices.status({ device }, { signal: ctx.signal });
  return exists ? [pathOf(disk), null, null, null, null, false, LOCAL_DISK.ok] : undefined;
}

function mirrorStatus(status: MirrorStatus, minor: number): DiskStatus {
  const { syncPercent = null, estimatedSeconds = null, degraded } = status;
  return [`/dev/drbd${minor}`, DRBD_MAJOR, minor, syncPercent, estimatedSeconds, degraded, localDisk(status)];
}

function localDisk({ localDisk: disk, connection, syncPercent }: MirrorStatus): number {
  if (disk === "diskless" || connection === "standalone") return LOCAL_DISK.faulty;
  if (syncPercent !== undefined) return LOCAL_DISK.syncing;
  return disk === "uptodate" ? LOCAL_DISK.ok : LOCAL_DISK.unknown;
}

/** Where it is seen, as far as its name tells. */
function pathOf({ template, logicalId }: ChildDisk): string {
  const [first = "", second = ""] = logicalId;
  if (template === "plain") return `/dev/${first}/${second}`;
  return DISK_TEMPLATE_TRAITS[template].isFileBased || template === "blockdev" ? String(second) : "";
}
