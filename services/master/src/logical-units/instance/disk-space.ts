/** Whether nodes have room for what disks need there. Pure. */
import { OpPrereqError } from "@gannet/errors";
import { DISK_TEMPLATE_TRAITS, type Disk, DRBD_METADATA_MIB, type Node, type StorageType } from "@gannet/objects";
import type { NodeState } from "@gannet/rpc";
import type { DiskSite } from "./disk-rows.ts";

/** Room of one storage unit that is needed on each node of a disk. */
export interface SpaceNeed {
  readonly type: StorageType;
  /** Null: the node has one unit of the type. */
  readonly name: string | null;
  readonly sizeMib: number;
}

/** What a new disk needs; nothing where no node answers for its storage. */
export function newDiskNeeds({
  site,
  sizeMib,
}: {
  readonly site: DiskSite;
  readonly sizeMib: number;
}): readonly SpaceNeed[] {
  switch (site.template) {
    case "plain":
      return [volume(site.volumeGroup, sizeMib)];
    case "drbd":
      return [volume(site.data, sizeMib), volume(site.metadata, DRBD_METADATA_MIB)];
    case "file":
    case "sharedfile":
      return [file(site.template, sizeMib)];
    default:
      return [];
  }
}

/** What an existing disk needs to grow; nothing where no node answers for its storage. */
export function growthNeeds({ template, logicalId, children }: Disk, growthMib: number): readonly SpaceNeed[] {
  switch (template) {
    case "plain":
      return [volume(String(logicalId[0]), growthMib)];
    case "drbd":
      return [volume(String(children[0]?.logicalId[0]), growthMib)];
    case "file":
    case "sharedfile":
      return [file(template, growthMib)];
    default:
      return [];
  }
}

/** What a disk needs that is made again from nothing. */
export function recreationNeeds(disk: Disk): readonly SpaceNeed[] {
  const metadata = disk.children.slice(1).map(({ logicalId, sizeMib }) => volume(String(logicalId[0]), sizeMib));
  return [...growthNeeds(disk, disk.sizeMib), ...metadata];
}

function volume(group: string, sizeMib: number): SpaceNeed {
  return { type: "lvm-vg", name: group, sizeMib };
}

function file(template: "file" | "sharedfile", sizeMib: number): SpaceNeed {
  return { type: DISK_TEMPLATE_TRAITS[template].storageType, name: null, sizeMib };
}

/**
 * @param needs - those of one unit are added up
 * @throws OpPrereqError: insufficient_resources, or environment_error when the node has no such storage at all
 */
export function checkDiskSpace(node: Node, { storage }: NodeState, needs: readonly SpaceNeed[]): void {
  for (const ofUnit of Map.groupBy(needs, ({ type, name }) => `${type} ${name ?? ""}`).values()) {
    const [{ type, name } = { type: "", name: null }] = ofUnit;
    const neededMib = ofUnit.reduce((sum, { sizeMib }) => sum + sizeMib, 0);
    const unit = storage.find((each) => each.type === type && (name === null || each.name === name));
    if (unit === undefined)
      throw new OpPrereqError(
        `Node ${node.name} has no storage of type ${type}${name === null ? "" : ` named '${name}'`}`,
        "environment_error",
      );
    if (unit.freeMib < neededMib)
      throw new OpPrereqError(
        `Not enough disk space on node ${node.name} (${unit.name}): needed ${neededMib} MiB, available ${unit.freeMib} MiB`,
        "insufficient_resources",
      );
  }
}
