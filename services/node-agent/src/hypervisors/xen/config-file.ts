/** The file from which Xen makes a guest (spec/node-ops.json, `hv.xen.cfg`; xl.cfg(5)). Pure. */
import type { GuestDisk, GuestSpec } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import { HYPERVISOR_DEFAULTS, VNC_BASE_PORT } from "@gannet/objects";
import { type ConfigValue, configText } from "./config-value.ts";
import { diskEntries } from "./disks.ts";
import type { ToolstackKind } from "./toolstack.ts";
import { type VifScripts, vifEntries } from "./vifs.ts";
import type { HvmParameters, PvmParameters, XenParameters } from "./xen-parameters.ts";

export interface ConfigFileInput {
  readonly guest: GuestSpec;
  readonly params: XenParameters;
  readonly kind: ToolstackKind;
  /** Where Xen finds a disk. */
  readonly pathOf: (disk: GuestDisk) => string;
  /** Of xen-hvm guests with VNC. It stands in the file, which only root may read. */
  readonly vncPassword: string;
  readonly vifScripts: VifScripts;
}

type Entries = readonly (readonly [key: string, value: ConfigValue])[];

/** `0000:03:00.1`, the first part of which may be left out. */
const PCI_DEVICE = /^(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i;
const REBOOT_ACTIONS = { reboot: "restart", exit: "destroy" } as const;
/** What a virtual processor that may run anywhere is pinned to; `xm` has no word for it. */
const EVERY_CPU: Readonly<Record<ToolstackKind, string>> = { xl: "all", xm: "0-63" };

/** @throws HypervisorError when the guest cannot be had under Xen */
export function configFile(input: ConfigFileInput): string {
  const { guest, params, kind, pathOf } = input;
  const own = params.hypervisor === "xen-pvm" ? pvmEntries(params, kind) : hvmEntries(params, input);
  return configText([
    ["name", guest.name],
    ["uuid", guest.uuid],
    ...own,
    ...memoryEntries(guest),
    ["vcpus", guest.vcpus],
    ...cpuEntries(guest, params, kind),
    ["disk", diskEntries(guest, params, { kind, pathOf })],
    ["vif", vifEntries(guest, params, input.vifScripts)],
    ["on_poweroff", "preserve"],
    ["on_reboot", REBOOT_ACTIONS[params.reboot_behavior]],
    ["on_crash", "restart"],
    ...whenSet("cpuid", params.cpuid),
    ...whenSet("tsc_mode", params.tsc_mode),
    ...whenSet("soundhw", params.soundhw),
  ]);
}

/** A maximum is told only where the guest shall balloon: one that need not gets all at once. */
function memoryEntries({ startMemoryMib, maxMemoryMib }: GuestSpec): Entries {
  return [
    ["memory", startMemoryMib],
    ...(maxMemoryMib === startMemoryMib ? [] : ([["maxmem", maxMemoryMib]] as const)),
  ];
}

/** @throws HypervisorError when the mask is for another number of virtual processors */
function cpuEntries({ name, vcpus }: GuestSpec, params: XenParameters, kind: ToolstackKind): Entries {
  const share: Entries = [
    ...(params.cpu_cap === 0 ? [] : ([["cpu_cap", params.cpu_cap]] as const)),
    ["cpu_weight", params.cpu_weight],
  ];
  const masks = params.cpu_mask.split(":").map((mask) => (mask === "all" ? EVERY_CPU[kind] : mask));
  if (masks.length === 1) return params.cpu_mask === "all" ? share : [["cpus", masks[0] ?? ""], ...share];
  if (masks.length !== vcpus)
    throw new HypervisorError(
      `Instance ${name}: cpu_mask is for ${masks.length} virtual processors, the instance has ${vcpus}`,
    );
  return [["cpus", masks], ...share];
}

function pvmEntries(params: PvmParameters, kind: ToolstackKind): Entries {
  if (params.guest_type === "pvh" && kind === "xm")
    throw new HypervisorError("guest_type pvh needs Xen's xl command, this node is set up for xm");
  return [
    ...(params.guest_type === "pvh" ? ([["type", "pvh"]] as const) : []),
    ...(params.use_bootloader
      ? ([
          ["bootloader", params.bootloader_path],
          ["bootargs", params.bootloader_args],
        ] as const)
      : ([["kernel", params.kernel_path], ...whenSet("ramdisk", params.initrd_path)] as const)),
    ...whenSet("root", params.root_path),
    ["extra", params.kernel_args],
  ];
}

function hvmEntries(params: HvmParameters, { guest, kind, vncPassword }: ConfigFileInput): Entries {
  return [
    ["builder", "hvm"],
    ...programEntries(params, kind),
    ["pae", Number(params.pae)],
    ["acpi", Number(params.acpi)],
    ["apic", 1],
    ["viridian", Number(params.viridian)],
    ["boot", params.boot_order],
    ["localtime", Number(params.use_localtime)],
    ["serial", "pty"],
    ["usb", 1],
    ["usbdevice", "tablet"],
    ["sdl", 0],
    ...vncEntries(params, guest, vncPassword),
    ...(params.pci_pass === "" ? [] : ([["pci", pciDevices(params.pci_pass)]] as const)),
  ];
}

/**
 * `xl` knows the loader and the device model of its own release, and ignores the keys by which `xm` is told them.
 * Ganeti's defaults name files of old releases: they stand for "Xen's own".
 */
export function ownPrograms(params: HvmParameters): readonly ("kernel_path" | "device_model")[] {
  const defaults = HYPERVISOR_DEFAULTS["xen-hvm"];
  return (["kernel_path", "device_model"] as const).filter((name) => params[name] !== defaults[name]);
}

function programEntries(params: HvmParameters, kind: ToolstackKind): Entries {
  if (kind === "xm")
    return [
      ["kernel", params.kernel_path],
      ["device_model", params.device_model],
    ];
  const keys = { kernel_path: "firmware_override", device_model: "device_model_override" } as const;
  return [["type", "hvm"], ...ownPrograms(params).map((name) => [keys[name], params[name]] as const)];
}

function vncEntries({ vnc_bind_address }: HvmParameters, guest: GuestSpec, password: string): Entries {
  if (vnc_bind_address === "") return [["vnc", 0]];
  const port = guest.networkPort;
  return [
    ["vnc", 1],
    ["vnclisten", vnc_bind_address],
    ...(port !== null && port >= VNC_BASE_PORT
      ? ([
          ["vncdisplay", port - VNC_BASE_PORT],
          ["vncunused", 0],
        ] as const)
      : ([["vncunused", 1]] as const)),
    ...whenSet("vncpasswd", password),
  ];
}

function pciDevices(text: string): readonly string[] {
  const devices = text.split(";").map((device) => device.trim());
  const wrong = devices.find((device) => !PCI_DEVICE.test(device));
  if (wrong !== undefined) throw new HypervisorError(`pci_pass: ${JSON.stringify(wrong)} is not like 0000:03:00.1`);
  return devices;
}

function whenSet(key: string, value: string): readonly (readonly [string, string])[] {
  return value === "" ? [] : [[key, value]];
}
