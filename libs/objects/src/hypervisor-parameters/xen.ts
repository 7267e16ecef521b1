/** Parameters of the two Xen hypervisors (spec/config.json, `hypervisors.xen-hvm`, `hypervisors.xen-pvm`). */
import type { ParameterTable } from "../parameter-table.ts";

const SHARED = {
  cpu_mask: {
    type: "string",
    default: "all",
    syntax: "cpu-mask",
    doc: "Processors of the node on which each virtual one may run",
  },
  cpuid: { type: "string", default: "", doc: "Processor features, as of xl's cpuid" },
  migration_port: {
    type: "int",
    default: 8002,
    required: true,
    global: true,
    min: 1,
    max: 65_534,
    doc: "TCP port on which the target node takes a migration",
  },
  reboot_behavior: {
    type: "string",
    default: "reboot",
    required: true,
    choices: ["exit", "reboot"],
    doc: "Whether a reboot from inside restarts the guest or ends it",
  },
  soundhw: { type: "string", default: "", doc: "Sound card" },
  /** Not Ganeti's: guests that move between unlike processors, or run under nested virtualization, need it. */
  tsc_mode: {
    type: "string",
    default: "",
    choices: ["always_emulate", "default", "native", "native_paravirt"],
    doc: "How the guest reads the processor's time stamp counter, as of xl's tsc_mode; Xen's choice when empty",
  },
  vif_script: {
    type: "string",
    default: "",
    syntax: "absolute-path",
    onNode: "file",
    doc: "Script that sets up network interfaces",
    needsRoot: "any-value",
  },
  /** Ganeti's until 3.0, with xm as its default, which current Xen has no more. */
  xen_cmd: {
    type: "string",
    default: "xl",
    required: true,
    global: true,
    choices: ["xl", "xm"],
    doc: "Command that nodes drive Xen by",
  },
} as const satisfies ParameterTable;

const MIGRATION_MODE = {
  type: "string",
  required: true,
  global: true,
  choices: ["live", "non-live"],
  doc: "Whether the guest runs while it is migrated",
} as const;

const CPU_CAP = {
  type: "int",
  default: 0,
  min: 0,
  doc: "Most processor time, in percent of one processor; 0 for no limit",
} as const;
const CPU_WEIGHT = { type: "int", default: 256, min: 1, doc: "Share of processor time under contention" } as const;

export const XEN_HVM_PARAMETERS = {
  ...SHARED,
  acpi: { type: "bool", default: true, doc: "Whether the guest has ACPI" },
  blockdev_prefix: { type: "string", default: "hd", doc: "How the guest's disk devices begin" },
  boot_order: {
    type: "string",
    default: "cd",
    required: true,
    syntax: "xen-boot-order",
    doc: "Order of boot devices: a floppy, c disk, d CD-ROM, n network",
  },
  cdrom_image_path: {
    type: "string",
    default: "",
    syntax: "absolute-path",
    onNode: "file",
    doc: "Image in the CD-ROM drive",
    needsRoot: "foreign-path",
  },
  cpu_cap: CPU_CAP,
  cpu_weight: { ...CPU_WEIGHT, max: 65_534 },
  device_model: {
    type: "string",
    default: "/usr/lib/xen/bin/qemu-dm",
    required: true,
    syntax: "absolute-path",
    onNode: "file",
    doc: "The program that emulates devices",
    needsRoot: "any-value",
  },
  disk_type: {
    type: "string",
    default: "paravirtual",
    required: true,
    choices: ["ioemu", "paravirtual"],
    doc: "How disks are attached",
  },
  kernel_path: {
    type: "string",
    default: "/usr/lib/xen/boot/hvmloader",
    required: true,
    syntax: "absolute-path",
    onNode: "file",
    doc: "The loader that starts the guest's firmware",
    needsRoot: "foreign-path",
  },
  migration_mode: { ...MIGRATION_MODE, default: "non-live" },
  nic_type: {
    type: "string",
    default: "rtl8139",
    required: true,
    choices: ["e1000", "ne2k_isa", "ne2k_pci", "paravirtual", "rtl8139"],
    doc: "Model of the network cards",
  },
  pae: { type: "bool", default: true, doc: "Whether the guest sees PAE" },
  pci_pass: {
    type: "string",
    default: "",
    doc: "PCI devices handed to the guest, separated by semicolons",
    needsRoot: "any-value",
  },
  use_localtime: { type: "bool", default: false, doc: "Whether the guest's clock shows the node's local time" },
  vif_type: { type: "string", default: "ioemu", choices: ["ioemu", "vif"], doc: "How network cards are attached" },
  viridian: { type: "bool", default: false, doc: "Whether Windows guests see Hyper-V's interface" },
  vnc_bind_address: { type: "string", default: "0.0.0.0", syntax: "ipv4", doc: "Where VNC listens; off when empty" },
  vnc_password_file: {
    type: "string",
    default: "/etc/ganeti/vnc-cluster-password",
    required: true,
    syntax: "absolute-path",
    onNode: "file",
    doc: "File with the VNC password",
  },
} as const satisfies ParameterTable;

export const XEN_PVM_PARAMETERS = {
  ...SHARED,
  blockdev_prefix: { type: "string", default: "sd", doc: "How the guest's disk devices begin" },
  bootloader_args: { type: "string", default: "", doc: "Arguments of the boot loader", needsRoot: "any-value" },
  bootloader_path: {
    type: "string",
    default: "",
    syntax: "absolute-path",
    onNode: "file",
    doc: "Boot loader that finds the kernel in the guest's disk",
    needsRoot: "any-value",
  },
  /** Not Ganeti's, whose xen-pvm knows pv alone. */
  guest_type: {
    type: "string",
    default: "pv",
    required: true,
    choices: ["pv", "pvh"],
    doc: "Kind of the kernel: paravirtual, or PVH, which the processor's virtualization runs",
  },
  cpu_cap: CPU_CAP,
  cpu_weight: { ...CPU_WEIGHT, max: 65_535 },
  initrd_path: {
    type: "string",
    default: "",
    syntax: "absolute-path",
    onNode: "file",
    doc: "Initial RAM disk for kernel_path",
    needsRoot: "foreign-path",
  },
  kernel_args: { type: "string", default: "ro", doc: "Command line of the kernel" },
  /** Not `required` here: it may be empty where the boot loader is used, which the cross check knows. */
  kernel_path: {
    type: "string",
    default: "/boot/vmlinuz-3-xenU",
    syntax: "absolute-path",
    onNode: "file",
    doc: "Kernel on the node that the guest runs",
    needsRoot: "foreign-path",
  },
  migration_mode: { ...MIGRATION_MODE, default: "live" },
  root_path: { type: "maybe-string", default: "/dev/xvda1", doc: "Root device told to the kernel" },
  use_bootloader: { type: "bool", default: false, doc: "Whether the boot loader is used instead of kernel_path" },
} as const satisfies ParameterTable;
