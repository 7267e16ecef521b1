/** Disks, CD-ROM drives and the floppy drive. */
import type { GuestDisk } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import { isImageUrl } from "@gannet/objects";
import type { LaunchPlan } from "../launch-plan.ts";
import { deviceId, json } from "./argument.ts";
import { bootIndex } from "./boot-order.ts";
import type { DeviceSlots } from "./device-slots.ts";
import { diskSource, mayBeCached } from "./disk-source.ts";
import { SCSI_CONTROLLER, SCSI_CONTROLLERS } from "./scsi-controllers.ts";

/** Ganeti's name of a bus to what is plugged in there. `scsi` is the old name of `scsi-hd`. */
const DISK_DEVICES: Readonly<Record<string, { readonly driver: string; readonly bus: "pci" | "ide" | "scsi" }>> = {
  paravirtual: { driver: "virtio-blk-pci", bus: "pci" },
  ide: { driver: "ide-hd", bus: "ide" },
  scsi: { driver: "scsi-hd", bus: "scsi" },
  "scsi-hd": { driver: "scsi-hd", bus: "scsi" },
  "scsi-cd": { driver: "scsi-cd", bus: "scsi" },
  "scsi-block": { driver: "scsi-block", bus: "scsi" },
  "scsi-generic": { driver: "scsi-generic", bus: "scsi" },
};
/** ATA knows no disk that cannot be written, so qemu takes none. */
const ALWAYS_WRITABLE: ReadonlySet<string> = new Set(["ide-hd"]);
/** Whatever the disks on a SCSI bus are, a CD-ROM there is a `scsi-cd`. */
const CDROM_DEVICES: typeof DISK_DEVICES = {
  paravirtual: { driver: "virtio-blk-pci", bus: "pci" },
  ide: { driver: "ide-cd", bus: "ide" },
  scsi: { driver: "scsi-cd", bus: "scsi" },
  "scsi-hd": { driver: "scsi-cd", bus: "scsi" },
  "scsi-cd": { driver: "scsi-cd", bus: "scsi" },
  "scsi-block": { driver: "scsi-cd", bus: "scsi" },
  "scsi-generic": { driver: "scsi-cd", bus: "scsi" },
};

/** Ganeti takes tftp as well, which qemu has given up. */
const URL_DRIVERS: ReadonlySet<string> = new Set(["http", "https", "ftp", "ftps"]);

/** spec/node-ops.json, `hv.kvm.disk`: the guest's write cache, and whether the node's is passed by. */
const CACHE_MODES: Readonly<Record<string, { readonly writeCache: "on" | "off"; readonly direct: boolean }>> = {
  default: { writeCache: "on", direct: false },
  writeback: { writeCache: "on", direct: false },
  writethrough: { writeCache: "off", direct: false },
  none: { writeCache: "on", direct: true },
};

/** The controller, when anything needs it. @throws HypervisorError */
export function scsiControllerArgv(plan: LaunchPlan, slots: DeviceSlots): readonly string[] {
  const cdroms = cdromImages(plan).map(() => cdromDevice(plan).bus);
  const disks = plan.guest.disks.map(() => diskDevice(plan).bus);
  // A controller whose last drive was unplugged is still there.
  if (![...cdroms, ...disks].includes("scsi") && !slots.had(SCSI_CONTROLLER)) return [];
  const controller = SCSI_CONTROLLERS[plan.params.scsi_controller_type];
  if (controller === undefined)
    throw new HypervisorError(`scsi_controller_type: ${plan.params.scsi_controller_type} is unknown`);
  return ["-device", json({ driver: controller.driver, id: SCSI_CONTROLLER, ...slots.pci(SCSI_CONTROLLER) })];
}

/** @throws HypervisorError for a `disk_type` that qemu no longer has, a disk it cannot be, or when a bus is full */
export function diskArgv(plan: LaunchPlan, slots: DeviceSlots): readonly string[] {
  return plan.guest.disks.flatMap((disk, position) => {
    const id = deviceId("disk", disk.uuid);
    const { driver, bus } = diskDevice(plan);
    if (disk.access === "ro" && ALWAYS_WRITABLE.has(driver)) {
      throw new HypervisorError(
        `Disk ${disk.index} is read-only, which disks of type ${plan.params.disk_type} cannot be; ` +
          "set disk_type to paravirtual or scsi-hd",
      );
    }
    const device = {
      driver,
      id,
      ...slots[bus](id),
      drive: id,
      // Devices that pass SCSI commands through leave the cache to the disk behind them.
      ...(driver === "scsi-block" || driver === "scsi-generic"
        ? {}
        : { "write-cache": cacheMode(plan, disk).writeCache }),
      ...(position === 0 ? bootIndex(plan, "disk") : {}),
    };
    return ["-blockdev", json(diskNode(plan, disk, id)), "-device", json(device)];
  });
}

function diskNode(plan: LaunchPlan, disk: GuestDisk, id: string): Readonly<Record<string, unknown>> {
  return {
    driver: disk.format,
    "node-name": id,
    "read-only": disk.access === "ro",
    discard: plan.params.disk_discard,
    cache: { direct: cacheMode(plan, disk).direct, "no-flush": false },
    file: diskSource(disk, plan.params),
  };
}

/** @throws HypervisorError */
export function cdromArgv(plan: LaunchPlan, slots: DeviceSlots): readonly string[] {
  return cdromImages(plan).flatMap((image, position) => {
    const id = `cdrom-${position}`;
    const { driver, bus } = cdromDevice(plan);
    const node = { driver: "raw", "node-name": id, "read-only": true, file: imageSource(image) };
    const device = { driver, id, ...slots[bus](id), drive: id, ...(position === 0 ? bootIndex(plan, "cdrom") : {}) };
    return ["-blockdev", json(node), "-device", json(device)];
  });
}

/** @throws HypervisorError for a protocol that qemu no longer speaks */
function imageSource(image: string): Readonly<Record<string, unknown>> {
  if (!isImageUrl(image)) return { driver: "file", filename: image };
  const driver = new URL(image).protocol.slice(0, -1);
  if (URL_DRIVERS.has(driver)) return { driver, url: image };
  throw new HypervisorError(`cdrom_image_path: qemu reads images by ${[...URL_DRIVERS].join(", ")}, not by ${driver}`);
}

export function floppyArgv(plan: LaunchPlan, machine: { readonly hasFloppyController: boolean }): readonly string[] {
  const image = plan.params.floppy_image_path;
  if (image === "") return [];
  const controller = machine.hasFloppyController ? [] : ["-device", json({ driver: "isa-fdc", id: "fdc" })];
  const node = { driver: "raw", "node-name": "floppy-0", "read-only": true, file: { driver: "file", filename: image } };
  const device = { driver: "floppy", id: "floppy-0", drive: "floppy-0" };
  // A drive's place in the boot order is its controller's to say, which a pc has without being told.
  const { bootindex } = bootIndex(plan, "floppy");
  const order = bootindex === undefined ? [] : ["-global", `isa-fdc.bootindexA=${bootindex}`];
  return [...order, ...controller, "-blockdev", json(node), "-device", json(device)];
}

function cdromImages({ params }: LaunchPlan): readonly string[] {
  return [params.cdrom_image_path, params.cdrom2_image_path].filter((image) => image !== "");
}

function diskDevice({ params }: LaunchPlan) {
  return deviceOf(DISK_DEVICES, "disk_type", params.disk_type);
}

function cdromDevice({ params }: LaunchPlan) {
  return deviceOf(CDROM_DEVICES, "cdrom_disk_type", params.cdrom_disk_type || params.disk_type);
}

function deviceOf(table: typeof DISK_DEVICES, parameter: string, type: string) {
  const device = table[type];
  if (device !== undefined) return device;
  throw new HypervisorError(`${parameter}: ${type} is not supported; use one of ${Object.keys(table).join(", ")}`);
}

function cacheMode({ params }: LaunchPlan, disk: GuestDisk) {
  const mode = CACHE_MODES[mayBeCached(disk) ? params.disk_cache : "none"];
  if (mode === undefined) throw new HypervisorError(`disk_cache: ${params.disk_cache} is unknown`);
  return mode;
}
