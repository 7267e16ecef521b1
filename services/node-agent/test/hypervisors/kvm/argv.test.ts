import { describe, expect, it } from "vitest";
import { monitorArgv, screenArgv, serialArgv } from "../../../src/hypervisors/kvm/argv/consoles.ts";
import { DeviceSlots } from "../../../src/hypervisors/kvm/argv/device-slots.ts";
import { cdromArgv, diskArgv, floppyArgv, scsiControllerArgv } from "../../../src/hypervisors/kvm/argv/drives.ts";
import { kernelArgv, machineArgv } from "../../../src/hypervisors/kvm/argv/machine.ts";
import { machineFamily } from "../../../src/hypervisors/kvm/argv/machine-family.ts";
import { networkArgv, tapShape } from "../../../src/hypervisors/kvm/argv/network-cards.ts";
import { qemuArgv } from "../../../src/hypervisors/kvm/argv.ts";
import type { LaunchPlan } from "../../../src/hypervisors/kvm/launch-plan.ts";
import { DISK, DISK_ID, NIC, NIC_ID, planOf, TAP } from "./plan-fixture.ts";

const RUN = "/var/lib/gannet/kvm-hypervisor";

function slots(plan: LaunchPlan): DeviceSlots {
  return new DeviceSlots(machineFamily(plan.machine), plan.params);
}

/** Arguments with those that are JSON parsed, so that expectations can be written as values. */
function readable(argv: readonly string[]): readonly unknown[] {
  return argv.map((arg) => (arg.startsWith("{") ? JSON.parse(arg) : arg));
}

describe("the whole command line", () => {
  it("of a guest with one disk, one bridged NIC and the default parameters", () => {
    expect(qemuArgv(planOf({ guest: { disks: [DISK], nics: [NIC] } }))).toEqual([
      "/usr/bin/kvm",
      ...["-nodefaults", "-no-user-config"],
      ...["-name", "guest=web1.example,debug-threads=on"],
      ...["-uuid", "11111111-2222-3333-4444-555555555555"],
      ...["-machine", "pc-i440fx-7.2", "-accel", "tcg", "-smp", "2", "-m", "512M"],
      ...["-S", "-daemonize", "-pidfile", `${RUN}/pid/web1.example`, "-D", `${RUN}/log/web1.example.log`],
      ...["-chardev", `socket,id=qmp,path=${RUN}/ctrl/web1.example.qmp,server=on,wait=off`],
      ...["-mon", "chardev=qmp,mode=control"],
      ...["-chardev", `socket,id=monitor,path=${RUN}/ctrl/web1.example.monitor,server=on,wait=off`],
      ...["-mon", "chardev=monitor,mode=readline"],
      ...["-chardev", `socket,id=serial0,path=${RUN}/ctrl/web1.example.serial,server=on,wait=off`],
      ...["-serial", "chardev:serial0"],
      ...["-display", "none", "-vga", "std"],
      ...["-device", '{"driver":"virtio-balloon-pci","id":"balloon","bus":"pci.0","addr":"0xc"}'],
      ...["-netdev", `{"type":"tap","id":"${NIC_ID}","ifname":"${TAP}","script":"no","downscript":"no"}`],
      "-device",
      `{"driver":"virtio-net-pci","id":"${NIC_ID}","bus":"pci.0","addr":"0xd","netdev":"${NIC_ID}","mac":"aa:00:00:12:34:56"}`,
      "-blockdev",
      `{"driver":"raw","node-name":"${DISK_ID}","read-only":false,"discard":"ignore","cache":{"direct":false,"no-flush":false},` +
        `"file":{"driver":"file","filename":"/srv/disk,0","aio":"threads","locking":"on"}}`,
      "-device",
      `{"driver":"virtio-blk-pci","id":"${DISK_ID}","bus":"pci.0","addr":"0xe","drive":"${DISK_ID}","write-cache":"on","bootindex":1}`,
    ]);
  });

  it("of a guest without devices ends in the extra arguments, split into words", () => {
    const argv = qemuArgv(planOf({ params: { kvm_extra: `-smbios 'type=1,serial=a b' -cpu "max"` } }));
    expect(argv.slice(-6)).toEqual(["-nic", "none", "-smbios", "type=1,serial=a b", "-cpu", "max"]);
  });
});

describe("the machine", () => {
  const base = ["-name", "guest=web1.example,debug-threads=on", "-uuid", "11111111-2222-3333-4444-555555555555"];
  const cases: readonly (readonly [string, Parameters<typeof planOf>[0], readonly string[]])[] = [
    [
      "under KVM with a processor model",
      { params: { cpu_type: "host,-svm" }, plan: { accelerator: "kvm" } },
      ["-machine", "pc-i440fx-7.2", "-accel", "kvm", "-cpu", "host,-svm", "-smp", "2", "-m", "512M"],
    ],
    [
      "staying after the guest's own shutdown, to tell of it",
      { params: { user_shutdown: true } },
      ["-machine", "pc-i440fx-7.2", "-accel", "tcg", "-smp", "2", "-m", "512M", "-no-shutdown"],
    ],
    [
      "without ACPI, ending at a reboot, on local time",
      { params: { acpi: false, reboot_behavior: "exit", use_localtime: true } },
      [
        ...["-machine", "pc-i440fx-7.2,acpi=off", "-accel", "tcg", "-smp", "2", "-m", "512M"],
        ...["-rtc", "base=localtime", "-no-reboot"],
      ],
    ],
    [
      "with a topology, and memory in huge pages",
      { params: { cpu_sockets: 1, cpu_cores: 2, cpu_threads: 4, mem_path: "/dev/hugepages" }, guest: { vcpus: 8 } },
      [
        ...["-machine", "pc-i440fx-7.2", "-accel", "tcg", "-smp", "8,sockets=1,cores=2,threads=4", "-m", "512M"],
        ...["-mem-path", "/dev/hugepages", "-mem-prealloc"],
      ],
    ],
  ];
  it.each(cases)("%s", (_, changes, expected) => {
    expect(machineArgv(planOf(changes))).toEqual([...base, ...expected]);
  });

  it.each(["isapc", "microvm", "none", "virt"])("%s is refused", (machine) => {
    expect(() => machineFamily(machine)).toThrow(/machine_version/);
  });
});

describe("a kernel of the node", () => {
  const kernel = { kernel_path: "/boot/vmlinuz" };
  it.each([
    ["is not given without kernel_path", { initrd_path: "/boot/initrd" }, []],
    [
      "gets its root, arguments and serial console",
      { ...kernel, initrd_path: "/boot/initrd", kernel_args: "ro quiet", serial_speed: 115200 },
      [
        "-kernel",
        "/boot/vmlinuz",
        "-initrd",
        "/boot/initrd",
        "-append",
        "root=/dev/vda1 ro quiet console=ttyS0,115200",
      ],
    ],
    [
      "gets no console without a serial one",
      { ...kernel, serial_console: false, root_path: "/dev/sda", kernel_args: "" },
      ["-kernel", "/boot/vmlinuz", "-append", "root=/dev/sda"],
    ],
  ])("%s", (_, params, expected) => {
    expect(kernelArgv(planOf({ params }))).toEqual(expected);
  });

  it("leaves no device a place in the boot order", () => {
    expect(qemuArgv(planOf({ params: kernel, guest: { disks: [DISK] } })).join()).not.toContain("bootindex");
  });
});

describe("disks", () => {
  const second = { ...DISK, uuid: "d15c1111-1111-2222-3333-444444444444", index: 1, path: "/dev/vg/data" };
  const two = [DISK, { ...second, kind: "block", format: "raw", access: "ro" } as const];

  it("as files and block devices, read-only too", () => {
    const plan = planOf({
      guest: { disks: two },
      params: { disk_cache: "none", disk_aio: "native", disk_discard: "unmap" },
    });
    expect(readable(diskArgv(plan, slots(plan)))).toEqual([
      "-blockdev",
      {
        driver: "raw",
        "node-name": DISK_ID,
        "read-only": false,
        discard: "unmap",
        cache: { direct: true, "no-flush": false },
        file: { driver: "file", filename: "/srv/disk,0", aio: "native", locking: "on" },
      },
      "-device",
      {
        driver: "virtio-blk-pci",
        id: DISK_ID,
        bus: "pci.0",
        addr: "0xc",
        drive: DISK_ID,
        "write-cache": "on",
        bootindex: 1,
      },
      "-blockdev",
      {
        driver: "raw",
        "node-name": "disk-d15c1111-1111-2222",
        "read-only": true,
        discard: "unmap",
        cache: { direct: true, "no-flush": false },
        file: { driver: "host_device", filename: "/dev/vg/data", aio: "native" },
      },
      "-device",
      {
        driver: "virtio-blk-pci",
        id: "disk-d15c1111-1111-2222",
        bus: "pci.0",
        addr: "0xd",
        drive: "disk-d15c1111-1111-2222",
        "write-cache": "on",
      },
    ]);
  });

  it.each([
    ["default", "on", false],
    ["writeback", "on", false],
    ["writethrough", "off", false],
    ["none", "on", true],
  ])("cache mode %s is write cache %s and direct %s", (disk_cache, writeCache, direct) => {
    const plan = planOf({ guest: { disks: [{ ...DISK, format: "qcow2" }] }, params: { disk_cache } });
    const [, node, , device] = readable(diskArgv(plan, slots(plan)));
    expect(node).toMatchObject({ driver: "qcow2", cache: { direct } });
    expect(device).toMatchObject({ "write-cache": writeCache });
  });

  it.each([
    ["ide", "pc-i440fx-7.2", ["ide.0:0", "ide.0:1"], "ide-hd"],
    ["ide", "pc-q35-7.2", ["ide.0:0", "ide.1:0"], "ide-hd"],
  ])("on %s of a %s take places %j", (disk_type, machine, places, driver) => {
    const disks = two.map((disk) => ({ ...disk, access: "rw" as const }));
    const plan = planOf({ guest: { disks }, params: { disk_type }, plan: { machine } });
    const [, , , first, , , , last] = readable(diskArgv(plan, slots(plan))) as {
      bus: string;
      unit: number;
      driver: string;
    }[];
    expect([first, last].map((device) => `${device?.bus}:${device?.unit}`)).toEqual(places);
    expect(first?.driver).toBe(driver);
  });

  it.each([
    ["scsi", "lsi", "scsi-hd", "lsi53c895a"],
    ["scsi-hd", "virtio-scsi-pci", "scsi-hd", "virtio-scsi-pci"],
    ["scsi-block", "megasas", "scsi-block", "megasas"],
    ["scsi-generic", "dc390", "scsi-generic", "dc390"],
  ])("of type %s hang on a controller of type %s", (disk_type, scsi_controller_type, driver, controller) => {
    const plan = planOf({ guest: { disks: two }, params: { disk_type, scsi_controller_type } });
    const place = slots(plan);
    expect(readable(scsiControllerArgv(plan, place))).toEqual([
      "-device",
      { driver: controller, id: "scsi", bus: "pci.0", addr: "0xc" },
    ]);
    const passesThrough = disk_type === "scsi-block" || disk_type === "scsi-generic";
    expect(readable(diskArgv(plan, place))[3]).toEqual({
      driver,
      id: DISK_ID,
      bus: "scsi.0",
      "scsi-id": 0,
      drive: DISK_ID,
      ...(passesThrough ? {} : { "write-cache": "on" }),
      bootindex: 1,
    });
  });

  it("never take the SCSI id of the controller", () => {
    const many = Array.from({ length: 9 }, (_, index) => ({ ...DISK, uuid: `d15c000${index}-1-2-3-4`, index }));
    const params = { disk_type: "scsi", scsi_controller_type: "megasas" };
    const plan = planOf({ guest: { disks: many }, params });
    const devices = readable(diskArgv(plan, slots(plan))).filter((arg) => Object.hasOwn(Object(arg), "scsi-id"));
    expect(devices.map((device) => (device as { "scsi-id": number })["scsi-id"])).toEqual([0, 1, 2, 3, 4, 5, 6, 8, 9]);
  });

  it.each(["mtd", "pflash", "sd"])("of type %s are refused by name", (disk_type) => {
    const plan = planOf({ guest: { disks: [DISK] }, params: { disk_type } });
    expect(() => qemuArgv(plan)).toThrow(`disk_type: ${disk_type} is not supported`);
  });

  it("are refused when there are more than slots", () => {
    const many = Array.from({ length: 20 }, (_, index) => ({ ...DISK, uuid: `d15c00${index + 10}-1-2-3-4`, index }));
    expect(() => qemuArgv(planOf({ guest: { disks: many } }))).toThrow(/kvm_pci_reservations/);
    expect(() => qemuArgv(planOf({ guest: { disks: many.slice(0, 5) }, params: { disk_type: "ide" } }))).toThrow(
      /4 IDE/,
    );
  });
});

describe("removable media", () => {
  it("are CD-ROMs from a file and from a URL", () => {
    const params = {
      boot_order: "cdrom",
      cdrom_image_path: "/srv/install.iso",
      cdrom2_image_path: "http://mirror.example/a.iso",
      cdrom_disk_type: "ide",
    };
    const plan = planOf({ params });
    expect(readable(cdromArgv(plan, slots(plan)))).toEqual([
      "-blockdev",
      {
        driver: "raw",
        "node-name": "cdrom-0",
        "read-only": true,
        file: { driver: "file", filename: "/srv/install.iso" },
      },
      "-device",
      { driver: "ide-cd", id: "cdrom-0", bus: "ide.0", unit: 0, drive: "cdrom-0", bootindex: 1 },
      "-blockdev",
      {
        driver: "raw",
        "node-name": "cdrom-1",
        "read-only": true,
        file: { driver: "http", url: "http://mirror.example/a.iso" },
      },
      "-device",
      { driver: "ide-cd", id: "cdrom-1", bus: "ide.0", unit: 1, drive: "cdrom-1" },
    ]);
  });

  it("are not read by a protocol that qemu does not speak", () => {
    const plan = planOf({ params: { cdrom_image_path: "tftp://mirror.example/a.iso" } });
    expect(() => qemuArgv(plan)).toThrow(/cdrom_image_path: .* not by tftp/);
  });

  it("are plugged in where the disks are, unless told otherwise", () => {
    const plan = planOf({ params: { cdrom_image_path: "/a.iso", disk_type: "scsi-hd" } });
    expect(readable(scsiControllerArgv(plan, slots(plan)))).toHaveLength(2);
    expect(readable(cdromArgv(plan, slots(plan)))[3]).toMatchObject({ driver: "scsi-cd", bus: "scsi.0" });
  });

  it("are floppies, with a controller where the machine has none", () => {
    const params = { floppy_image_path: "/a.img" };
    const pc = planOf({ params: { ...params, boot_order: "floppy" } });
    expect(readable(floppyArgv(pc, machineFamily(pc.machine)))).toEqual([
      "-global",
      "isa-fdc.bootindexA=1",
      "-blockdev",
      { driver: "raw", "node-name": "floppy-0", "read-only": true, file: { driver: "file", filename: "/a.img" } },
      "-device",
      { driver: "floppy", id: "floppy-0", drive: "floppy-0" },
    ]);
    expect(readable(floppyArgv(planOf({ params }), machineFamily("pc-q35-7.2"))).slice(0, 2)).toEqual([
      "-device",
      { driver: "isa-fdc", id: "fdc" },
    ]);
  });
});

describe("network cards", () => {
  it.each([
    ["vhost where the node and the guest allow it", { plan: { vhostNet: true } }, { vhost: true }],
    ["no vhost where the guest does not want it", { plan: { vhostNet: true }, params: { vhost_net: false } }, {}],
    ["no vhost where the node has none", {}, {}],
    ["no vhost for other models", { plan: { vhostNet: true }, params: { nic_type: "e1000" } }, {}],
    ["no offload headers where the guest does not want them", { params: { vnet_hdr: false } }, { vnet_hdr: false }],
    ["whatever suits other models", { params: { vnet_hdr: false, nic_type: "e1000", virtio_net_queues: 4 } }, {}],
    ["as many queues as asked for", { params: { virtio_net_queues: 4 } }, { queues: 4 }],
  ])("use %s", (_, changes, expected) => {
    const plan = planOf({ guest: { nics: [NIC] }, ...changes });
    const tap = { type: "tap", id: NIC_ID, ifname: TAP, script: "no", downscript: "no" };
    expect(readable(networkArgv(plan, slots(plan))).slice(0, 2)).toEqual(["-netdev", { ...tap, ...expected }]);
  });

  it("with several queues have an interrupt for each direction of each, and taps of the same shape", () => {
    const plan = planOf({
      guest: { nics: [NIC] },
      params: { virtio_net_queues: 4 },
      plan: { runAs: { uid: 4000, gid: 4001 } },
    });
    expect(readable(networkArgv(plan, slots(plan)))[3]).toMatchObject({ mq: true, vectors: 10 });
    expect(tapShape(plan)).toEqual({ queues: 4, ownerUid: 4000 });
    expect(tapShape(planOf({ params: { nic_type: "e1000", virtio_net_queues: 4 } }))).toEqual({ queues: 1 });
  });

  it("of mode user need nothing of the node", () => {
    const plan = planOf({ guest: { nics: [{ ...NIC, mode: "user" }] }, params: { boot_order: "network" } });
    expect(readable(networkArgv(plan, slots(plan)))).toEqual([
      "-netdev",
      { type: "user", id: NIC_ID },
      "-device",
      {
        driver: "virtio-net-pci",
        id: NIC_ID,
        bus: "pci.0",
        addr: "0xc",
        netdev: NIC_ID,
        mac: "aa:00:00:12:34:56",
        bootindex: 1,
      },
    ]);
  });

  it("of the ISA model take no PCI slot", () => {
    const plan = planOf({ guest: { nics: [NIC] }, params: { nic_type: "ne2k_isa", boot_order: "network" } });
    expect(readable(networkArgv(plan, slots(plan)))[3]).toEqual({
      driver: "ne2k_isa",
      id: NIC_ID,
      netdev: NIC_ID,
      mac: "aa:00:00:12:34:56",
    });
  });
});

describe("consoles", () => {
  it("double the commas of paths", () => {
    const { paths } = planOf({});
    const plan = planOf({ plan: { paths: { ...paths, qmpSocket: "/a,b", monitorSocket: "/m", serialSocket: "/s" } } });
    expect(monitorArgv(plan)).toContain("socket,id=qmp,path=/a,,b,server=on,wait=off");
  });

  it("have no serial port when there is no serial console", () => {
    expect(serialArgv(planOf({ params: { serial_console: false } }))).toEqual(["-serial", "none"]);
  });

  it.each([
    ["on a socket", { kind: "socket", path: "/run/vnc/web1,x.vnc", password: false }, "unix:/run/vnc/web1,,x.vnc"],
    ["on IPv4", { kind: "tcp", address: "127.0.0.1", port: 11000, password: false }, "127.0.0.1:5100"],
    ["on IPv6 with a password", { kind: "tcp", address: "::1", port: 5900, password: true }, "[::1]:0,password=on"],
  ] as const)("have VNC %s", (_, vnc, expected) => {
    expect(screenArgv(planOf({ plan: { vnc } }))).toEqual(["-vnc", expected, "-vga", "std"]);
  });

  it("have a card and a keyboard layout when asked for", () => {
    expect(screenArgv(planOf({ params: { vga: "cirrus", keymap: "de" } }))).toEqual([
      ...["-display", "none", "-vga", "cirrus", "-k", "de"],
    ]);
  });
});
