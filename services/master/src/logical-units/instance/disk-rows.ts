/** The configuration rows of new disks, whatever operation makes them. Pure but for what is drawn by lot. */
import { randomBytes, randomUUID } from "node:crypto";
import type { ConfigChange } from "@gannet/config-store";
import {
  allocateMinor,
  allocatePort,
  type ChildDisk,
  type ConfigView,
  type Disk,
  type DiskPlace,
  type DiskUuid,
  DRBD_METADATA_MIB,
  DRBD_SECRET_BYTES,
  diskIvName,
  diskUuid,
  drbdIdOf,
  drbdMinorsInUse,
  drbdVolumesOf,
  type InstanceUuid,
  type LogicalId,
  logicalIdOf,
  type MinorsInUse,
  type NodeUuid,
  nodeUuid,
  type Parameters,
  type PortState,
} from "@gannet/objects";
import { z } from "zod";

type Place<Template extends DiskPlace["template"]> = Extract<DiskPlace, { readonly template: Template }>;

/** Where a disk is wanted, before it has a port, minors or a name. */
export type DiskSite =
  | Place<"plain" | "file" | "sharedfile" | "blockdev" | "rbd" | "ext">
  | Omit<Place<"gluster">, "instanceUuid">
  /** Volume groups of the two volumes. */
  | { readonly template: "drbd"; readonly data: string; readonly metadata: string };

/** A disk as it is asked for. */
export interface NewDisk {
  /** Its place among its instance's. */
  readonly index: number;
  readonly name: string | null;
  readonly sizeMib: number;
  readonly mode: "ro" | "rw";
  readonly spindles: number | null;
  /** Those it sets itself. */
  readonly params: Parameters;
  readonly site: DiskSite;
}

/** What is drawn by lot for one disk, once, so that a commit that is tried again writes the same rows. */
export interface DiskIdentity {
  readonly uuid: DiskUuid;
  /** Of a DRBD disk's volumes: data, then metadata. */
  readonly children: readonly [DiskUuid, DiskUuid];
  /** Of a DRBD disk. */
  readonly secret: string;
}

export function newDiskIdentity(): DiskIdentity {
  const uuid = () => randomUUID() as DiskUuid;
  return { uuid: uuid(), children: [uuid(), uuid()], secret: randomBytes(DRBD_SECRET_BYTES).toString("hex") };
}

/** Whose the disks are to be, and where. */
export interface DiskHome {
  readonly instance: InstanceUuid;
  readonly primary: NodeUuid;
  /** For templates that need one. */
  readonly secondary: NodeUuid | null;
  /** Seconds since 1970. */
  readonly ctime: number;
}

/**
 * The changes that add disks, with the TCP ports and DRBD minors that they need, which are taken from the view they
 * are worked out on. The cluster's row is among them when a port is: two commits never take the same.
 * @throws OpPrereqError (insufficient_resources) when there is no port or minor left
 */
export function addedDisks(
  view: ConfigView,
  home: DiskHome,
  disks: readonly NewDisk[],
  identities: readonly DiskIdentity[],
): readonly ConfigChange[] {
  let ports: PortState = view.cluster;
  let inUse: MinorsInUse | undefined;
  const changes = disks.map((disk, position): ConfigChange => {
    const identity = identities[position] ?? newDiskIdentity();
    const { site } = disk;
    if (site.template !== "drbd") return { kind: "disk", put: singleDisk(home, disk, identity, placeOf(site, home)) };
    const { port, state } = allocatePort(ports);
    ports = state;
    const nodes = pairOf(home);
    inUse ??= drbdMinorsInUse(view.disks.values());
    const [first, second] = allocateMinors(view, inUse, nodes);
    inUse = second.inUse;
    const minors = [first.minor, second.minor] as const;
    const place = { template: "drbd", nodes, port, minors, secret: identity.secret } as const;
    return { kind: "disk", put: drbdDisk(home, disk, identity, { place, groups: site }) };
  });
  return ports === view.cluster ? changes : [...changes, { kind: "cluster", put: { ...view.cluster, ...ports } }];
}

/** A free minor on each of two nodes. @throws OpPrereqError (insufficient_resources) */
export function allocateMinors(view: ConfigView, inUse: MinorsInUse, [a, b]: readonly [NodeUuid, NodeUuid]) {
  const nameOf = (node: NodeUuid) => view.nodes.get(node)?.name ?? node;
  const first = allocateMinor(inUse, a, nameOf(a));
  return [first, allocateMinor(first.inUse, b, nameOf(b))] as const;
}

function placeOf(site: Exclude<DiskSite, { readonly template: "drbd" }>, home: DiskHome): DiskPlace {
  return site.template === "gluster" ? { ...site, instanceUuid: home.instance } : site;
}

function pairOf({ primary, secondary }: DiskHome): readonly [NodeUuid, NodeUuid] {
  if (secondary === null) throw new Error("a DRBD disk needs a secondary node");
  return [primary, secondary];
}

function singleDisk(home: DiskHome, disk: NewDisk, { uuid }: DiskIdentity, place: DiskPlace): Disk {
  return {
    uuid,
    name: disk.name,
    template: place.template,
    logicalId: [...logicalIdOf(place, uuid, disk.index)],
    children: [],
    nodes: [home.primary],
    ivName: diskIvName(disk.index),
    sizeMib: disk.sizeMib,
    mode: disk.mode,
    spindles: disk.spindles,
    params: disk.params,
    ctime: home.ctime,
    mtime: home.ctime,
    serialNo: 0,
  };
}

function drbdDisk(
  home: DiskHome,
  disk: NewDisk,
  identity: DiskIdentity,
  { place, groups }: { readonly place: Place<"drbd">; readonly groups: { readonly data: string; metadata: string } },
): Disk {
  const { data, metadata } = drbdVolumesOf(groups, identity.uuid, disk.index);
  const volume = (uuid: DiskUuid, logicalId: LogicalId, sizeMib: number): ChildDisk => ({
    uuid,
    name: null,
    template: "plain",
    logicalId: [...logicalId],
    nodes: [...place.nodes],
    ivName: "",
    sizeMib,
    mode: "rw",
    spindles: null,
    params: {},
  });
  return {
    ...singleDisk(home, disk, identity, place),
    nodes: [...place.nodes],
    children: [
      volume(identity.children[0], data, disk.sizeMib),
      volume(identity.children[1], metadata, DRBD_METADATA_MIB),
    ],
  };
}

/** Where a disk is and how large; all of its row that an operation on its devices changes, and nothing secret. */
export const diskShape = z.object({
  disk: diskUuid,
  sizeMib: z.int(),
  mode: z.enum(["ro", "rw"]),
  spindles: z.int().nullable(),
  nodes: z.array(nodeUuid),
  /** Of a DRBD disk, in the order of its nodes in the logical id. */
  pair: z.object({ nodes: z.tuple([nodeUuid, nodeUuid]), minors: z.tuple([z.int(), z.int()]) }).nullable(),
});
export type DiskShape = z.infer<typeof diskShape>;

export function shapeOf(disk: Disk): DiskShape {
  const { uuid, sizeMib, mode, spindles, nodes } = disk;
  const id = disk.template === "drbd" ? drbdIdOf(disk) : null;
  const pair: DiskShape["pair"] = id && { nodes: [...id.nodes], minors: [...id.minors] };
  return { disk: uuid, sizeMib, mode, spindles, nodes: [...nodes], pair };
}

/** The row with another shape; its port, its secret and the names of its volumes stay. */
export function withShape(disk: Disk, { sizeMib, mode, spindles, nodes, pair }: DiskShape): Disk {
  const changed = { ...disk, sizeMib, mode, spindles, nodes };
  if (pair === null) return changed;
  const { port, secret } = drbdIdOf(disk);
  const children = disk.children.map((child, position) => ({
    ...child,
    nodes: [...pair.nodes],
    sizeMib: position === 0 ? sizeMib : child.sizeMib,
  }));
  return { ...changed, children, logicalId: [...pair.nodes, port, ...pair.minors, secret] };
}

/** The changes that give disks these shapes; those that are gone are left out. */
export function reshapedDisks(view: ConfigView, shapes: readonly DiskShape[]): readonly ConfigChange[] {
  return shapes.flatMap((shape): ConfigChange[] => {
    const row = view.disks.get(shape.disk);
    return row === undefined ? [] : [{ kind: "disk", put: withShape(row, shape) }];
  });
}
