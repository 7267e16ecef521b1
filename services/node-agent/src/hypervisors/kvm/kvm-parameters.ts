/** The hypervisor parameters that this driver acts on, with the types their table promises. */
import type { GuestSpec } from "@gannet/driver-contract";
import { GannetError, HypervisorError } from "@gannet/errors";
import { checkHypervisorParameters } from "@gannet/objects";
import { z } from "zod";

const text = z.string();
const flag = z.boolean();
const count = z.int().nonnegative();
/** Of a parameter that guests which still run may have been started without. */
const newerFlag = flag.default(false);

const kvmParameters = z.object({
  acpi: flag,
  boot_order: z.enum(["cdrom", "disk", "floppy", "network"]),
  cdrom_image_path: text,
  cdrom2_image_path: text,
  cdrom_disk_type: text,
  cpu_cores: count,
  cpu_mask: text.transform((value) => (value === "" ? "all" : value)),
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
  secure_boot: newerFlag,
  security_domain: text,
  security_model: z.enum(["none", "pool", "user"]),
  serial_console: flag,
  serial_speed: count,
  soundhw: text,
  spice_bind: text,
  spice_image_compression: text,
  spice_ip_version: count,
  spice_jpeg_wan_compression: text,
  spice_password_file: text,
  spice_playback_compression: flag,
  spice_streaming_video: text,
  spice_tls_ciphers: text,
  spice_use_tls: flag,
  spice_use_vdagent: flag,
  spice_zlib_glz_wan_compression: text,
  uefi: newerFlag,
  usb_devices: text,
  usb_mouse: z.enum(["", "mouse", "tablet"]),
  use_chroot: flag,
  use_guest_agent: flag,
  use_localtime: flag,
  user_shutdown: flag,
  vga: text,
  vhost_net: flag,
  virtio_net_queues: z.int().positive(),
  vnc_bind_address: text,
  vnc_password_file: text,
  vnc_tls: flag,
  vnc_x509_path: text,
  vnc_x509_verify: flag,
  vnet_hdr: flag,
  vtpm: newerFlag,
});

/** Named as on the wire, because they are named so in every message about them. */
export type KvmParameters = z.output<typeof kvmParameters>;

/**
 * A guest's parameters, checked against their table.
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
