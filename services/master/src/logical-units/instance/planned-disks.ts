/** The disks of a new instance, or of an old one in another template: what was asked, checked. Pure. */
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import {
  askedDeviceName,
  type ConfigView,
  checkDeviceName,
  DISK_PARAMETERS,
  DISK_TEMPLATE_TRAITS,
  type DiskTemplate,
  enforceTypes,
  type FileDriver,
  filledDiskparams,
  MAX_DISKS,
  type Node,
  type Parameters,
} from "@gannet/objects";
import type { InstanceCreate, Op } from "@gannet/opcodes";
import type { DiskSite, NewDisk } from "./disk-rows.ts";

/** One disk's settings as opcodes carry them. */
export type AskedDisk = Op<typeof InstanceCreate>["disks"][number];

/** What of an operation's parameters says where files of disks are. */
export interface FileSettings {
  readonly file_driver?: FileDriver | null | undefined;
  readonly file_storage_dir?: string | null | undefined;
}

export interface PlannedDisk extends NewDisk {
  /** The device that becomes this disk: a volume's name, or a path; null when a new one is made. */
  readonly adopt: string | null;
}

/** Below it are the paths of block devices that may be adopted. */
const ADOPTABLE_ROOT = "/dev/disk/";

const COMMON_KEYS = ["size", "mode", "name", "spindles", "dev_type"];
/** Of an `ext` disk, whatever else there is goes to its provider. */
const OWN_KEYS: Readonly<Record<DiskTemplate, readonly string[]>> = {
  blockdev: ["adopt"],
  diskless: [],
  drbd: ["vg", "metavg"],
  ext: ["provider", "access"],
  file: [],
  gluster: ["access"],
  plain: ["vg", "adopt"],
  rbd: ["access"],
  sharedfile: [],
};

export interface DiskPlan {
  readonly template: DiskTemplate;
  readonly instanceName: string;
  /** Where the primary end is to be. */
  readonly primary: Node;
  readonly files: FileSettings;
}

/** @throws OpPrereqError (wrong_input) naming the disk; TypeEnforcementError on a parameter's value */
export function plannedDisks(view: ConfigView, asked: readonly AskedDisk[], plan: DiskPlan): readonly PlannedDisk[] {
  const { template } = plan;
  if (template === "diskless" && asked.length > 0)
    throw new OpPrereqError("Disks were given for an instance of template diskless", "wrong_input");
  if (template !== "diskless" && asked.length === 0)
    throw new OpPrereqError(`An instance of template ${template} needs at least one disk`, "wrong_input");
  if (asked.length > MAX_DISKS)
    throw new OpPrereqError(`${asked.length} disks were given; the most is ${MAX_DISKS}`, "wrong_input");
  checkNames(asked);
  checkAdoption(asked, template);
  return asked.map((disk, index) => plannedDisk(view, disk, index, plan));
}

function plannedDisk(view: ConfigView, asked: AskedDisk, index: number, plan: DiskPlan): PlannedDisk {
  const { template } = plan;
  refuseForeignKeys(asked, index, template);
  const adopt = asked.adopt ?? null;
  if (adopt === null && typeof asked.size !== "number")
    throw new OpPrereqError(`Disk ${index}: its size is missing`, "wrong_input");
  return {
    index,
    name: askedDeviceName(asked.name),
    // Of an adopted device it is found out.
    sizeMib: adopt === null ? (asked.size ?? 0) : 0,
    mode: asked.mode ?? "rw",
    spindles: asked.spindles ?? null,
    params: { ...ownParameters(asked, index, template), ...fileFormat(view, plan) },
    site: siteOf(view, asked, index, plan),
    adopt,
  };
}

function checkNames(asked: readonly AskedDisk[]): void {
  const names = asked.flatMap(({ name }) => askedDeviceName(name) ?? []);
  for (const name of names) checkDeviceName(name);
  const twice = names.find((name, position) => names.indexOf(name) !== position);
  if (twice !== undefined) throw new OpPrereqError(`The disk name '${twice}' is used twice`, "wrong_input");
}

function checkAdoption(asked: readonly AskedDisk[], template: DiskTemplate): void {
  const adopted = asked.flatMap(({ adopt, vg }) => (adopt == null ? [] : [`${vg ?? ""}/${adopt}`]));
  const rule = DISK_TEMPLATE_TRAITS[template].adopt;
  if (rule === "no" && adopted.length > 0)
    throw new OpPrereqError(`Disks of template ${template} cannot be adopted`, "wrong_input");
  if (rule === "must" && adopted.length < asked.length)
    throw new OpPrereqError(`Disks of template ${template} are existing devices: each needs adopt`, "wrong_input");
  if (adopted.length > 0 && adopted.length < asked.length)
    throw new OpPrereqError("Either all disks are adopted or none", "wrong_input");
  if (new Set(adopted).size < adopted.length)
    throw new OpPrereqError("A device is to be adopted as two disks", "wrong_input");
}

function refuseForeignKeys(asked: AskedDisk, index: number, template: DiskTemplate): void {
  if (asked.dev_type !== undefined && asked.dev_type !== template)
    throw new OpPrereqError(
      `Disk ${index}: dev_type ${asked.dev_type} is not the instance's template, ${template}`,
      "wrong_input",
    );
  if (template === "ext") return;
  const known = [...COMMON_KEYS, ...OWN_KEYS[template]];
  const foreign = Object.keys(asked).find((key) => !known.includes(key) && asked[key] !== null);
  if (foreign !== undefined)
    throw new OpPrereqError(`Disk ${index}: '${foreign}' has no meaning for template ${template}`, "wrong_input");
}

/** `access`, and what an external provider is told. */
function ownParameters(asked: AskedDisk, index: number, template: DiskTemplate): Parameters {
  const access =
    asked.access === undefined
      ? {}
      : enforceTypes(`Disk ${index}: parameter`, DISK_PARAMETERS[template], { access: asked.access });
  if (template !== "ext") return access;
  const known = [...COMMON_KEYS, ...OWN_KEYS.ext];
  const foreign = Object.entries(asked).filter(([key]) => !known.includes(key));
  return { ...(Object.fromEntries(foreign) as Parameters), ...access };
}

/** Files are made in the format that is set now, and keep it; one that has none of its own is raw. */
function fileFormat(view: ConfigView, { template, primary }: DiskPlan): Parameters {
  const { format = "raw" } = filledDiskparams(view.cluster, view.groups.get(primary.group) ?? null, template);
  return format === "raw" ? {} : { format };
}

function siteOf(view: ConfigView, asked: AskedDisk, index: number, plan: DiskPlan): DiskSite {
  const { template, files } = plan;
  const driver = files.file_driver ?? "loop";
  switch (template) {
    case "plain":
      return { template, volumeGroup: asked.vg ?? mainVolumeGroup(view) };
    case "drbd": {
      const data = asked.vg ?? mainVolumeGroup(view);
      return { template, data, metadata: asked.metavg ?? metadataGroup(view, plan.primary) };
    }
    case "file":
    case "sharedfile":
      return { template, driver, directory: fileFolder(view, plan) };
    case "gluster":
      return { template, driver, mountPoint: view.cluster.glusterStorageDir };
    case "blockdev":
      return { template, path: adoptablePath(asked.adopt ?? "", index) };
    case "rbd":
      return { template };
    case "ext":
      if (asked.provider === undefined)
        throw new OpPrereqError(`Disk ${index}: its provider is missing`, "wrong_input");
      return { template, provider: asked.provider };
    case "diskless":
      throw new OpPrereqError("An instance of template diskless has no disks", "wrong_input");
  }
}

function mainVolumeGroup({ cluster }: ConfigView): string {
  if (cluster.volumeGroupName !== "") return cluster.volumeGroupName;
  throw new OpPrereqError("The cluster has no volume group; name one for each disk (vg)", "wrong_input");
}

/** Where the group or the cluster says that metadata go; else where data go. */
function metadataGroup(view: ConfigView, { group }: Node): string {
  const row = view.groups.get(group);
  const isSet = (row?.diskparams.drbd ?? view.cluster.diskparams.drbd)?.metavg !== undefined;
  const filled = filledDiskparams(view.cluster, row ?? null, "drbd").metavg;
  return isSet ? String(filled) : mainVolumeGroup(view);
}

function adoptablePath(asked: string, index: number): string {
  const normal = path.posix.normalize(asked);
  if (normal.startsWith(ADOPTABLE_ROOT) && normal.length > ADOPTABLE_ROOT.length) return normal;
  throw new OpPrereqError(
    `Disk ${index}: '${asked}' lies outside ${ADOPTABLE_ROOT}, where devices are adopted`,
    "wrong_input",
  );
}

/** `<cluster's folder>/[file_storage_dir/]<instance>` (spec/config.json, `disk_naming`). */
function fileFolder(view: ConfigView, { template, files, instanceName }: DiskPlan): string {
  const { fileStorageDir, sharedFileStorageDir } = view.cluster;
  const root = template === "sharedfile" ? sharedFileStorageDir : fileStorageDir;
  const below = files.file_storage_dir ?? "";
  if (path.posix.isAbsolute(below) || below.split("/").includes(".."))
    throw new OpPrereqError(`file_storage_dir '${below}' must be a relative path without '..'`, "wrong_input");
  return path.posix.join(root, below, instanceName);
}
