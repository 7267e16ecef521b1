/** The hypervisor parameters that this driver acts on, with the types their table promises. */
import type { GuestSpec } from "@gannet/driver-contract";
import { GannetError, HypervisorError } from "@gannet/errors";
import { checkHypervisorParameters } from "@gannet/objects";
import { z } from "zod";

const text = z.string();
const flag = z.boolean();
const count = z.int().nonnegative();

const kvmParameters = z.object({
  acpi: flag,
  boot_order: z.enum(["cdrom", "disk", "floppy", "network"]),
  cdrom_image_path: text,
  cdrom2_image_path: text,
  cdrom_disk_type: text,
  cpu_cores: count,
  cpu_sockets: count,
  cpu_threads: count,
  cpu_type: text,
  disk_aio: text.transform((value) => (value === "" ? "threads" : value)),
  disk_cache: text,
  disk_discard: text.transform((value) => (value === "" ? "ignore" : value)),
  disk_type: text,
  floppy_image_path: text,
  initrd_path: text,
  kernel_args: text,
  kernel_path: text,
  keymap: text,
  kvm_extra: text,
  kvm_flag: z.enum(["", "disabled", "enabled"]),
  kvm_path: text,
  kvm_pci_reservations: count,
  machine_version: text,
  mem_path: text,
  nic_type: text,
  reboot_behavior: z.enum(["exit", "reboot"]),
  root_path: text.nullable().transform((value) => value ?? ""),
  scsi_controller_type: text,
  serial_console: flag,
  serial_speed: count,
  usb_mouse: z.enum(["", "mouse", "tablet"]),
  use_localtime: flag,
  vga: text,
  vhost_net: flag,
  vnc_bind_address: text,
  vnc_password_file: text,
});

/** Named as on the wire, because they are named so in every message about them. */
export type KvmParameters = z.output<typeof kvmParameters>;

/**
 * A guest's parameters, checked against their table. Those without effect yet are refused there when set.
 * @throws HypervisorError naming every parameter that is wrong
 */
export function readKvmParameters(guest: GuestSpec): KvmParameters {
  try {
    checkHypervisorParameters("kvm", guest.hvparams);
  } catch (error) {
    if (!(error instanceof GannetError)) throw error;
    throw new HypervisorError(`Instance ${guest.name}: ${error.message}`, { cause: error });
  }
  const parsed = kvmParameters.safeParse(guest.hvparams);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `kvm parameter '${issue.path.join(".")}': ${issue.message}`);
  throw new HypervisorError(`Instance ${guest.name}: ${problems.join("; ")}`);
}
