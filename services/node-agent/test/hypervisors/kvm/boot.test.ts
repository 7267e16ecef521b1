/** A stock kernel in a guest: what no test without a running guest can show. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import type { GuestSpec } from "@gannet/driver-contract";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { buildInitramfs, findStockKernel } from "@gannet/testing";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { KvmHypervisor } from "../../../src/hypervisors/kvm/kvm-hypervisor.ts";
import { bareGuest, eventually, makeTestNode, type TestNode, uuidOf } from "../node-fixture.ts";

const kernel = await findStockKernel();
if ("missing" in kernel) console.warn(`Not booting a real kernel: ${kernel.missing}`);

const GREETING = "gannet guest is up";
const NEVER = new AbortController().signal;
/** Half a minute on an idle machine, under TCG. */
const BOOT_MS = 120_000;

describe.skipIf("missing" in kernel)("a guest with a stock kernel", { timeout: 2 * BOOT_MS }, () => {
  let node: TestNode;
  let driver: KvmHypervisor;
  let folder: string;
  let guest: GuestSpec;

  beforeAll(async () => {
    if ("missing" in kernel) return;
    node = await makeTestNode({ kvmAcceleration: "off" });
    driver = new KvmHypervisor(node.parts);
    await driver.recover();
    folder = await mkdtemp(path.join(tmpdir(), "gannet-initramfs-"));
    const { runner } = node.parts;
    const initrd = await buildInitramfs({ runner, folder, greeting: GREETING, modules: kernel.modules });
    const params = { kernel_path: kernel.path, initrd_path: initrd, kernel_args: "ro quiet mitigations=off" };
    guest = {
      ...bareGuest("booted.example", "kvm", { ...HYPERVISOR_DEFAULTS.kvm, ...params }),
      maxMemoryMib: 192,
      startMemoryMib: 192,
      vcpus: 1,
    };
  });
  afterEach(() => driver.stop(guest.name, { force: true, timeoutMs: 0 }, NEVER));
  afterAll(async () => {
    await driver?.close();
    await node?.remove();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  it("greets on its serial console, answers there, and can power itself off", async () => {
    await driver.start(guest, { paused: false }, NEVER);
    await using serial = await openConsole(driver, guest.name);
    await serial.saw(GREETING);
    serial.say("good morning");
    await serial.saw("you said: good morning");
    const told: (string | undefined)[] = [];
    driver.onChange((name) => void driver.state(name).then((state) => told.push(state?.status)));
    serial.say("poweroff");
    await eventually(async () => told.includes("shutdown"));
    expect(await driver.state(guest.name)).toMatchObject({ status: "shutdown", memoryMib: 0 });
  });

  it("sees a SCSI disk, and its own shutdown is known to an agent that was away meanwhile", async () => {
    const image = path.join(folder, "disk.raw");
    await writeFile(image, Buffer.alloc(3 * 1024 * 1024));
    const disk = { uuid: uuidOf("disk-0"), index: 0, name: null, path: image, sizeMib: 3, access: "rw" } as const;
    const params = { disk_type: "scsi-hd", scsi_controller_type: "virtio-scsi-pci", user_shutdown: true };
    const scsiGuest: GuestSpec = {
      ...guest,
      hvparams: { ...guest.hvparams, ...params },
      disks: [{ ...disk, kind: "file", format: "raw" }],
    };
    await driver.start(scsiGuest, { paused: false }, NEVER);
    await using serial = await openConsole(driver, guest.name);
    await serial.saw(GREETING);
    serial.say("run busybox cat /proc/partitions");
    await serial.saw(/ 3072 sda\b/);
    await driver.close();
    serial.say("poweroff");
    await serial.saw("reboot: Power down");
    driver = new KvmHypervisor(node.parts);
    await driver.recover();
    await eventually(async () => (await node.processes()).length === 0);
    await eventually(async () => (await driver.state(guest.name))?.memoryMib === 0);
    expect(await driver.state(guest.name)).toMatchObject({ status: "shutdown" });
  });

  it("is shut down by its ACPI power button", async (test) => {
    if ("missing" in kernel || kernel.modules.length < 2)
      return test.skip("the modules button and evdev are not there");
    await driver.start(guest, { paused: false }, NEVER);
    await using serial = await openConsole(driver, guest.name);
    await serial.saw(GREETING);
    const startedAt = performance.now();
    await driver.stop(guest.name, { force: false, timeoutMs: BOOT_MS }, NEVER);
    expect(performance.now() - startedAt).toBeLessThan(BOOT_MS);
    await serial.saw("reboot: Power down");
    expect(await driver.state(guest.name)).toBeUndefined();
  });
});

/** The serial console by the socket that the driver's own console command names. */
async function openConsole(driver: KvmHypervisor, guestName: string) {
  const access = await driver.console(guestName);
  if (access.kind !== "ssh") throw new Error(`the console is of kind ${access.kind}`);
  const connection = createConnection(String(access.command.at(-1)).replace("UNIX-CONNECT:", ""));
  let text = "";
  connection.on("data", (chunk) => {
    text += chunk;
  });
  return {
    say: (line: string) => connection.write(`${line}\n`),
    saw: (wanted: string | RegExp) => eventually(async () => text.search(wanted) >= 0),
    async [Symbol.asyncDispose]() {
      connection.destroy();
    },
  };
}
