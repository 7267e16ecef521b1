/** What the target of a migration must know of a guest as it runs: written on the source, read on the target. */
import type { GuestSpec } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import type { Parameters } from "@gannet/objects";
import { z } from "zod";
import { guestSpecSchema } from "../../guest-spec-schema.ts";
import { devicePlaces } from "../argv/device-slots.ts";
import { sentFirmware } from "../firmware/uefi-firmware.ts";

const migrationInfo = z.strictObject({
  /** Raised when the form changes, so that an older or newer agent does not misread it. */
  version: z.literal(1),
  /** As it was started, with what was changed while it ran. */
  guest: guestSpecSchema,
  machine: z.string(),
  places: devicePlaces,
  accelerator: z.enum(["kvm", "tcg"]),
  /** Of a guest that has UEFI. What is in its flash memory is sent, so that the target's must be as large. */
  firmware: sentFirmware.exactOptional(),
  /** For messages. Which qemu takes a guest from which, their machine types decide. */
  qemuVersion: z.string(),
  /** A guest that its user paused stays paused. */
  wasRunning: z.boolean(),
  /** Since its start, on this node and those before. */
  ranSeconds: z.number().nonnegative(),
  /** The parts of the name in the source's certificate: nobody else may send the guest. */
  sender: z.array(z.string().regex(/^(OU|CN)=[A-Za-z0-9.-]+$/)).min(1),
});
export type MigrationInfo = z.output<typeof migrationInfo>;

/** Many devices and long parameters make some 20 KiB. */
const LIMIT_CHARS = 256 * 1024;

export function writeMigrationInfo(info: MigrationInfo): string {
  return JSON.stringify(info);
}

/** @throws HypervisorError when the text is none, or another guest's */
export function readMigrationInfo(guest: GuestSpec, text: string): MigrationInfo {
  const info = parse(guest, text);
  if (info.guest.name === guest.name && info.guest.uuid === guest.uuid) return info;
  throw new HypervisorError(
    `Instance ${guest.name} (${guest.uuid}): the source would send ${info.guest.name} (${info.guest.uuid})`,
  );
}

function parse(guest: GuestSpec, text: string): MigrationInfo {
  try {
    if (text.length > LIMIT_CHARS) throw new Error(`it has more than ${LIMIT_CHARS} characters`);
    return migrationInfo.parse(JSON.parse(text));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HypervisorError(`Instance ${guest.name}: what its source tells of it cannot be read: ${reason}`, {
      cause: error,
    });
  }
}

/** Parameters that shape the machine the guest sees: they stay as they were at its start, whatever they are now. */
const OF_THE_MACHINE = [
  "acpi",
  "cdrom_disk_type",
  "cpu_cores",
  "cpu_sockets",
  "cpu_threads",
  "cpu_type",
  "disk_type",
  "kvm_pci_reservations",
  "machine_version",
  "nic_type",
  "scsi_controller_type",
  "secure_boot",
  "serial_console",
  "soundhw",
  "uefi",
  "usb_mouse",
  "use_guest_agent",
  "vga",
  "virtio_net_queues",
  "vnet_hdr",
  "vtpm",
] as const;

/**
 * Parameters that shape the machine and name files or arguments, too. A source is not to decide which files of another
 * node are opened, so these must be in the configuration as they were at the start.
 */
const UNCHANGED = [
  "cdrom_image_path",
  "cdrom2_image_path",
  "floppy_image_path",
  "initrd_path",
  "kernel_path",
  "kvm_extra",
  "spice_bind",
  "spice_use_vdagent",
  "usb_devices",
] as const;

/**
 * The guest that is to be started to take the other's memory: the machine as at the source, its disks and networks as
 * on this node.
 * @param asked the guest as the configuration has it, its disks those of this node
 * @throws HypervisorError when the configuration has changed so much since the guest's start that it cannot be
 */
export function arrivingGuest(asked: GuestSpec, { guest: sent }: MigrationInfo): GuestSpec {
  return {
    ...asked,
    maxMemoryMib: sent.maxMemoryMib,
    startMemoryMib: sent.startMemoryMib,
    vcpus: sent.vcpus,
    disks: sent.disks.map((disk, index) => ({ ...counterpart(asked, "disk", asked.disks, disk), index })),
    nics: sent.nics.map((nic, index) => ({ ...counterpart(asked, "NIC", asked.nics, nic), mac: nic.mac, index })),
    hvparams: parametersOf(asked, sent.hvparams),
  };
}

function counterpart<Device extends { readonly uuid: string }>(
  { name }: GuestSpec,
  kind: string,
  here: readonly Device[],
  sent: { readonly uuid: string; readonly index: number },
): Device {
  const found = here.find(({ uuid }) => uuid === sent.uuid);
  if (found !== undefined) return found;
  throw new HypervisorError(
    `Instance ${name}: its ${kind} ${sent.index} (${sent.uuid}) is not there on the target node; ` +
      "the configuration has changed since its start: reboot the instance first",
  );
}

function parametersOf({ name, hvparams }: GuestSpec, sent: Parameters): Parameters {
  const changed = UNCHANGED.find((parameter) => (sent[parameter] ?? "") !== (hvparams[parameter] ?? ""));
  if (changed !== undefined) {
    throw new HypervisorError(
      `Instance ${name}: ${changed} has changed since its start; reboot the instance or set it back first`,
    );
  }
  const machine = OF_THE_MACHINE.flatMap((parameter) => {
    const value = sent[parameter];
    return value === undefined ? [] : [[parameter, value] as const];
  });
  return { ...hvparams, ...Object.fromEntries(machine) };
}
