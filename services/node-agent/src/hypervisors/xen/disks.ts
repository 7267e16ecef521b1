/** How a guest's disks are described to Xen (spec/node-ops.json, `hv.xen.cfg.disk`; xl-disk-configuration(5)). */
import type { GuestDisk, GuestSpec } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import { listPart } from "./config-value.ts";
import type { ToolstackKind } from "./toolstack.ts";
import type { XenParameters } from "./xen-parameters.ts";

/** Devices are called a to x. */
const MOST_DISKS = 24;
const FIRST_LETTER = "a".charCodeAt(0);
/** The CD-ROM drive, as Ganeti places it. */
const CDROM_DEVICE = "hdc";

/** By the first part of a file's logical id. */
const FILE_DRIVERS: Readonly<Record<string, string>> = {
  loop: "file",
  blktap: "tap:aio",
  blktap2: "tap2:tapdisk:aio",
};

/** `xl` knows an emulated disk by its name alone, and refuses the older command's way of saying so. */
const EMULATED_PREFIX: Readonly<Record<ToolstackKind, string>> = { xl: "hd", xm: "ioemu:hd" };

/**
 * @param pathOf - where Xen shall find a disk: the same place on every node, because a migration takes the
 *   description along
 * @throws HypervisorError when Xen cannot have these disks
 */
export function diskEntries(
  guest: GuestSpec,
  params: XenParameters,
  options: { readonly kind: ToolstackKind; readonly pathOf: (disk: GuestDisk) => string },
): readonly string[] {
  if (guest.disks.length > MOST_DISKS)
    throw new HypervisorError(`Instance ${guest.name} has ${guest.disks.length} disks; Xen takes ${MOST_DISKS}`);
  const prefix = devicePrefix(params, options.kind);
  const disks = guest.disks.map((disk) => {
    const device = `${prefix}${String.fromCharCode(FIRST_LETTER + disk.index)}`;
    const mode = disk.access === "rw" ? "w" : "r";
    return [
      `${driverOf(disk)}:${listPart("The disk", options.pathOf(disk))}`,
      listPart("blockdev_prefix", device),
      mode,
    ];
  });
  const all = [...disks, ...cdrom(params)];
  const devices = all.map(([, device = ""]) => device.replace(/^ioemu:|:cdrom$/g, ""));
  const twice = devices.find((device, index) => devices.indexOf(device) !== index);
  if (twice !== undefined)
    throw new HypervisorError(`Instance ${guest.name}: ${twice} would be both a disk and the CD-ROM drive`);
  return all.map((parts) => parts.join(","));
}

function cdrom(params: XenParameters): readonly (readonly string[])[] {
  if (params.hypervisor !== "xen-hvm" || params.cdrom_image_path === "") return [];
  return [[`file:${listPart("cdrom_image_path", params.cdrom_image_path)}`, `${CDROM_DEVICE}:cdrom`, "r"]];
}

function devicePrefix(params: XenParameters, kind: ToolstackKind): string {
  if (params.hypervisor === "xen-pvm") return params.blockdev_prefix;
  return params.disk_type === "ioemu" ? EMULATED_PREFIX[kind] : "xvd";
}

/** @throws HypervisorError for a file driver that is none */
function driverOf({ index, kind, format, fileDriver = "loop" }: GuestDisk): string {
  if (kind === "block") return "phy";
  if (format === "qcow2") return "qcow2";
  const driver = Object.hasOwn(FILE_DRIVERS, fileDriver) ? FILE_DRIVERS[fileDriver] : undefined;
  if (driver === undefined) throw new HypervisorError(`Disk ${index}: Xen has no file driver ${fileDriver}`);
  return driver;
}
