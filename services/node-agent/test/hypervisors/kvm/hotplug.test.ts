/** Devices and memory of running guests, with real qemu; a stock kernel where the guest has to take part. */
import { constants } from "node:fs";
import { chmod, readdir, readFile, readlink, rm, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import type { GuestDisk, GuestNic, GuestSpec } from "@gannet/driver-contract";
import { HYPERVISOR_DEFAULTS, type Parameters } from "@gannet/objects";
import { findStockKernel } from "@gannet/testing";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { deviceId } from "../../../src/hypervisors/kvm/argv/argument.ts";
import { tapObstacle } from "../../../src/hypervisors/kvm/nic/tap.ts";
import { tapName } from "../../../src/hypervisors/kvm/nic/tap-name.ts";
import { bareGuest, eventually, uuidOf } from "../node-fixture.ts";
import {
  type Console,
  countingGuest,
  GREETING,
  type MigrationNode,
  makeCluster,
  makeFolder,
  makeMigrationNode,
  move,
  NEVER,
  openConsole,
  openSerial,
} from "./migration-fixture.ts";

const FORCED = { force: true, timeoutMs: 10_000 } as const;
const RUNNING = { paused: false } as const;
const BOOT_MS = 180_000;
const MIB = 1024 * 1024;
const kernel = await findStockKernel();
if ("missing" in kernel) console.warn(`Not plugging devices into a real kernel: ${kernel.missing}`);

let folder: string;
let one: MigrationNode;
let two: MigrationNode;

beforeAll(async () => {
  folder = await makeFolder();
  const ca = await makeCluster(folder);
  one = await makeMigrationNode(ca, "node1.gannet.test");
  two = await makeMigrationNode(ca, "node2.gannet.test");
});
afterAll(async () => {
  for (const each of [one, two]) {
    await each?.driver.close();
    await each?.node.remove();
  }
  await rm(folder, { recursive: true, force: true });
});

async function makeDisk(name: string, index: number, changes: Partial<GuestDisk> = {}): Promise<GuestDisk> {
  const file = path.join(folder, name);
  await writeFile(file, Buffer.alloc(MIB));
  const made = { uuid: uuidOf(`${name}-of-a-guest`), index, name: null, path: file, sizeMib: 1 } as const;
  return { ...made, kind: "file", format: "raw", access: "rw", ...changes };
}

function makeNic(index: number, changes: Partial<GuestNic> = {}): GuestNic {
  const mac = `aa:00:00:00:00:1${index}`;
  const made = {
    uuid: uuidOf(`${index}-nic-of-a-guest`),
    index,
    name: null,
    mac,
    ip: null,
    link: "",
    vlan: "",
  } as const;
  return { ...made, mode: "user", ...changes };
}

describe.skipIf("missing" in kernel)("a guest that takes part", { timeout: BOOT_MS }, () => {
  let guest: GuestSpec;
  let serial: Console;
  let asked = 0;

  beforeAll(async () => {
    if ("missing" in kernel) return;
    guest = { ...(await countingGuest(kernel, folder)), disks: [] };
    await one.driver.start(guest, RUNNING, NEVER);
    await listen(one);
    await serial.saw(GREETING);
  }, BOOT_MS);
  afterAll(async () => {
    serial?.close();
    for (const each of [one, two]) await each.driver.stop("moving.example", FORCED, NEVER);
  });

  async function listen(at: MigrationNode): Promise<void> {
    serial?.close();
    serial = await openConsole(at.driver, guest.name);
  }

  /** What a command prints in the guest. */
  async function ask(command: string): Promise<string> {
    const mark = `answer-${asked++}`;
    serial.say(`run echo ${mark}: $(${command}) :end`);
    await serial.saw(new RegExp(`^${mark}: .*:end`, "m"));
    return new RegExp(`^${mark}: (.*) :end`, "m").exec(serial.text())?.[1] ?? "";
  }

  it("finds a disk that was plugged in, sees it grow, and lets it go", async () => {
    const disk = await makeDisk("plugged", 0);
    await one.driver.checkHotplug(guest.name);
    await one.driver.plug(guest.name, { kind: "disk", disk }, NEVER);
    await one.driver.plug(guest.name, { kind: "disk", disk }, NEVER);
    await eventually(async () => (await ask("cat /sys/block/vda/size")) === "2048");
    await ask("echo written by the guest >/dev/vda; busybox sync");
    expect(await readFile(disk.path, "utf8")).toMatch(/^written by the guest/);

    await truncate(disk.path, 3 * MIB);
    await one.driver.resizeDisk(guest.name, { ...disk, sizeMib: 3 });
    await eventually(async () => (await ask("cat /sys/block/vda/size")) === "6144");
    await one.driver.resizeDisk(guest.name, { ...disk, sizeMib: 2 });
    expect(await ask("cat /sys/block/vda/size")).toBe("6144");

    await one.driver.unplug(guest.name, { kind: "disk", disk }, NEVER);
    await one.driver.unplug(guest.name, { kind: "disk", disk }, NEVER);
    expect(await ask("ls /sys/block")).not.toContain("vda");
    await expect(one.driver.resizeDisk(guest.name, disk)).rejects.toThrow(/has no disk/);
  });

  it("finds a NIC, and another MAC in its place", async () => {
    const nic = makeNic(0);
    await one.driver.plug(guest.name, { kind: "nic", nic }, NEVER);
    await eventually(async () => (await ask("cat /sys/class/net/eth0/address")) === nic.mac);
    const place = await ask("busybox readlink /sys/class/net/eth0/device");
    const changed = { ...nic, mac: "aa:00:00:00:00:99" };
    await one.driver.replug(guest.name, { kind: "nic", nic: changed }, NEVER);
    await eventually(async () => (await ask("cat /sys/class/net/eth0/address")) === changed.mac);
    expect(await ask("busybox readlink /sys/class/net/eth0/device")).toBe(place);
    await one.driver.unplug(guest.name, { kind: "nic", nic: changed }, NEVER);
    expect(await ask("ls /sys/class/net")).toBe("lo");
  });

  it("gives memory back and gets it again, between its bounds, and keeps what it has over a reboot", async () => {
    const total = async () => Number((await ask("grep MemTotal /proc/meminfo")).replaceAll(/\D/g, "")) / 1024;
    const before = await total();
    await one.driver.setMemory(guest.name, 160, NEVER);
    expect(await one.driver.state(guest.name)).toMatchObject({ memoryMib: 160 });
    expect(await total()).toBeCloseTo(before - 32, -1);
    await one.driver.setMemory(guest.name, 192, NEVER);
    expect(await total()).toBeCloseTo(before, -1);
    for (const memoryMib of [193, 0, 15])
      await expect(one.driver.setMemory(guest.name, memoryMib, NEVER)).rejects.toThrow(/between 16 and 192 MiB/);
    expect(await one.driver.state(guest.name)).toMatchObject({ memoryMib: 192 });
  });

  it("has what was plugged in after a migration and a reboot, where it was", async () => {
    const disks = [await makeDisk("first", 0), await makeDisk("second", 1)];
    for (const disk of disks) await one.driver.plug(guest.name, { kind: "disk", disk }, NEVER);
    const [first, second] = disks as [GuestDisk, GuestDisk];
    const nic = makeNic(0);
    await one.driver.plug(guest.name, { kind: "nic", nic }, NEVER);
    await eventually(async () => (await ask("echo /sys/block/vd*")) === "/sys/block/vda /sys/block/vdb");
    // A gap, which the target has to leave, too.
    await one.driver.unplug(guest.name, { kind: "disk", disk: first }, NEVER);
    const placesWith = (disk: string) =>
      ask(`for each in /sys/block/${disk} /sys/class/net/eth0; do busybox readlink -f $each/device; done`);
    const before = await placesWith("vdb");
    expect(before).toMatch(/0000:00:.*0000:00:/);

    const configured = { ...guest, disks: [{ ...second, index: 0 }], nics: [nic] };
    await move(configured, one, two);
    await listen(two);
    expect(await placesWith("vdb")).toBe(before);
    await ask("echo written at the target >/dev/vdb; busybox sync");
    expect(await readFile(second.path, "utf8")).toMatch(/^written at the target/);
    await two.driver.unplug(guest.name, { kind: "nic", nic }, NEVER);
    expect(await ask("ls /sys/class/net")).toBe("lo");
    await two.driver.plug(guest.name, { kind: "nic", nic }, NEVER);
    await eventually(async () => (await ask("ls /sys/class/net")) === "eth0 lo");
    const replugged = await placesWith("vdb");

    await two.restart();
    await two.driver.reboot(guest.name, FORCED, NEVER);
    await listen(two);
    await serial.saw(GREETING);
    const slotsOf = (text: string) => text.match(/0000:00:[0-9a-f]{2}\.0/g);
    expect(slotsOf(await placesWith("vda"))).toEqual(slotsOf(replugged));
    await move(configured, two, one);
    await listen(one);
    for (const device of [{ kind: "disk", disk: second } as const, { kind: "nic", nic } as const])
      await one.driver.unplug(guest.name, device, NEVER);
  });
});

describe("a guest that has not booted", () => {
  const guestOf = (params: Parameters = {}): GuestSpec =>
    bareGuest("still.example", "kvm", { ...HYPERVISOR_DEFAULTS.kvm, ...params });
  const { name } = guestOf();

  afterEach(async () => {
    for (const each of [one, two]) await each.driver.stop(name, FORCED, NEVER);
  });

  it("does not let go of a disk, which is told, and has it still", async () => {
    const disk = await makeDisk("kept", 0);
    await one.driver.start(guestOf(), RUNNING, NEVER);
    await one.driver.plug(name, { kind: "disk", disk }, NEVER);
    await expect(one.driver.unplug(name, { kind: "disk", disk }, NEVER)).rejects.toThrow(
      /has not let go of its device disk-.* within 10 s/,
    );
    // Its place is taken still, and it comes along.
    await one.driver.plug(name, { kind: "disk", disk: await makeDisk("beside", 1) }, NEVER);
    await one.driver.reboot(name, FORCED, NEVER);
    await expect(one.driver.replug(name, { kind: "disk", disk }, NEVER)).rejects.toThrow(/medium cannot be changed/);
  });

  it("gets a SCSI controller with its first SCSI disk, and has it wherever it comes to", async () => {
    const guest = guestOf({ disk_type: "scsi-hd", scsi_controller_type: "virtio-scsi-pci" });
    const disks = [await makeDisk("scsi0", 0), await makeDisk("scsi1", 1)] as const;
    await one.driver.start(guest, RUNNING, NEVER);
    for (const disk of disks) await one.driver.plug(name, { kind: "disk", disk }, NEVER);
    await one.driver.unplug(name, { kind: "disk", disk: disks[0] }, NEVER);
    await move({ ...guest, disks: [{ ...disks[1], index: 0 }] }, one, two);
    await two.driver.unplug(name, { kind: "disk", disk: disks[1] }, NEVER);
    await move(guest, two, one);
    await one.driver.reboot(name, FORCED, NEVER);
    await one.driver.plug(name, { kind: "disk", disk: disks[0] }, NEVER);
    expect(await one.driver.state(name)).toMatchObject({ status: "running" });
  });

  it("keeps the SCSI controller that came with a disk that did not, and knows of it", async () => {
    const guest = guestOf({ disk_type: "scsi-block", scsi_controller_type: "virtio-scsi-pci" });
    await one.driver.start(guest, RUNNING, NEVER);
    // A file takes no SCSI commands, which qemu finds out when the controller is there already.
    const refused = one.driver.plug(name, { kind: "disk", disk: await makeDisk("no-scsi", 0) }, NEVER);
    await expect(refused).rejects.toThrow(/SG_IO/);
    const nic = makeNic(0);
    await one.driver.plug(name, { kind: "nic", nic }, NEVER);
    await move({ ...guest, nics: [nic] }, one, two);
    await two.restart();
    await move({ ...guest, nics: [nic] }, two, one);
  });

  it("is not sent with a device that nobody has recorded, which is named", async () => {
    await one.driver.start(guestOf(), RUNNING, NEVER);
    const monitor = path.join(one.node.parts.stateDir, `kvm-hypervisor/ctrl/${name}.monitor`);
    await using console = openSerial(monitor);
    console.say("device_add virtio-rng-pci,id=by-hand");
    await expect(
      eventually(async () => {
        await one.driver.migrationInfo(name);
        return false;
      }),
    ).rejects.toThrow(/no record of .*: by-hand;/);
    // What the command line says is known, by kvm_extra too.
    await one.driver.stop(name, FORCED, NEVER);
    await one.driver.start(guestOf({ kvm_extra: "-device virtio-rng-pci,id=by-hand" }), RUNNING, NEVER);
    await one.driver.migrationInfo(name);
  });

  it("gets another medium into its drive, and keeps the one it has when the other cannot be opened", async () => {
    const guest = guestOf({ disk_type: "scsi-cd", scsi_controller_type: "virtio-scsi-pci" });
    const disk = await makeDisk("medium", 0, { access: "ro" });
    await one.driver.start({ ...guest, disks: [disk] }, RUNNING, NEVER);
    const other = { ...disk, path: (await makeDisk("other-medium", 0)).path };
    await one.driver.replug(name, { kind: "disk", disk: other }, NEVER);
    const missing = { ...disk, path: path.join(folder, "no-such-medium") };
    await expect(one.driver.replug(name, { kind: "disk", disk: missing }, NEVER)).rejects.toThrow(/no-such-medium/);
    await one.driver.reboot(name, FORCED, NEVER);
    const record = await readFile(path.join(one.node.parts.stateDir, `kvm-hypervisor/conf/${name}.json`), "utf8");
    expect(record).toContain("other-medium");
  });

  it("is as it was when a device cannot be plugged in", async () => {
    await one.driver.start(guestOf(), RUNNING, NEVER);
    const disk = { ...(await makeDisk("gone", 0)), path: path.join(folder, "no-such-disk") };
    await expect(one.driver.plug(name, { kind: "disk", disk }, NEVER)).rejects.toThrow(/no-such-disk/);
    const nic = makeNic(0, { mode: "bridged", link: "no-such-br" });
    await expect(one.driver.plug(name, { kind: "nic", nic }, NEVER)).rejects.toThrow(/no-such-br/);
    await move(guestOf(), one, two);
    await two.driver.plug(name, { kind: "disk", disk: await makeDisk("gone", 0) }, NEVER);
  });

  it.each<readonly [RegExp, Parameters, "disk" | "nic"]>([
    [/disks of type ide, which do not come or go/, { disk_type: "ide" }, "disk"],
    [/SCSI controller lsi, whose disks do not come or go/, { disk_type: "scsi-hd" }, "disk"],
    [/machine pc-q35-.*, whose bus takes no devices/, { machine_version: "q35" }, "disk"],
    [/machine pc-q35-.*, whose bus takes no devices/, { machine_version: "q35" }, "nic"],
    [/network cards of type ne2k_isa/, { nic_type: "ne2k_isa" }, "nic"],
  ])("is told why not: %s", async (reason, params, kind) => {
    await one.driver.start(guestOf(params), RUNNING, NEVER);
    const device =
      kind === "disk" ? ({ kind, disk: await makeDisk("refused", 0) } as const) : ({ kind, nic: makeNic(0) } as const);
    await expect(one.driver.plug(name, device, NEVER)).rejects.toThrow(reason);
    await expect(one.driver.unplug(name, device, NEVER)).rejects.toThrow(reason);
    if (params.machine_version === undefined) await one.driver.checkHotplug(name);
    else await expect(one.driver.checkHotplug(name)).rejects.toThrow(reason);
  });

  describe.skipIf(process.geteuid?.() !== 0).each<readonly [string, Parameters]>([
    ["as another user", { security_model: "user", security_domain: "games" }],
    ["in a chroot", { use_chroot: true }],
    ["as another user in a chroot", { security_model: "user", security_domain: "games", use_chroot: true }],
  ])("whose qemu runs %s", (_, confinement) => {
    const scsi = { disk_type: "scsi-hd", scsi_controller_type: "virtio-scsi-pci" };
    const flagsOf = async (file: string): Promise<readonly number[]> => {
      const pid = (await readFile(path.join(one.node.parts.stateDir, `kvm-hypervisor/pid/${name}`), "utf8")).trim();
      const open = await readdir(`/proc/${pid}/fd`);
      const held: number[] = [];
      for (const fd of open) {
        if ((await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "")) !== file) continue;
        const info = await readFile(`/proc/${pid}/fdinfo/${fd}`, "utf8");
        held.push(Number.parseInt(/^flags:\s*([0-7]+)/m.exec(info)?.[1] ?? "", 8));
      }
      return held;
    };

    it("gets a disk that it may not open, writes it, lets it go, and takes it along", async () => {
      const guest = guestOf({ ...scsi, ...confinement });
      const disk = await makeDisk("secret", 0);
      await chmod(disk.path, 0o600);
      await one.driver.start(guest, RUNNING, NEVER);
      await one.driver.checkHotplug(name);
      await one.driver.plug(name, { kind: "disk", disk }, NEVER);
      // What the descriptor was while it was Node's must not stay: qemu would be told to try again later.
      for (const flags of await flagsOf(disk.path)) expect(flags & constants.O_NONBLOCK).toBe(0);
      await using console = openSerial(path.join(one.node.parts.stateDir, `kvm-hypervisor/ctrl/${name}.monitor`));
      console.say(`qemu-io -d ${deviceId("disk", disk.uuid)} "write -P 65 0 512"`);
      await eventually(async () => (await readFile(disk.path, "utf8")).startsWith(`${"A".repeat(512)}\0`));
      console.close();
      await truncate(disk.path, 2 * MIB);
      await one.driver.resizeDisk(name, { ...disk, sizeMib: 2 });

      await move({ ...guest, disks: [disk] }, one, two);
      await two.driver.unplug(name, { kind: "disk", disk }, NEVER);
      await two.driver.plug(name, { kind: "disk", disk }, NEVER);
      await move({ ...guest, disks: [disk] }, two, one);
      await one.driver.unplug(name, { kind: "disk", disk }, NEVER);
      expect(await flagsOf(disk.path)).toEqual([]);
    });

    it("is as it was when the disk is not there", async () => {
      await one.driver.start(guestOf(confinement), RUNNING, NEVER);
      const disk = { ...(await makeDisk("gone", 0)), path: path.join(folder, "no-such-disk") };
      await expect(one.driver.plug(name, { kind: "disk", disk }, NEVER)).rejects.toThrow(
        /no-such-disk cannot be opened/,
      );
      const folderAsDisk = { ...disk, path: folder, access: "ro" } as const;
      await expect(one.driver.plug(name, { kind: "disk", disk: folderAsDisk }, NEVER)).rejects.toThrow(/regular file/);
      expect(await flagsOf(folder)).toEqual([]);
      await one.driver.plug(name, { kind: "disk", disk: await makeDisk("there", 0) }, NEVER);
    });

    it("gets another medium into its drive", async () => {
      const disk = await makeDisk("old-medium", 0, { access: "ro" });
      const cd = { disk_type: "scsi-cd", scsi_controller_type: "virtio-scsi-pci" };
      await one.driver.start({ ...guestOf({ ...cd, ...confinement }), disks: [disk] }, RUNNING, NEVER);
      const other = { ...disk, path: (await makeDisk("new-medium", 0)).path };
      await one.driver.replug(name, { kind: "disk", disk: other }, NEVER);
      expect(await flagsOf(other.path)).not.toEqual([]);
      expect(await flagsOf(disk.path)).toEqual([]);
    });

    if (confinement.use_chroot === true) {
      it("gets no NIC and no disk by the network", async () => {
        await one.driver.start(guestOf(confinement), RUNNING, NEVER);
        const plugged = one.driver.plug(name, { kind: "nic", nic: makeNic(0) }, NEVER);
        await expect(plugged).rejects.toThrow(/chroot, where its qemu finds no networks/);
        const disk = await makeDisk("remote", 0, { uris: { kvm: "gluster://192.0.2.1/volume/image" } });
        await expect(one.driver.plug(name, { kind: "disk", disk }, NEVER)).rejects.toThrow(/cannot reach disks by the/);
      });
    } else {
      it("gets a NIC", async () => {
        await one.driver.start(guestOf(confinement), RUNNING, NEVER);
        await one.driver.plug(name, { kind: "nic", nic: makeNic(0) }, NEVER);
      });

      it("gets a NIC on a bridge, whose tap it may open", async (test) => {
        if ((await tapObstacle()) !== undefined) return test.skip("there are no taps here");
        const bridge = `gnthc${process.pid % 1_000_000}`;
        const ip = (...args: readonly string[]) =>
          one.node.parts.runner.run({ argv: ["/sbin/ip", ...args], timeoutMs: 10_000 });
        await ip("link", "add", bridge, "type", "bridge");
        try {
          await one.driver.start(guestOf(confinement), RUNNING, NEVER);
          const nic = makeNic(0, { mode: "bridged", link: bridge });
          await one.driver.plug(name, { kind: "nic", nic }, NEVER);
          expect(await readFile(`/sys/class/net/${tapName(nic.uuid)}/carrier`, "utf8")).toBe("1\n");
          await one.driver.stop(name, FORCED, NEVER);
        } finally {
          await ip("link", "delete", bridge);
        }
      });
    }

    it("gets a block device", async (test) => {
      const { path: file } = await makeDisk("behind-a-device", 0);
      const loop = await one.node.parts.runner
        .run({ argv: ["/sbin/losetup", "--find", "--show", file], timeoutMs: 10_000 })
        .then(({ stdout }) => stdout.trim())
        .catch(() => undefined);
      if (loop === undefined) return test.skip("there are no loop devices here");
      try {
        await one.driver.start(guestOf({ disk_aio: "native", disk_cache: "none", ...confinement }), RUNNING, NEVER);
        const disk = await makeDisk("device", 0, { path: loop, kind: "block" });
        await one.driver.plug(name, { kind: "disk", disk }, NEVER);
        expect(await flagsOf(loop)).not.toEqual([]);
        await one.driver.stop(name, FORCED, NEVER);
      } finally {
        await one.node.parts.runner.run({ argv: ["/sbin/losetup", "--detach", loop], timeoutMs: 10_000 });
      }
    });
  });

  it("that does not run has no devices to change and no memory", async () => {
    const refusal = { name: "HypervisorError", message: expect.stringMatching(/does not run/) };
    await expect(one.driver.checkHotplug(name)).rejects.toMatchObject(refusal);
    await expect(one.driver.plug(name, { kind: "nic", nic: makeNic(0) }, NEVER)).rejects.toMatchObject(refusal);
    await expect(one.driver.setMemory(name, 32, NEVER)).rejects.toMatchObject(refusal);
  });

  it("has no driver for its balloon, which is told when the waiting is given up", async () => {
    await one.driver.start(guestOf(), RUNNING, NEVER);
    await expect(one.driver.setMemory(name, 20, AbortSignal.timeout(300))).rejects.toThrow(/aborted at 32 MiB/);
    expect(await one.driver.state(name)).toMatchObject({ memoryMib: 32 });
  });
});

const bridges = ["a", "b"].map((letter) => `gnth${letter}${process.pid % 1_000_000}`);
const obstacle = (await tapObstacle()) ?? ("missing" in kernel ? kernel.missing : undefined);
if (obstacle !== undefined) console.warn(`Not plugging bridged NICs: ${obstacle}`);

describe.skipIf(obstacle !== undefined)("a bridged NIC of a guest that takes part", { timeout: BOOT_MS }, () => {
  let guest: GuestSpec;
  const ip = (...args: readonly string[]) =>
    one.node.parts.runner.run({ argv: ["/sbin/ip", ...args], timeoutMs: 10_000 });

  beforeAll(async () => {
    if ("missing" in kernel) return;
    for (const bridge of bridges) await ip("link", "add", bridge, "type", "bridge");
    guest = { ...(await countingGuest(kernel, folder)), disks: [] };
    await one.driver.start(guest, RUNNING, NEVER);
    await using serial = await openConsole(one.driver, guest.name);
    await serial.saw(GREETING);
  }, BOOT_MS);
  afterAll(async () => {
    await one.driver.stop("moving.example", FORCED, NEVER);
    for (const bridge of bridges) await ip("link", "delete", bridge);
  });

  it("joins its bridge, changes to another, and leaves nothing", async () => {
    const [first = "", second = ""] = bridges;
    const nics = [0, 1].map((index) => makeNic(index, { mode: "bridged", link: first })) as [GuestNic, GuestNic];
    const masterOf = async (nic: GuestNic) =>
      path.basename(await readlink(`/sys/class/net/${tapName(nic.uuid)}/master`).catch(() => "gone"));
    const notes = path.join(one.node.parts.stateDir, `kvm-hypervisor/nic/${guest.name}`);
    for (const nic of nics) await one.driver.plug(guest.name, { kind: "nic", nic }, NEVER);
    expect(await masterOf(nics[0])).toBe(first);
    // Only a tap that qemu has opened has a carrier.
    expect(await readFile(`/sys/class/net/${tapName(nics[1].uuid)}/carrier`, "utf8")).toBe("1\n");
    await one.driver.replug(guest.name, { kind: "nic", nic: { ...nics[0], link: second } }, NEVER);
    expect(await masterOf(nics[0])).toBe(second);
    const missing = { ...nics[1], link: "no-such-br" };
    await expect(one.driver.replug(guest.name, { kind: "nic", nic: missing }, NEVER)).rejects.toThrow(/no-such-br/);
    expect(await masterOf(nics[1])).toBe(first);
    await one.driver.unplug(guest.name, { kind: "nic", nic: nics[0] }, NEVER);
    expect(await masterOf(nics[0])).toBe("gone");
    expect(await readFile(path.join(notes, "0"), "utf8")).toBe(`${tapName(nics[1].uuid)}\n`);
    await expect(readFile(path.join(notes, "1"))).rejects.toThrow(/ENOENT/);
    await one.driver.stop(guest.name, FORCED, NEVER);
    expect(await masterOf(nics[1])).toBe("gone");
  });
});
