/** What each disk template is and can do, and how its devices are named (spec/config.json, `disk_templates`). */
import type { DiskTemplate, NodeUuid, StorageType } from "./names.ts";

export interface DiskTemplateTraits {
  readonly storageType: StorageType;
  /** `internal`: the template keeps a second copy itself (DRBD). `external`: every node sees the same data. */
  readonly mirroring: "none" | "internal" | "external";
  readonly migratable: boolean;
  readonly needsSecondary: boolean;
  readonly growable: boolean;
  /** An instance can be moved by copying its disks. */
  readonly copyable: boolean;
  readonly snapshotForExport: boolean;
  /** Whether existing devices may or must be taken instead of new ones being made. */
  readonly adopt: "no" | "may" | "must";
  readonly usesLvm: boolean;
  readonly isBlockDevice: boolean;
  readonly isFileBased: boolean;
  readonly exclusiveStorage: boolean;
  readonly userspaceAccess: boolean;
  /** Free space is known to the cluster and compared before a disk is made. */
  readonly checksFreeSpace: boolean;
  readonly convertFrom: boolean;
  readonly convertTo: boolean;
}

const NONE: DiskTemplateTraits = {
  storageType: "diskless",
  mirroring: "none",
  migratable: false,
  needsSecondary: false,
  growable: false,
  copyable: false,
  snapshotForExport: false,
  adopt: "no",
  usesLvm: false,
  isBlockDevice: false,
  isFileBased: false,
  exclusiveStorage: false,
  userspaceAccess: false,
  checksFreeSpace: true,
  convertFrom: false,
  convertTo: false,
};
const CONVERTIBLE = { convertFrom: true, convertTo: true } as const;
const SHARED = { mirroring: "external", migratable: true } as const;

export const DISK_TEMPLATE_TRAITS: Readonly<Record<DiskTemplate, DiskTemplateTraits>> = {
  diskless: { ...NONE, ...SHARED },
  plain: {
    ...NONE,
    ...CONVERTIBLE,
    storageType: "lvm-vg",
    growable: true,
    copyable: true,
    snapshotForExport: true,
    adopt: "may",
    usesLvm: true,
    isBlockDevice: true,
    exclusiveStorage: true,
  },
  drbd: {
    ...NONE,
    ...CONVERTIBLE,
    storageType: "lvm-vg",
    mirroring: "internal",
    migratable: true,
    needsSecondary: true,
    growable: true,
    snapshotForExport: true,
    usesLvm: true,
    isBlockDevice: true,
  },
  file: {
    ...NONE,
    ...CONVERTIBLE,
    storageType: "file",
    growable: true,
    copyable: true,
    isFileBased: true,
    checksFreeSpace: false,
  },
  sharedfile: {
    ...NONE,
    ...CONVERTIBLE,
    ...SHARED,
    storageType: "sharedfile",
    growable: true,
    isFileBased: true,
    checksFreeSpace: false,
  },
  blockdev: { ...NONE, ...SHARED, storageType: "blockdev", adopt: "must", isBlockDevice: true, convertFrom: true },
  rbd: {
    ...NONE,
    ...CONVERTIBLE,
    ...SHARED,
    storageType: "rados",
    growable: true,
    isBlockDevice: true,
    userspaceAccess: true,
    checksFreeSpace: false,
  },
  ext: {
    ...NONE,
    ...CONVERTIBLE,
    ...SHARED,
    storageType: "ext",
    growable: true,
    snapshotForExport: true,
    isBlockDevice: true,
    userspaceAccess: true,
    checksFreeSpace: false,
  },
  gluster: {
    ...NONE,
    ...CONVERTIBLE,
    ...SHARED,
    storageType: "gluster",
    growable: true,
    isFileBased: true,
    userspaceAccess: true,
    checksFreeSpace: false,
  },
};

export const MAX_DISKS = 16;
/** How a file becomes a disk of a guest; only Xen knows others than `loop`. */
export const FILE_DRIVERS = ["loop", "blktap", "blktap2"] as const;
export type FileDriver = (typeof FILE_DRIVERS)[number];
/** Size of a DRBD disk's metadata volume. */
export const DRBD_METADATA_MIB = 128;

/** The name of a disk inside its instance: `disk/0`. */
export function diskIvName(index: number): string {
  return `disk/${index}`;
}

/** Space that one disk takes on a node, in MiB; nothing where the cluster does not provide it. */
export function diskUsageMib(template: DiskTemplate, sizeMib: number): number {
  if (template === "drbd") return sizeMib + DRBD_METADATA_MIB;
  return template === "diskless" || template === "blockdev" ? 0 : sizeMib;
}

/** Where a new disk's device is to be; what each template needs to know (spec/config.json, `logical_id`). */
export type DiskPlace =
  | { readonly template: "plain"; readonly volumeGroup: string }
  | {
      readonly template: "drbd";
      readonly nodes: readonly [NodeUuid, NodeUuid];
      readonly port: number;
      readonly minors: readonly [number, number];
      readonly secret: string;
    }
  | { readonly template: "file" | "sharedfile"; readonly driver: FileDriver; readonly directory: string }
  | {
      readonly template: "gluster";
      readonly driver: FileDriver;
      readonly mountPoint: string;
      readonly instanceUuid: string;
    }
  | { readonly template: "blockdev"; readonly path: string }
  | { readonly template: "rbd" }
  | { readonly template: "ext"; readonly provider: string };

export type LogicalId = readonly (string | number)[];

/**
 * What names a new disk's device on its nodes (spec/config.json, `logical_id` and `disk_naming`).
 * @param unique - a UUID made for this disk's name, so that no two devices ever share one
 * @param index - the disk's place in its instance, from 0
 */
export function logicalIdOf(place: DiskPlace, unique: string, index: number): LogicalId {
  switch (place.template) {
    case "plain":
      return [place.volumeGroup, `${unique}.disk${index}`];
    case "drbd":
      return [...place.nodes, place.port, ...place.minors, place.secret];
    case "file":
    case "sharedfile":
      return [place.driver, `${place.directory}/${unique}.${place.template}.disk${index}`];
    case "gluster":
      return [place.driver, `${place.mountPoint}/ganeti/${place.instanceUuid}.${index}`];
    case "blockdev":
      return ["manual", place.path];
    case "rbd":
      return ["rbd", `${unique}.rbd.disk${index}`];
    case "ext":
      return [place.provider, `${unique}.ext.disk${index}`];
  }
}

/** The volumes below a DRBD disk: data, then metadata. */
export function drbdVolumesOf(
  groups: { readonly data: string; readonly metadata: string },
  unique: string,
  index: number,
): { readonly data: LogicalId; readonly metadata: LogicalId } {
  return {
    data: [groups.data, `${unique}.disk${index}_data`],
    metadata: [groups.metadata, `${unique}.disk${index}_meta`],
  };
}
