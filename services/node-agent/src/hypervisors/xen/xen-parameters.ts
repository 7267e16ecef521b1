/** The parameters of xen-pvm and xen-hvm, with the types their tables promise. */
import type { GuestSpec } from "@gannet/driver-contract";
import { GannetError, HypervisorError } from "@gannet/errors";
import { checkHypervisorParameters } from "@gannet/objects";
import { z } from "zod";

const text = z.string();
const flag = z.boolean();
const count = z.int().nonnegative();

const shared = {
  cpu_cap: count,
  cpu_mask: text,
  cpu_weight: count,
  cpuid: text,
  migration_port: z.int().min(1).max(65_534),
  reboot_behavior: z.enum(["exit", "reboot"]),
  soundhw: text,
  tsc_mode: text,
  vif_script: text,
  /** Guests that were started before there was this parameter have none. */
  xen_cmd: z.enum(["xl", "xm"]).default("xl"),
};

const pvmParameters = z.object({
  ...shared,
  blockdev_prefix: text,
  bootloader_args: text,
  bootloader_path: text,
  guest_type: z.enum(["pv", "pvh"]),
  initrd_path: text,
  kernel_args: text,
  kernel_path: text,
  root_path: text.nullable().transform((value) => value ?? ""),
  use_bootloader: flag,
});

const hvmParameters = z.object({
  ...shared,
  acpi: flag,
  boot_order: text,
  cdrom_image_path: text,
  device_model: text,
  disk_type: z.enum(["ioemu", "paravirtual"]),
  kernel_path: text,
  nic_type: text,
  pae: flag,
  pci_pass: text,
  use_localtime: flag,
  vif_type: text,
  viridian: flag,
  vnc_bind_address: text,
  vnc_password_file: text,
});

/** Named as on the wire, because they are named so in every message about them. */
export type PvmParameters = z.output<typeof pvmParameters> & { readonly hypervisor: "xen-pvm" };
export type HvmParameters = z.output<typeof hvmParameters> & { readonly hypervisor: "xen-hvm" };
export type XenParameters = PvmParameters | HvmParameters;
export type XenHypervisorName = XenParameters["hypervisor"];

/** @throws HypervisorError naming every parameter that is wrong, or that the guest is another hypervisor's */
export function readXenParameters(hypervisor: XenHypervisorName, guest: GuestSpec): XenParameters {
  if (guest.hypervisor !== hypervisor)
    throw new HypervisorError(`Instance ${guest.name} is of hypervisor ${guest.hypervisor}, not ${hypervisor}`);
  try {
    checkHypervisorParameters(hypervisor, guest.hvparams);
  } catch (error) {
    if (!(error instanceof GannetError)) throw error;
    throw new HypervisorError(`Instance ${guest.name}: ${error.message}`, { cause: error });
  }
  if (hypervisor === "xen-pvm") return { ...parsed(pvmParameters, guest), hypervisor };
  return { ...parsed(hvmParameters, guest), hypervisor };
}

/** By which the guest was, or is to be, started. */
export function toolstackOf({ hvparams }: GuestSpec): "xl" | "xm" {
  return shared.xen_cmd.safeParse(hvparams.xen_cmd).data ?? "xl";
}

function parsed<Output>(schema: z.ZodType<Output>, guest: GuestSpec): Output {
  const result = schema.safeParse(guest.hvparams);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `parameter '${issue.path.join(".")}': ${issue.message}`);
  throw new HypervisorError(`Instance ${guest.name}: ${problems.join("; ")}`);
}
