/** Whether nodes have room for what disks need there. Pure. */
import { OpPrereqError } from "@gannet/errors";
import {
  type ConfigView,
  DISK_TEMPLATE_TRAITS,
  type Disk,
  DRBD_METADATA_MIB,
  type InstanceUuid,
  type Node,
  type StorageType,
} from "@gannet/objects";
import type { NodeState } from "@gannet/rpc";
import type { DiskSite } from "./disk-rows.ts";
import { hasExclusiveStorage } from "./exclusive-storage.ts";

/** Room of one storage unit that is needed on each node of a disk. */
export interface SpaceNeed {
  readonly type: StorageType;
  /** Null: the node has one unit of the type. */
  readonly name: string | null;
  readonly sizeMib: number;
  /** Of a whole new volume, how many physical volumes it takes where it has them for itself. */
  readonly spindles?: number;
}

/** What a new disk needs; nothing where no node answers for its storage. */
export function newDiskNeeds({
  site,
  sizeMib,
  spindles = null,
}: {
  readonly site: DiskSite;
  readonly sizeMib: number;
  readonly spindles?: number | null;
}): readonly SpaceNeed[] {
  switch (site.template) {
    case "plain":
      return [{ ...volume(site.volumeGroup, sizeMib), spindles: spindles ?? FEWEST_SPINDLES }];
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
  const own = growthNeeds(disk, disk.sizeMib);
  if (disk.template !== "plain") return [...own, ...metadata];
  return own.map((need) => ({ ...need, spindles: disk.spindles ?? FEWEST_SPINDLES }));
}

/** Of a disk of which it is not known how many it has. */
const FEWEST_SPINDLES = 1;

function volume(group: string, sizeMib: number): SpaceNeed {
  return { type: "lvm-vg", name: group, sizeMib };
}

function file(template: "file" | "sharedfile", sizeMib: number): SpaceNeed {
  return { type: DISK_TEMPLATE_TRAITS[template].storageType, name: null, sizeMib };
}

/** What forthcoming instances have been promised on a node, where nobody can measure it yet. */
function promisedNeeds(view: ConfigView, { uuid }: Node, except: InstanceUuid | undefined): readonly SpaceNeed[] {
  return [...view.primaryInstances(uuid), ...view.secondaryInstances(uuid)]
    .filter((instance) => instance.forthcoming && instance.uuid !== except)
    .flatMap((instance) => view.disksOf(instance))
    .filter(({ template }) => DISK_TEMPLATE_TRAITS[template].mirroring !== "external")
    .flatMap(recreationNeeds);
}

const unitOf = ({ type, name }: SpaceNeed): string => `${type} ${name ?? ""}`;
const totalSpindles = (needs: readonly SpaceNeed[]): number =>
  needs.reduce((sum, { spindles = 0 }) => sum + spindles, 0);
const totalMib = (needs: readonly SpaceNeed[]): number => needs.reduce((sum, { sizeMib }) => sum + sizeMib, 0);

/**
 * @param needs - those of one unit are added up; what is promised to forthcoming instances is not there for them
 * @param except - the forthcoming instance whose own promise is being kept
 * @throws OpPrereqError: insufficient_resources, or environment_error when the node has no such storage at all
 */
export function checkDiskSpace(
  view: ConfigView,
  node: Node,
  { storage }: NodeState,
  needs: readonly SpaceNeed[],
  { except }: { readonly except?: InstanceUuid | undefined } = {},
): void {
  const promised = Map.groupBy(promisedNeeds(view, node, except), unitOf);
  for (const [unitKey, ofUnit] of Map.groupBy(needs, unitOf)) {
    const [{ type, name } = { type: "", name: null }] = ofUnit;
    const neededMib = totalMib(ofUnit);
    const promisedMib = totalMib(promised.get(unitKey) ?? []);
    const unit = storage.find((each) => each.type === type && (name === null || each.name === name));
    if (unit === undefined)
      throw new OpPrereqError(
        `Node ${node.name} has no storage of type ${type}${name === null ? "" : ` named '${name}'`}`,
        "environment_error",
      );
    if (unit.freeMib - promisedMib < neededMib)
      throw new OpPrereqError(
        `Not enough disk space on node ${node.name} (${unit.name}): needed ${neededMib} MiB, available ${unit.freeMib} MiB` +
          (promisedMib === 0 ? "" : `, of which ${promisedMib} MiB are promised to forthcoming instances`),
        "insufficient_resources",
      );
    if (type === "lvm-vg" && hasExclusiveStorage(view, node.uuid))
      checkSpindles(node, storage, unit.name, totalSpindles(ofUnit) + totalSpindles(promised.get(unitKey) ?? []));
  }
}

/** @throws OpPrereqError (insufficient_resources) */
function checkSpindles(node: Node, storage: NodeState["storage"], volumeGroup: string, needed: number): void {
  const free = storage.find(({ type, name }) => type === "lvm-pv" && name === volumeGroup)?.freeMib ?? 0;
  if (free < needed)
    throw new OpPrereqError(
      `Not enough spindles on node ${node.name} (${volumeGroup}): needed ${needed} empty physical volumes, available ${free}`,
      "insufficient_resources",
    );
}
