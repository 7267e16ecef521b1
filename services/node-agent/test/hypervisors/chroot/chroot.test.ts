/** chroot with real mounts and real processes, which only root can have. */
import { mkdir, readdir, readFile, readlink, writeFile } from "node:fs/promises";
import path from "node:path";
import type { GuestDisk, GuestSpec } from "@gannet/driver-contract";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ChrootBackend } from "../../../src/hypervisors/chroot/chroot-backend.ts";
import { ContainerHypervisor } from "../../../src/hypervisors/container/container-hypervisor.ts";
import { mountPoints } from "../../../src/hypervisors/container/root-mount.ts";
import { makeDiskImage } from "../container/disk-image.ts";
import { bareGuest, eventually, makeTestNode, type TestNode } from "../node-fixture.ts";
import { type LocalHypervisor, testConformance } from "../served-hypervisor.ts";

const NEVER = new AbortController().signal;
const RUNNING = { paused: false } as const;
const FORCED = { force: true, timeoutMs: 10_000 } as const;
const NAME = "web1.example";

let node: TestNode;
let disk: GuestDisk;

async function prepare(): Promise<void> {
  node = await makeTestNode({});
  const images = path.join(node.parts.stateDir, "images");
  await mkdir(images);
  disk = await makeDiskImage(images);
}

const openDriver = () => new ContainerHypervisor(new ChrootBackend(node.parts.runner), node.parts);

function guest(name: string, init_script = "/ganeti-chroot"): GuestSpec {
  const params = { ...HYPERVISOR_DEFAULTS.chroot, init_script };
  return { ...bareGuest(name, "chroot", params), disks: [disk] };
}

async function mountsBelow(folder: string): Promise<readonly string[]> {
  const points = mountPoints(await readFile("/proc/self/mountinfo", "utf8"));
  return [...points].filter((point) => point.startsWith(`${folder}/`));
}

/** Processes whose root is below the folder. */
async function processesBelow(folder: string): Promise<readonly number[]> {
  const pids = (await readdir("/proc")).filter((entry) => /^\d+$/.test(entry));
  const roots = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/root`).catch(() => "")));
  return pids.filter((_pid, index) => roots[index]?.startsWith(`${folder}/`)).map(Number);
}

async function leftovers(): Promise<readonly string[]> {
  const { stateDir } = node.parts;
  const files = await readdir(path.join(stateDir, "chroot-hypervisor"), { recursive: true, withFileTypes: true });
  return [
    ...(await mountsBelow(stateDir)).map((point) => `mount ${point}`),
    ...(await processesBelow(stateDir)).map((pid) => `process ${pid}`),
    ...files.filter((entry) => !entry.isDirectory()).map((entry) => path.join(entry.parentPath, entry.name)),
  ];
}

describe("chroot", () => {
  let subject: LocalHypervisor;
  beforeAll(async () => {
    await prepare();
    subject = {
      open: async () => openDriver(),
      guest: (name) => guest(name),
      failingGuest: (name) => guest(name, "/broken"),
      crash: async (name) => {
        const root = path.join(node.parts.stateDir, "chroot-hypervisor/root", name);
        for (const pid of await processesBelow(path.dirname(root))) process.kill(pid, "SIGKILL");
        await node.parts.runner.run({ argv: ["/bin/umount", "-l", root], timeoutMs: 10_000 });
      },
      leftovers,
    };
  });
  afterAll(() => node.remove());

  testConformance(() => subject);
});

describe("a chroot guest", () => {
  let driver: ContainerHypervisor;
  beforeEach(async () => {
    await prepare();
    driver = openDriver();
    await driver.recover();
  });
  afterEach(async () => {
    await driver.stop(NAME, FORCED, NEVER);
    await driver.close();
    await node.remove();
  });

  it("has its processes in its own system, and a shell there", async () => {
    await driver.start(guest(NAME), RUNNING, NEVER);
    await eventually(async () => (await processesBelow(node.parts.stateDir)).length === 1);
    const root = path.join(node.parts.stateDir, "chroot-hypervisor/root", NAME);
    expect(await driver.console(NAME)).toEqual({ kind: "ssh", command: ["/usr/sbin/chroot", root, "/bin/sh"] });
  });

  it("that does not end in order is ended, with what it mounted itself", async () => {
    disk = await makeDiskImage(path.join(node.parts.stateDir, "images"), { deaf: "" });
    await driver.start(guest(NAME), RUNNING, NEVER);
    const root = path.join(node.parts.stateDir, "chroot-hypervisor/root", NAME);
    await node.parts.runner.run({
      argv: ["/bin/mount", "-t", "proc", "proc", path.join(root, "proc")],
      timeoutMs: 9_000,
    });
    await driver.stop(NAME, { force: false, timeoutMs: 500 }, NEVER);
    expect(await leftovers()).toEqual([]);
  });

  it("is started from its disk's first partition", async () => {
    const contents = await readFile(disk.path);
    const image = path.join(node.parts.stateDir, "images/partitioned");
    const table = Buffer.alloc(2048 * 512);
    table[450] = 0x83;
    table.writeUInt32LE(2048, 454);
    table.writeUInt32LE(contents.length / 512, 458);
    table.writeUInt16LE(0xaa55, 510);
    await writeFile(image, Buffer.concat([table, contents]));
    disk = { ...disk, path: image };
    expect(await driver.start(guest(NAME), RUNNING, NEVER)).toMatchObject({ status: "running" });
  });

  it.each<[string, (whole: GuestSpec) => GuestSpec, RegExp]>([
    ["without a disk", (whole) => ({ ...whole, disks: [] }), /has 0 disks; a container has exactly one/],
    ["with qcow2", (whole) => ({ ...whole, disks: [{ ...disk, format: "qcow2" }] }), /is qcow2; a container's is raw/],
    ["with a disk that is not there", (whole) => ({ ...whole, disks: [{ ...disk, path: "/nonexistent" }] }), /ENOENT/],
    ["with a disk that holds no system", (whole) => ({ ...whole, disks: [{ ...disk, path: "/bin/true" }] }), /mounted/],
    ["with a script that says no", (whole) => ({ ...whole, hvparams: { init_script: "/broken" } }), /system is broken/],
  ])("%s does not start and leaves nothing", async (_what, change, message) => {
    await expect(driver.start(change(guest(NAME)), RUNNING, NEVER)).rejects.toThrow(message);
    await expect(driver.start(change(guest(NAME)), RUNNING, NEVER)).rejects.toMatchObject({ name: "HypervisorError" });
    expect(await leftovers()).toEqual([]);
  });
});
