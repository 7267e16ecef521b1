/** The disks of a new instance: the opcode's list checked against its template. Pure. */
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import { type ConfigView, type DiskTemplate, MAX_DISKS } from "@gannet/objects";
import type { InstanceCreate, Op } from "@gannet/opcodes";

type CreateOp = Op<typeof InstanceCreate>;

export interface PlannedDisk {
  readonly index: number;
  readonly name: string | null;
  readonly sizeMib: number;
  readonly mode: "ro" | "rw";
  readonly spindles: number | null;
  /** Folder of the disk's file, for templates that keep files. */
  readonly folder: string;
}

const COMMON_KEYS = ["size", "mode", "name", "spindles"];

/** @throws OpPrereqError (wrong_input) */
export function plannedDisks(op: CreateOp, template: DiskTemplate, view: ConfigView): readonly PlannedDisk[] {
  if (template === "diskless" && op.disks.length > 0)
    throw new OpPrereqError("Disks were given for an instance of template diskless", "wrong_input");
  if (template !== "diskless" && op.disks.length === 0)
    throw new OpPrereqError(`An instance of template ${template} needs at least one disk`, "wrong_input");
  if (op.disks.length > MAX_DISKS)
    throw new OpPrereqError(`${op.disks.length} disks were given; the most is ${MAX_DISKS}`, "wrong_input");
  if (op.file_driver && op.file_driver !== "loop")
    throw new OpPrereqError(`File driver ${op.file_driver} is not supported; use loop`, "wrong_input");
  const folder = fileFolder(op, template, view);
  const names = new Set<string>();
  return op.disks.map((disk, index) => {
    const foreign = Object.keys(disk).find((key) => !COMMON_KEYS.includes(key) && disk[key] !== null);
    if (foreign !== undefined)
      throw new OpPrereqError(`Disk ${index}: '${foreign}' has no meaning for template ${template}`, "wrong_input");
    if (typeof disk.size !== "number") throw new OpPrereqError(`Disk ${index}: its size is missing`, "wrong_input");
    const name = disk.name ?? null;
    if (name !== null && names.has(name))
      throw new OpPrereqError(`Disk ${index}: the name '${name}' is used twice`, "wrong_input");
    if (name !== null) names.add(name);
    return { index, name, sizeMib: disk.size, mode: disk.mode ?? "rw", spindles: disk.spindles ?? null, folder };
  });
}

/** `<cluster's folder>/[file_storage_dir/]<instance>` (spec/config.json, `disk_naming`). */
function fileFolder(op: CreateOp, template: DiskTemplate, view: ConfigView): string {
  const { fileStorageDir, sharedFileStorageDir } = view.cluster;
  const root = template === "sharedfile" ? sharedFileStorageDir : fileStorageDir;
  const below = op.file_storage_dir ?? "";
  if (path.posix.isAbsolute(below) || below.split("/").includes(".."))
    throw new OpPrereqError(`file_storage_dir '${below}' must be a relative path without '..'`, "wrong_input");
  return path.posix.join(root, below, op.instance_name);
}
