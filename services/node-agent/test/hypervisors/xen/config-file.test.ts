/** The configuration files that Xen gets, byte for byte. */
import type { GuestDisk, GuestNic, GuestSpec } from "@gannet/driver-contract";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { configFile } from "../../../src/hypervisors/xen/config-file.ts";
import { nicText } from "../../../src/hypervisors/xen/guest-places.ts";
import type { ToolstackKind } from "../../../src/hypervisors/xen/toolstack.ts";
import type { VifScripts } from "../../../src/hypervisors/xen/vifs.ts";
import { readXenParameters, type XenHypervisorName } from "../../../src/hypervisors/xen/xen-parameters.ts";
import { bareGuest } from "../node-fixture.ts";

const UUID = "77656231-2e65-7861-6d70-6c6500000000";
const DISK: GuestDisk = {
  uuid: UUID,
  index: 0,
  name: null,
  path: "/dev/xenvg/web1",
  kind: "block",
  format: "raw",
  access: "rw",
  sizeMib: 1024,
};
const NIC: GuestNic = {
  uuid: UUID,
  index: 0,
  name: null,
  mac: "aa:00:00:11:22:33",
  ip: null,
  mode: "bridged",
  link: "xen-br0",
  vlan: "",
};

const SCRIPTS: VifScripts = { own: "/lib/vif-gannet", site: undefined };

interface Wanted extends Partial<Omit<GuestSpec, "hvparams">> {
  readonly hvparams?: GuestSpec["hvparams"];
  readonly kind?: ToolstackKind;
  readonly vncPassword?: string;
  readonly vifScripts?: VifScripts;
}

function configOf(
  hypervisor: XenHypervisorName,
  { kind = "xl", vncPassword = "", vifScripts = SCRIPTS, ...wanted }: Wanted = {},
): string {
  const guest = {
    ...bareGuest("web1.example", hypervisor, {}),
    uuid: UUID,
    ...wanted,
    hvparams: { ...HYPERVISOR_DEFAULTS[hypervisor], ...wanted.hvparams },
  };
  return configFile({
    guest,
    params: readXenParameters(hypervisor, guest),
    kind,
    pathOf: ({ index }) => `/run/disks/web1.example:${index}`,
    vncPassword,
    vifScripts,
  });
}

/** The lines of some keys. */
function linesOf(config: string, ...keys: readonly string[]): readonly string[] {
  return config.split("\n").filter((line) => keys.includes(line.split(" ")[0] ?? ""));
}

describe("xen-pvm", () => {
  it("boots the node's kernel", () => {
    expect(configOf("xen-pvm", { disks: [DISK], nics: [NIC], hvparams: { initrd_path: "/boot/initrd" } })).toBe(
      `name = "web1.example"
uuid = "${UUID}"
kernel = "/boot/vmlinuz-3-xenU"
ramdisk = "/boot/initrd"
root = "/dev/xvda1"
extra = "ro"
memory = 32
vcpus = 2
cpu_weight = 256
disk = [ "phy:/run/disks/web1.example:0,sda,w" ]
vif = [ "mac=aa:00:00:11:22:33,bridge=xen-br0" ]
on_poweroff = "preserve"
on_reboot = "restart"
on_crash = "restart"
`,
    );
  });

  it("boots what a boot loader finds in its disk", () => {
    const hvparams = { use_bootloader: true, bootloader_path: "/usr/bin/pygrub", bootloader_args: "-q" };
    const config = configOf("xen-pvm", { hvparams });
    expect(linesOf(config, "bootloader", "bootargs", "kernel", "ramdisk")).toEqual([
      'bootloader = "/usr/bin/pygrub"',
      'bootargs = "-q"',
    ]);
  });

  it("is PVH where asked, with what nested virtualization needs", () => {
    const hvparams = { guest_type: "pvh", tsc_mode: "native", cpuid: "host,rdtscp=0" };
    expect(linesOf(configOf("xen-pvm", { hvparams }), "type", "tsc_mode", "cpuid")).toEqual([
      'type = "pvh"',
      'cpuid = "host,rdtscp=0"',
      'tsc_mode = "native"',
    ]);
    expect(() => configOf("xen-pvm", { hvparams, kind: "xm" })).toThrow(/guest_type pvh needs Xen's xl/);
  });

  it("ends at a reboot from inside where that is its behaviour", () => {
    expect(linesOf(configOf("xen-pvm", { hvparams: { reboot_behavior: "exit" } }), "on_reboot")).toEqual([
      'on_reboot = "destroy"',
    ]);
  });
});

describe("xen-hvm", () => {
  it("has firmware, VNC with its password, and emulated devices", () => {
    expect(configOf("xen-hvm", { disks: [DISK], nics: [NIC], networkPort: 5912, vncPassword: 'a"b' })).toBe(
      `name = "web1.example"
uuid = "${UUID}"
builder = "hvm"
type = "hvm"
pae = 1
acpi = 1
apic = 1
viridian = 0
boot = "cd"
localtime = 0
serial = "pty"
usb = 1
usbdevice = "tablet"
sdl = 0
vnc = 1
vnclisten = "0.0.0.0"
vncdisplay = 12
vncunused = 0
vncpasswd = "a\\"b"
memory = 32
vcpus = 2
cpu_weight = 256
disk = [ "phy:/run/disks/web1.example:0,xvda,w" ]
vif = [ "mac=aa:00:00:11:22:33,bridge=xen-br0,model=rtl8139,type=ioemu" ]
on_poweroff = "preserve"
on_reboot = "restart"
on_crash = "restart"
`,
    );
  });

  it("takes Xen's own loader and device model for Ganeti's defaults, others by xl's keys, and xm's as they are", () => {
    const keys = ["kernel", "firmware_override", "device_model", "device_model_override"];
    const hvparams = { kernel_path: "/opt/hvmloader", device_model: "/opt/qemu" };
    expect(linesOf(configOf("xen-hvm"), ...keys)).toEqual([]);
    expect(linesOf(configOf("xen-hvm", { hvparams }), ...keys)).toEqual([
      'firmware_override = "/opt/hvmloader"',
      'device_model_override = "/opt/qemu"',
    ]);
    expect(linesOf(configOf("xen-hvm", { kind: "xm" }), ...keys)).toEqual([
      'kernel = "/usr/lib/xen/boot/hvmloader"',
      'device_model = "/usr/lib/xen/bin/qemu-dm"',
    ]);
  });

  it("can do without VNC, and have any display", () => {
    expect(linesOf(configOf("xen-hvm", { hvparams: { vnc_bind_address: "" } }), "vnc", "vnclisten")).toEqual([
      "vnc = 0",
    ]);
    expect(linesOf(configOf("xen-hvm"), "vncdisplay", "vncunused")).toEqual(["vncunused = 1"]);
  });

  it.each([
    ["xl", "hda"],
    ["xm", "ioemu:hda"],
  ] as const)("emulates disks and a CD-ROM drive under %s", (kind, device) => {
    const hvparams = { disk_type: "ioemu", cdrom_image_path: "/srv/cd.iso" };
    expect(linesOf(configOf("xen-hvm", { kind, disks: [DISK], hvparams }), "disk")).toEqual([
      `disk = [ "phy:/run/disks/web1.example:0,${device},w", "file:/srv/cd.iso,hdc:cdrom,r" ]`,
    ]);
    const disks = [0, 1, 2].map((index) => ({ ...DISK, index }));
    expect(() => configOf("xen-hvm", { kind, disks, hvparams })).toThrow(/hdc would be both/);
  });

  it("hands PCI devices on", () => {
    expect(linesOf(configOf("xen-hvm", { hvparams: { pci_pass: "0000:03:00.1; 04:00.0" } }), "pci")).toEqual([
      'pci = [ "0000:03:00.1", "04:00.0" ]',
    ]);
    expect(() => configOf("xen-hvm", { hvparams: { pci_pass: "eth0" } })).toThrow(/pci_pass: "eth0"/);
  });
});

it("memory that may change has its maximum told", () => {
  const config = configOf("xen-pvm", { startMemoryMib: 128, maxMemoryMib: 512 });
  expect(linesOf(config, "memory", "maxmem")).toEqual(["memory = 128", "maxmem = 512"]);
});

it.each([
  ["all", []],
  ["0,2-3", ['cpus = "0,2-3"']],
  ["0-1:all", ['cpus = [ "0-1", "all" ]']],
])("processors %s", (cpu_mask, lines) => {
  expect(linesOf(configOf("xen-pvm", { hvparams: { cpu_mask } }), "cpus")).toEqual(lines);
});

it("a mask for other processors than the guest has is refused", () => {
  expect(() => configOf("xen-pvm", { hvparams: { cpu_mask: "0:1:2" } })).toThrow(/cpu_mask is for 3/);
});

it.each<[string, Partial<GuestDisk>, string]>([
  ["a loop device", { kind: "file", fileDriver: "loop" }, "file:/run/disks/web1.example:0,sda,w"],
  ["a file of no driver", { kind: "file" }, "file:/run/disks/web1.example:0,sda,w"],
  ["blktap", { kind: "file", fileDriver: "blktap" }, "tap:aio:/run/disks/web1.example:0,sda,w"],
  ["blktap2", { kind: "file", fileDriver: "blktap2" }, "tap2:tapdisk:aio:/run/disks/web1.example:0,sda,w"],
  ["qcow2", { kind: "file", format: "qcow2" }, "qcow2:/run/disks/web1.example:0,sda,w"],
  ["a block device that is only read", { access: "ro" }, "phy:/run/disks/web1.example:0,sda,r"],
])("disk on %s", (_what, disk, entry) => {
  expect(linesOf(configOf("xen-pvm", { disks: [{ ...DISK, ...disk }] }), "disk")).toEqual([`disk = [ "${entry}" ]`]);
});

it("disks are refused that Xen cannot have", () => {
  const many = Array.from({ length: 25 }, (_, index) => ({ ...DISK, index }));
  expect(() => configOf("xen-pvm", { disks: many })).toThrow(/25 disks; Xen takes 24/);
  const disks = [{ ...DISK, kind: "file" as const, fileDriver: "constructor" }];
  expect(() => configOf("xen-pvm", { disks })).toThrow(/no file driver constructor/);
  expect(() => configOf("xen-pvm", { disks: [DISK], hvparams: { blockdev_prefix: "sd,w" } })).toThrow(/comma/);
});

it.each<[string, Partial<GuestNic>, string, string]>([
  ["a switch", { mode: "openvswitch", link: "sw1", vlan: ".10:20" }, "", "bridge=sw1.10:20,script=vif-openvswitch"],
  ["a switch, by number", { mode: "openvswitch", link: "sw1", vlan: "10" }, "", "bridge=sw1.10,script=vif-openvswitch"],
  ["a site's script", { mode: "routed", link: "100", ip: "192.0.2.1" }, "/x/vif", "ip=192.0.2.1,script=/x/vif"],
  ["a routing table", { mode: "routed", link: "100", ip: "192.0.2.1" }, "", "ip=192.0.2.1,script=/lib/vif-gannet"],
  ["a bridge with VLANs", { vlan: ".10" }, "", "bridge=xen-br0,script=/lib/vif-gannet"],
  ["a bridge, as Xen is told to", {}, "", "bridge=xen-br0"],
  [
    "the guests' own network",
    { mode: "routed", link: "100", ip: "169.254.0.1", name: "gnt:com:0" },
    "/x/vif",
    "script=/lib/vif-gannet",
  ],
])("NIC on %s", (_what, nic, vif_script, entry) => {
  const config = configOf("xen-pvm", { nics: [{ ...NIC, ...nic }], hvparams: { vif_script } });
  expect(linesOf(config, "vif")).toEqual([`vif = [ "mac=aa:00:00:11:22:33,${entry}" ]`]);
});

it.each<[string, Partial<GuestNic>]>([
  ["mode routed needs an IP address", { mode: "routed", link: "100" }],
  ['link "1 0" is not a routing table', { mode: "routed", link: "1 0", ip: "192.0.2.1" }],
  ["mode user needs a script", { mode: "user" }],
  ['link "a,b" is not', { link: "a,b" }],
  ["MAC address", { mac: "AA:00:00:11:22:33" }],
  ["vlan", { mode: "openvswitch", vlan: ".5000" }],
  ["ip .* holds a comma", { ip: "1,backend=x" }],
])("NIC refused: %s", (message, nic) => {
  expect(() => configOf("xen-pvm", { nics: [{ ...NIC, ...nic }] })).toThrow(new RegExp(message));
});

it("the site's vif-custom takes the place of Xen's scripts and of our own, but for the guests' own network", () => {
  const vifScripts = { ...SCRIPTS, site: "/etc/xen/scripts/vif-custom" };
  const routed = { ...NIC, mode: "routed", link: "100", ip: "192.0.2.1" } as const;
  const nics = [NIC, { ...routed, index: 1 }, { ...routed, index: 2, name: "gnt:com:0" }];
  expect(linesOf(configOf("xen-pvm", { nics, vifScripts }), "vif")[0]?.match(/script=[^",]+/g)).toEqual([
    "script=/etc/xen/scripts/vif-custom",
    "script=/etc/xen/scripts/vif-custom",
    "script=/lib/vif-gannet",
  ]);
  const named = configOf("xen-pvm", { nics: [NIC], vifScripts, hvparams: { vif_script: "/x/vif" } });
  expect(linesOf(named, "vif")[0]).toContain("script=/x/vif");
});

it("a node without our script says so of the cards that need it, and of no others", () => {
  const vifScripts = { own: undefined, site: undefined };
  expect(() => configOf("xen-pvm", { nics: [{ ...NIC, vlan: ".10" }], vifScripts })).toThrow(
    /NIC 0: it needs .*vif-gannet/,
  );
  expect(linesOf(configOf("xen-pvm", { nics: [NIC], vifScripts }), "vif")).toHaveLength(1);
});

it.each<[XenHypervisorName, Record<string, string>]>([
  ["xen-pvm", { kernel_args: 'ro"\nextra = "evil' }],
  ["xen-pvm", { cpuid: "a\0b" }],
])("%s: what would end a line is refused: %o", (hypervisor, hvparams) => {
  expect(() => configOf(hypervisor, { hvparams })).toThrow(/control character/);
});

it("quotes and backslashes stay inside their value", () => {
  expect(linesOf(configOf("xen-pvm", { hvparams: { kernel_args: 'x="a\\b"' } }), "extra")).toEqual([
    'extra = "x=\\"a\\\\b\\""',
  ]);
});

it("whatever text a parameter holds, it is one value on one line", () => {
  const printable = fc.string({ unit: "grapheme", maxLength: 60 }).filter((text) => !/\p{Cc}/u.test(text));
  fc.assert(
    fc.property(printable, (kernel_args) => {
      const [line = "", ...others] = linesOf(configOf("xen-pvm", { hvparams: { kernel_args } }), "extra");
      const [, inside = ""] = /^extra = "((?:[^"\\]|\\["\\])*)"$/.exec(line) ?? [];
      expect(others).toEqual([]);
      expect(inside.replaceAll(/\\(["\\])/g, "$1")).toBe(kernel_args);
    }),
  );
});

it("a site's script is told of a NIC without being able to run what a name holds", () => {
  const text = nicText({ name: "web1.example", tags: ["it's", "$(reboot)"] }, { ...NIC, name: "front" });
  expect(text.split("\n")).toEqual(
    expect.arrayContaining([
      "INSTANCE='web1.example'",
      "INTERFACE_NAME='front'",
      "LINK='xen-br0'",
      `TAGS='it'\\''s $(reboot)'`,
    ]),
  );
  expect(text).not.toMatch(/^(PATH|ACTION|INTERFACE)=/m);
});
