/** Where an instance's disks are: each disk, and the nodes that hold an end of it. */
import { type ConfigView, DISK_TEMPLATE_TRAITS, type Disk, type Instance, type NodeUuid } from "@gannet/objects";
import type { BlockDevice } from "@gannet/rpc";
import { blockDeviceMessage, type DiskOwner } from "./messages.ts";

/** A disk with its place among its instance's. */
export interface PlacedDisk {
  readonly index: number;
  readonly disk: Disk;
}

/** A disk as one node has it. */
export interface DiskEnd extends PlacedDisk {
  readonly node: NodeUuid;
  readonly role: "primary" | "secondary";
  readonly device: BlockDevice;
  /** `disk/0 on node2.example.com`, for messages. */
  readonly title: string;
}

export function placedDisks(view: ConfigView, instance: Instance): readonly PlacedDisk[] {
  return view.disksOf(instance).map((disk, index) => ({ index, disk }));
}

/** The nodes that have to do with a disk, the primary first: both of a mirrored one's, else the primary alone. */
export function nodesOfDisk({ primaryNode }: DiskOwner, { template, nodes }: Pick<Disk, "template" | "nodes">) {
  if (DISK_TEMPLATE_TRAITS[template].mirroring !== "internal") return [primaryNode];
  return [primaryNode, ...nodes.filter((node) => node !== primaryNode)];
}

/** The ends of a disk, that on the primary node first. */
export function endsOf(view: ConfigView, owner: DiskOwner, { index, disk }: PlacedDisk): readonly DiskEnd[] {
  return nodesOfDisk(owner, disk).map((node) => ({
    index,
    disk,
    node,
    role: node === owner.primaryNode ? "primary" : "secondary",
    device: blockDeviceMessage(view, owner, disk, index, node),
    title: `disk/${index} on ${view.nodes.get(node)?.name ?? node}`,
  }));
}
