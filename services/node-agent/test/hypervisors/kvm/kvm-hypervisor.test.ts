/** The driver with real qemu: what the conformance checks do not ask. */
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { GuestDisk, GuestSpec } from "@gannet/driver-contract";
import { HYPERVISOR_DEFAULTS, type Parameters } from "@gannet/objects";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { KvmHypervisor } from "../../../src/hypervisors/kvm/kvm-hypervisor.ts";
import { shortPrivateFolder } from "../../../src/hypervisors/kvm/private-folder.ts";
import { runtimeFolders } from "../../../src/hypervisors/kvm/runtime-paths.ts";
import { bareGuest, eventually, makeTestNode, type TestNode, uuidOf } from "../node-fixture.ts";

const NEVER = new AbortController().signal;
const RUNNING = { paused: false } as const;
const FORCED = { force: true, timeoutMs: 10_000 } as const;

let node: TestNode;
let driver: KvmHypervisor;
let base: string;

beforeAll(async () => {
  node = await makeTestNode({ kvmAcceleration: "off" });
  base = path.join(node.parts.stateDir, "kvm-hypervisor");
  driver = new KvmHypervisor(node.parts);
  await driver.recover();
});
afterEach(async () => {
  for (const { name } of await driver.list()) await driver.stop(name, FORCED, NEVER);
});
afterAll(async () => {
  await driver.close();
  await node.remove();
});

function guestWith(params: Parameters, changes: Partial<GuestSpec> = {}): GuestSpec {
  return { ...bareGuest("web1.example", "kvm", { ...HYPERVISOR_DEFAULTS.kvm, ...params }), ...changes };
}

function manyDisks(folder: string, count: number, changes: Partial<GuestDisk> = {}): readonly GuestDisk[] {
  return Array.from({ length: count }, (_, index) => ({
    ...({ uuid: uuidOf(`${index}-of-many-disks`), index, name: null, kind: "file", format: "raw" } as const),
    ...({ access: "rw", sizeMib: 1, path: path.join(folder, `image-${index}`) } as const),
    ...changes,
  }));
}

async function pidOf(name: string): Promise<number> {
  return Number(await readFile(path.join(base, "pid", name), "utf8"));
}

async function nextAgent(): Promise<KvmHypervisor> {
  await driver.close();
  driver = new KvmHypervisor(node.parts);
  await driver.recover();
  return driver;
}

describe("qemu accepts", () => {
  let image: string;
  let qcow2: string;
  beforeAll(async () => {
    image = path.join(node.parts.stateDir, "image, with a comma.raw");
    qcow2 = path.join(node.parts.stateDir, "image.qcow2");
    for (const file of [image, ...manyDisks(node.parts.stateDir, 7).map((disk) => disk.path)])
      await writeFile(file, Buffer.alloc(1024 * 1024));
    const argv = ["/usr/bin/qemu-img", "create", "-q", "-f", "qcow2", qcow2, "1M"] as const;
    await node.parts.runner.run({ argv: [...argv], timeoutMs: 20_000 });
  });

  function disks(access: "ro" | "rw" = "rw"): GuestSpec["disks"] {
    const common = { name: null, kind: "file", access, sizeMib: 1 } as const;
    return [
      { ...common, uuid: uuidOf("disk-0"), index: 0, path: image, format: "raw" },
      { ...common, uuid: uuidOf("disk-1"), index: 1, path: qcow2, format: "qcow2" },
    ];
  }
  const nic = { name: null, ip: null, mode: "user", link: "", vlan: "" } as const;
  const nics: GuestSpec["nics"] = [
    { ...nic, uuid: uuidOf("nic-0"), index: 0, mac: "aa:00:00:00:00:01" },
    { ...nic, uuid: "00000001-0000-4000-8000-000000000000", index: 1, mac: "aa:00:00:00:00:02" },
  ];

  const cases: readonly (readonly [string, () => readonly [Parameters, Partial<GuestSpec>]])[] = [
    ["paravirtual disks and cards", () => [{}, { disks: disks(), nics }]],
    ["disks without cache and native I/O", () => [{ disk_cache: "none", disk_aio: "native" }, { disks: disks() }]],
    [
      "discarding disks, written through",
      () => [{ disk_cache: "writethrough", disk_discard: "unmap" }, { disks: disks() }],
    ],
    ["read-only disks", () => [{}, { disks: disks("ro") }]],
    ["IDE disks", () => [{ disk_type: "ide" }, { disks: disks() }]],
    [
      "IDE disks of a q35",
      () => [
        { disk_type: "ide", machine_version: "q35" },
        { disks: disks(), nics },
      ],
    ],
    ["SCSI disks on lsi", () => [{ disk_type: "scsi-hd" }, { disks: disks() }]],
    ["SCSI disks on megasas", () => [{ disk_type: "scsi", scsi_controller_type: "megasas" }, { disks: disks() }]],
    ["SCSI disks on dc390", () => [{ disk_type: "scsi-hd", scsi_controller_type: "dc390" }, { disks: disks() }]],
    [
      "SCSI disks on virtio of a q35",
      () => [
        { disk_type: "scsi-hd", scsi_controller_type: "virtio-scsi-pci", machine_version: "q35" },
        { disks: disks(), nics },
      ],
    ],
    ["SCSI CD-ROMs for disks", () => [{ disk_type: "scsi-cd" }, { disks: disks("ro") }]],
    [
      "two CD-ROMs and a floppy",
      () => [
        {
          boot_order: "cdrom",
          cdrom_disk_type: "ide",
          cdrom_image_path: image,
          cdrom2_image_path: image,
          floppy_image_path: image,
        },
        {},
      ],
    ],
    [
      "a floppy of a q35, booted from",
      () => [{ machine_version: "q35", floppy_image_path: image, boot_order: "floppy" }, {}],
    ],
    ["a paravirtual CD-ROM", () => [{ cdrom_image_path: image, boot_order: "cdrom" }, {}]],
    ["booting from the network", () => [{ boot_order: "network", nic_type: "e1000" }, { nics }]],
    ["every other model of card", () => [{ nic_type: "pcnet" }, { nics }]],
    ["an ISA card", () => [{ nic_type: "ne2k_isa" }, { nics: nics.slice(0, 1) }]],
    ["a topology", () => [{ cpu_sockets: 1, cpu_cores: 2, cpu_threads: 2, cpu_type: "max" }, { vcpus: 4 }]],
    [
      "no ACPI, no serial console, local time, ending at reboot",
      () => [{ acpi: false, serial_console: false, use_localtime: true, reboot_behavior: "exit" }, {}],
    ],
    [
      "a USB tablet, a keyboard layout and another screen",
      () => [{ usb_mouse: "tablet", keymap: "de", vga: "cirrus" }, {}],
    ],
    ["a mouse of a q35", () => [{ usb_mouse: "mouse", machine_version: "q35" }, { disks: disks() }]],
    ["extra arguments", () => [{ kvm_extra: "-device 'virtio-rng-pci,bus=pci.0' -smbios type=1,serial=x" }, {}]],
    [
      "sound, USB devices and agents' ports",
      () => [{ soundhw: "hda", usb_mouse: "tablet", usb_devices: "keyboard wacom-tablet", use_guest_agent: true }, {}],
    ],
    ["the sound cards of old", () => [{ soundhw: "sb16" }, {}]],
    ["every sound card", () => [{ soundhw: "all" }, {}]],
    ["every sound card of a q35", () => [{ soundhw: "all", machine_version: "q35" }, {}]],
    ["sound of a q35", () => [{ soundhw: "ac97", machine_version: "q35" }, {}]],
    ["being told of the guest's end", () => [{ user_shutdown: true, reboot_behavior: "exit" }, {}]],
    ...["lsi", "dc390"].map(
      (scsi_controller_type) =>
        [
          `all numbers of a ${scsi_controller_type} taken`,
          () => [{ disk_type: "scsi-hd", scsi_controller_type }, { disks: manyDisks(node.parts.stateDir, 7) }],
        ] as (typeof cases)[number],
    ),
    [
      "a read-only SCSI disk",
      () => [{ disk_type: "scsi-hd" }, { disks: manyDisks(node.parts.stateDir, 2, { access: "ro" }) }],
    ],
    ["all slots taken", () => [{ kvm_pci_reservations: 12 }, { nics, disks: disks() }]],
  ];
  it.each(cases)("%s", async (_, make) => {
    const guest = guestWith(...make());
    expect(await driver.start(guest, { paused: true }, NEVER)).toMatchObject({ status: "paused", vcpus: guest.vcpus });
  });

  it("no second guest that writes the same image", async () => {
    await driver.start(guestWith({}, { disks: disks() }), RUNNING, NEVER);
    const second = { ...bareGuest("web2.example", "kvm", HYPERVISOR_DEFAULTS.kvm), disks: disks() };
    await expect(driver.start(second, RUNNING, NEVER)).rejects.toThrow(/web2\.example: qemu did not start: .*lock/);
    expect(await driver.state("web1.example")).toMatchObject({ status: "running" });
  });
});

describe("a guest that cannot be started is refused with the reason", () => {
  const nic = { uuid: uuidOf("nic"), index: 0, name: null, mac: "aa:00:00:00:00:01", ip: null, vlan: "" } as const;
  const cases: readonly (readonly [RegExp, Parameters, Partial<GuestSpec>?])[] = [
    [/kernel_path is \/no\/such\/kernel, which does not exist/, { kernel_path: "/no/such/kernel" }],
    [/initrd_path is \/etc, which is not a regular file/, { initrd_path: "/etc" }],
    [/cdrom_image_path is \/dev\/null, which is not a regular file/, { cdrom_image_path: "/dev/null" }],
    [/mem_path is \/etc\/passwd, which is not a directory/, { mem_path: "/etc/passwd" }],
    [/vnc_password_file is \/no\/such, which does not exist/, { vnc_password_file: "/no/such" }],
    [/kvm_path is \/no\/such\/kvm, which does not exist/, { kvm_path: "/no/such/kvm" }],
    [/kvm_path: there is no program \/etc\/passwd/, { kvm_path: "/etc/passwd" }],
    [/machine_version: qemu .* has no machine pc-9000/, { machine_version: "pc-9000" }],
    [/machine_version: microvm is not supported/, { machine_version: "microvm" }],
    [/kvm_flag is "enabled", but KVM does not work on this node/, { kvm_flag: "enabled" }],
    [/spice_bind is 127\.0\.0\.1, but the instance has no network port/, { spice_bind: "127.0.0.1" }],
    [/spice_bind: this node has no interface nosuch0/, { spice_bind: "nosuch0" }, { networkPort: 11000 }],
    [/cpu_mask: 0:0:0 is for 3 virtual processors/, { cpu_mask: "0:0:0" }],
    [/cpu_mask: this node has no processor 4000/, { cpu_mask: "4000" }],
    [/soundhw: usb is not supported; use some of ac97, /, { soundhw: "ac97,usb" }],
    [/usb_devices: "disk:\/x" is not supported/, { usb_devices: "disk:/x" }],
    [/security_domain: this node has no user "-nobody"/, { security_model: "user", security_domain: "-nobody" }],
    [/security_domain: this node has no user "nosuch"/, { security_model: "user", security_domain: "nosuch" }],
    [/security_domain: a guest is not to run as root/, { security_model: "user", security_domain: "root" }],
    [/security_model pool: the cluster's uid_pool has no user/, { security_model: "pool" }],
    [/security_model pool: the cluster's uid_pool has no user/, { security_model: "pool" }, { uidPool: [[9e8, 9e8]] }],
    [/vnc_bind_address is 127\.0\.0\.1, but the instance has no network port/, { vnc_bind_address: "127.0.0.1" }],
    [/vnc_bind_address: this node has no interface nosuch0/, { vnc_bind_address: "nosuch0" }, { networkPort: 11000 }],
    ...["lsi", "dc390"].map(
      (scsi_controller_type) =>
        [
          new RegExp(
            `SCSI controller ${scsi_controller_type} takes 7 drives, the guest has more; .*virtio-scsi-pci takes 31`,
          ),
          { disk_type: "scsi-hd", scsi_controller_type },
          { disks: manyDisks("/srv", 8) },
        ] as const,
    ),
    [/takes 4 IDE drives, the guest has more/, { disk_type: "ide" }, { disks: manyDisks("/srv", 5) }],
    [
      /Disk 0 is read-only, which disks of type ide cannot be/,
      { disk_type: "ide" },
      { disks: manyDisks("/srv", 2, { access: "ro" }) },
    ],
    [/A quote is not closed/, { kvm_extra: "-name 'open" }],
    [/disk_cache.* must be one of/, { disk_cache: "unsafe" }],
    [/NIC 0: link nosuchbr is not a bridge/, {}, { nics: [{ ...nic, mode: "bridged", link: "nosuchbr" }] }],
    [/NIC 0: link lo is not a bridge/, {}, { nics: [{ ...nic, mode: "bridged", link: "lo" }] }],
    [/NIC 0: link "\.\.\/lo" is not the name/, {}, { nics: [{ ...nic, mode: "bridged", link: "../lo" }] }],
    [/NIC 0: Invalid MAC address 'x,y=z'/, {}, { nics: [{ ...nic, mode: "user", link: "", mac: "x,y=z" }] }],
    [/NIC 0 of web1\.example has .* for a UUID/, {}, { nics: [{ ...nic, mode: "user", link: "", uuid: "x,y=z" }] }],
    [/has .* for a UUID/, {}, { uuid: "-rf" }],
  ];
  const refused = cases.map(([reason, params, changes = {}]) => ({ reason, params, changes }));
  it.each(refused)("$reason", async ({ reason, params, changes }) => {
    const guest = guestWith(params, changes);
    const refusal = { name: "HypervisorError", message: expect.stringMatching(reason) };
    await expect(driver.validate(guest)).rejects.toMatchObject(refusal);
    await expect(driver.start(guest, RUNNING, NEVER)).rejects.toMatchObject(refusal);
    expect(await driver.state(guest.name)).toBeUndefined();
  });

  it("by qemu itself, in its own words, and leaves nothing", async () => {
    const guest = guestWith({ kvm_extra: "-device no-such-device" });
    await driver.validate(guest);
    await expect(driver.start(guest, RUNNING, NEVER)).rejects.toMatchObject({
      name: "HypervisorError",
      message: expect.stringMatching(/web1\.example: qemu did not start: .*'no-such-device' is not a valid device/s),
    });
    expect(await node.processes()).toEqual([]);
    for (const folder of ["pid", "ctrl", "nic", "log"]) expect(await readdir(path.join(base, folder))).toEqual([]);
  });
});

describe("a guest and its agent", () => {
  function dyingAgent(name: string, moment: "after-start" | "during-start"): Promise<unknown> {
    const script = path.join(import.meta.dirname, "dying-agent.ts");
    const argv = [process.execPath, script, node.parts.stateDir, name, moment] as const;
    return node.parts.runner.run({ argv: [...argv], timeoutMs: 30_000 });
  }

  it("the guest outlives the agent's death and is the next one's", async () => {
    await expect(dyingAgent("orphan.example", "after-start")).rejects.toThrow(/was killed by SIGKILL/);
    const next = await nextAgent();
    expect(await next.state("orphan.example")).toMatchObject({ status: "running", memoryMib: 32, vcpus: 2 });
    await next.stop("orphan.example", FORCED, NEVER);
    expect(await node.processes()).toEqual([]);
  });

  it("a start cut short by the agent's death is undone by the next one", async () => {
    await expect(dyingAgent("half.example", "during-start")).rejects.toThrow(/was killed by SIGKILL/);
    expect(await node.processes()).toHaveLength(1);
    const next = await nextAgent();
    expect(await next.state("half.example")).toBeUndefined();
    expect(await node.processes()).toEqual([]);
    const left = (await node.files()).filter((file) => file.includes("half.example"));
    expect(left).toEqual([]);
  });

  it("listing and looking start no process", async () => {
    const { runner } = node.parts;
    let commands = 0;
    await driver.close();
    const counting: typeof runner = {
      run: (command) => {
        commands += 1;
        return runner.run(command);
      },
    };
    driver = new KvmHypervisor({ ...node.parts, runner: counting });
    await driver.recover();
    await driver.start(guestWith({}), RUNNING, NEVER);
    expect(commands).toBeGreaterThan(0);
    commands = 0;
    for (let round = 0; round < 5; round++) {
      expect(await driver.list()).toHaveLength(1);
      expect(await driver.state("web1.example")).toMatchObject({ status: "running" });
    }
    expect(commands).toBe(0);
  });

  it("a pause and a resume behind the agent's back are noticed", async () => {
    await driver.start(guestWith({}), RUNNING, NEVER);
    const changes: string[] = [];
    const unsubscribe = driver.onChange((name) => changes.push(name));
    const monitor = createConnection(path.join(base, "ctrl/web1.example.monitor"));
    monitor.write("stop\n");
    await eventually(async () => (await driver.state("web1.example"))?.status === "paused");
    // A guest that stands still for a moment only is not told of.
    await eventually(async () => changes.length > 0);
    monitor.write("cont\n");
    await eventually(async () => (await driver.state("web1.example"))?.status === "running");
    monitor.destroy();
    unsubscribe();
    expect(changes).toEqual(["web1.example", "web1.example"]);
  });

  it("a reboot brings back exactly what was started", async () => {
    const guest = guestWith({ kvm_extra: "-smbios type=1,serial=x" }, { vcpus: 3 });
    await driver.start(guest, RUNNING, NEVER);
    const before = await readFile(`/proc/${await pidOf(guest.name)}/cmdline`, "utf8");
    await driver.reboot(guest.name, FORCED, NEVER);
    expect(await readFile(`/proc/${await pidOf(guest.name)}/cmdline`, "utf8")).toBe(before);
  });

  it("a reboot that could not start the guest again leaves it running", async () => {
    await driver.start(guestWith({}), RUNNING, NEVER);
    const file = path.join(base, "conf/web1.example.json");
    const record = JSON.parse(await readFile(file, "utf8"));
    record.guest.hvparams.kernel_path = "/no/longer/there";
    await writeFile(file, JSON.stringify(record));
    const next = await nextAgent();
    await expect(next.reboot("web1.example", FORCED, NEVER)).rejects.toThrow(/kernel_path/);
    expect(await next.state("web1.example")).toMatchObject({ status: "running" });
  });

  it("another process that got the guest's pid is never touched", async () => {
    const guest = guestWith({});
    await driver.start(guest, RUNNING, NEVER);
    const file = path.join(base, "conf/web1.example.json");
    const record = JSON.parse(await readFile(file, "utf8"));
    process.kill(record.process.pid, "SIGKILL");
    await eventually(async () => (await driver.state(guest.name))?.status === "crashed");
    await driver.close();
    await writeFile(file, JSON.stringify({ ...record, process: { ...record.process, pid: process.pid } }));
    await writeFile(path.join(base, "pid/web1.example"), `${process.pid}\n`);
    const next = await nextAgent();
    expect(await next.state(guest.name)).toMatchObject({ status: "crashed" });
    await next.stop(guest.name, FORCED, NEVER);
  });

  it("a record that cannot be read is set aside, and its guest can still be stopped", async () => {
    const guest = guestWith({});
    await driver.start(guest, RUNNING, NEVER);
    await driver.start(bareGuest("web2.example", "kvm", HYPERVISOR_DEFAULTS.kvm), RUNNING, NEVER);
    await writeFile(path.join(base, "conf/web1.example.json"), '{"version": 1, "phase":');
    const next = await nextAgent();
    expect((await next.list()).map(({ name, status }) => [name, status])).toEqual([["web2.example", "running"]]);
    await expect(next.start(guest, RUNNING, NEVER)).rejects.toThrow(/no record of.*stop the instance first/);
    await next.stop(guest.name, FORCED, NEVER);
    expect(await node.processes()).toHaveLength(1);
    expect(await next.start(guest, RUNNING, NEVER)).toMatchObject({ status: "running" });
  });

  it("a guest that ended and whose next start fails is not known any more", async () => {
    const guest = guestWith({});
    await driver.start(guest, RUNNING, NEVER);
    process.kill(await pidOf(guest.name), "SIGKILL");
    await eventually(async () => (await driver.state(guest.name))?.status === "crashed");
    const failing = guestWith({ kvm_extra: "-device no-such-device" });
    await expect(driver.start(failing, RUNNING, NEVER)).rejects.toThrow(/no-such-device/);
    expect(await driver.state(guest.name)).toBeUndefined();
    expect(await (await nextAgent()).list()).toEqual([]);
  });

  it("a state folder too deep for sockets has them elsewhere", async () => {
    const stateDir = path.join(node.parts.stateDir, "x".repeat(100));
    const { ctrl } = runtimeFolders(stateDir, shortPrivateFolder());
    expect(ctrl.startsWith(stateDir)).toBe(false);
    const deep = new KvmHypervisor({ ...node.parts, stateDir });
    try {
      await deep.recover();
      await deep.start(guestWith({}), RUNNING, NEVER);
      expect(await deep.state("web1.example")).toMatchObject({ status: "running" });
      expect(await readdir(ctrl)).toHaveLength(3);
      await deep.stop("web1.example", FORCED, NEVER);
      expect(await readdir(ctrl)).toEqual([]);
    } finally {
      await deep.close();
      await rm(ctrl, { recursive: true, force: true });
    }
  });

  it("a soft stop that is aborted leaves the guest running", async () => {
    await driver.start(guestWith({}), RUNNING, NEVER);
    const abort = new AbortController();
    const stopping = driver.stop("web1.example", { force: false, timeoutMs: 60_000 }, abort.signal);
    stopping.catch(() => {});
    abort.abort();
    await expect(stopping).rejects.toMatchObject({ name: "HypervisorError" });
    expect(await driver.state("web1.example")).toMatchObject({ status: "running" });
  });

  it("a frozen qemu holds up nobody else and can be killed", async () => {
    await driver.start(guestWith({}), RUNNING, NEVER);
    await driver.start(bareGuest("web2.example", "kvm", HYPERVISOR_DEFAULTS.kvm), RUNNING, NEVER);
    process.kill(await pidOf("web1.example"), "SIGSTOP");
    expect((await driver.list()).map(({ status }) => status)).toEqual(["running", "running"]);
    await driver.reboot("web2.example", FORCED, NEVER);
    await driver.stop("web1.example", { force: false, timeoutMs: 200, killGraceMs: 500 }, NEVER);
    expect((await driver.list()).map(({ name }) => name)).toEqual(["web2.example"]);
    expect(await node.processes()).toHaveLength(1);
  });

  it("a qemu that is slow to write back its caches is given the time, and not more than it takes", async () => {
    await driver.start(guestWith({ acpi: false }), RUNNING, NEVER);
    const pid = await pidOf("web1.example");
    process.kill(pid, "SIGSTOP");
    const stopped = driver.stop("web1.example", { force: false, timeoutMs: 0 }, NEVER);
    await delay(6_000);
    expect(process.kill(pid, "SIGCONT")).toBe(true);
    const startedAt = performance.now();
    await stopped;
    expect(performance.now() - startedAt).toBeLessThan(15_000);
  });

  it("a guest may start with less memory than it may have", async () => {
    const guest = guestWith({}, { maxMemoryMib: 64, startMemoryMib: 48 });
    // Firmware has no balloon driver, so it has not given anything back yet, and the state says so.
    await driver.start(guest, RUNNING, NEVER);
    await eventually(async () => (await driver.state(guest.name))?.memoryMib === 64);
  });

  it("operations on many guests at once, some on the same, end in order", async () => {
    const guests = [1, 2, 3, 4].map((n) => bareGuest(`many${n}.example`, "kvm", HYPERVISOR_DEFAULTS.kvm));
    await Promise.all(
      guests.flatMap((guest) => [
        driver.start(guest, RUNNING, NEVER),
        driver.stop(guest.name, FORCED, NEVER),
        driver.start(guest, { paused: true }, NEVER),
      ]),
    );
    const states = (await driver.list()).map(({ name, status }) => `${name} ${status}`).sort();
    expect(states).toEqual(guests.map(({ name }) => `${name} paused`));
    expect(await node.processes()).toHaveLength(guests.length);
  });
});
