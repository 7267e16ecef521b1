import { spawn } from "node:child_process";
import { randomInt, randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { link, mkdir, mkdtemp, readdir, rename, rm, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { canBlockDevice } from "@gannet/driver-contract";
import { BLOCK_DEVICE_CHECKS } from "@gannet/driver-contract/conformance";
import { BlockDeviceError, OpPrereqError } from "@gannet/errors";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { createFileDriver } from "../../src/block-devices/file/file-driver.ts";
import { type RootSpace, RootSpaces } from "../../src/block-devices/file/root-space.ts";
import { createBlockDevices } from "../../src/block-devices/index.ts";
import { createLvm } from "../../src/block-devices/lvm/lvm.ts";
import { SYSTEM_STORAGE_TOOLS } from "../../src/block-devices/storage-tools.ts";
import { LogFolder } from "../../src/log-folder.ts";
import { type FileSubject, fileSubject } from "./file-subject.ts";
import { type ServedDriver, serveDriver } from "./served-driver.ts";

const { signal } = new AbortController();
const runner = createCommandRunner({ logger: silentLogger() });
const run = (...argv: [string, ...string[]]) => runner.run({ argv, timeoutMs: 10_000 });

describe.each(["file", "sharedfile"] as const)("conformance of %s", (template) => {
  let subject: FileSubject;
  beforeAll(async () => {
    subject = await fileSubject(template);
  });
  afterAll(() => subject.close());

  test.each(BLOCK_DEVICE_CHECKS)("$name", ({ run }) => run(subject));
});

describe.each(["file", "sharedfile"] as const)("conformance of %s over gRPC", (template) => {
  let subject: FileSubject;
  let remote: ServedDriver;
  beforeAll(async () => {
    subject = await fileSubject(template);
    remote = await serveDriver(subject.driver);
  });
  afterAll(async () => {
    await remote[Symbol.asyncDispose]();
    await subject.close();
  });

  test.each(BLOCK_DEVICE_CHECKS)("$name", ({ run }) => run({ ...subject, driver: remote.driver }));
});

describe("conformance of file in qcow2 format", () => {
  let subject: FileSubject;
  beforeAll(async () => {
    subject = await fileSubject("file", undefined, "qcow2");
  });
  afterAll(() => subject.close());

  test.each(BLOCK_DEVICE_CHECKS)("$name", ({ run }) => run(subject));
});

describe("the file driver", () => {
  let subject: FileSubject;
  beforeAll(async () => {
    subject = await fileSubject("file");
  });
  afterAll(() => subject.close());

  const targetOf = (device: { logicalId: readonly unknown[] }) => String(device.logicalId[1]);
  const markOf = (target: string) => path.join(path.dirname(target), `.${path.basename(target)}.owner`);

  test("a new disk takes no space, and only the agent may read it", async () => {
    const device = { ...subject.newDevice(), sizeMib: 1024 };
    await subject.driver.create(device, signal);
    const file = await stat(targetOf(device));
    expect(file.size).toBe(1024 ** 3);
    expect(file.blocks * 512).toBeLessThan(1024 ** 2);
    expect(file.mode & 0o777).toBe(0o600);
    expect((await stat(path.dirname(targetOf(device)))).mode & 0o777).toBe(0o750);
    expect(await subject.driver.assemble(device, signal)).toEqual({
      path: targetOf(device),
      kind: "file",
      format: "raw",
    });
    await subject.driver.remove(device, signal);
  });

  test("the folder of an instance goes with its last disk, and the root never", async () => {
    const first = subject.newDevice();
    const second = subject.newDevice();
    const inRoot = subject.deviceAt(path.join(subject.root, "alone.disk0"));
    for (const device of [first, second, inRoot]) await subject.driver.create(device, signal);
    await subject.driver.remove(first, signal);
    expect(await subject.inventory()).toContain("root/web1.example.com");
    await subject.driver.remove(second, signal);
    await subject.driver.remove(inRoot, signal);
    expect(await subject.inventory()).toEqual(["outside", "root", "root/escape"]);
  });

  describe("repeats a create that was cut short", () => {
    const steps: Readonly<Record<string, (target: string, uuid: string) => Promise<unknown>>> = {
      "after the folder": (target) => mkdir(path.dirname(target)),
      "after the owner's mark": (target, uuid) => symlink(uuid, markOf(target)),
      "after the empty file": (target) => writeFile(target, ""),
    };
    const names = Object.keys(steps);

    test.each(names)("%s", async (name) => {
      const device = subject.newDevice();
      const cutShort = async () => {
        for (const step of names.slice(0, names.indexOf(name) + 1)) await steps[step]?.(targetOf(device), device.uuid);
      };
      const before = await subject.inventory();
      await cutShort();
      await subject.driver.create(device, signal);
      expect(await subject.driver.status(device, signal)).toEqual({ exists: true, sizeMib: device.sizeMib });
      await subject.driver.remove(device, signal);
      await cutShort();
      await subject.driver.remove(device, signal);
      expect(await subject.inventory()).toEqual(before);
    });
  });

  test("a killed agent's disk can be created again or removed, wherever it was", async () => {
    const before = await subject.inventory();
    for (let round = 0; round < 4; round += 1) {
      const device = subject.newDevice();
      const script = path.join(import.meta.dirname, "churning-process.ts");
      const child = spawn(process.execPath, [script, subject.root, JSON.stringify(device)]);
      await once(child.stdout, "data");
      const exited = once(child, "exit");
      setTimeout(() => child.kill("SIGKILL"), randomInt(20));
      await exited;
      if (round % 2 === 0) {
        await subject.driver.create(device, signal);
        expect(await subject.driver.status(device, signal)).toEqual({ exists: true, sizeMib: device.sizeMib });
      }
      await subject.driver.remove(device, signal);
      expect(await subject.inventory()).toEqual(before);
    }
  });

  test("a create that is aborted on its way removes what it made and nothing else", async () => {
    const abort = new AbortController();
    const before = await subject.inventory();
    const device = subject.newDevice();
    const creating = subject.driver.create(device, abort.signal);
    abort.abort(new Error("the job was stopped"));
    await expect(creating).rejects.toThrow("the job was stopped");
    expect(await subject.inventory()).toEqual(before);

    await subject.driver.create(device, signal);
    const again = new AbortController();
    const repeating = subject.driver.create(device, again.signal);
    again.abort();
    await expect(repeating).rejects.toThrow();
    expect(await subject.driver.status(device, signal)).toEqual({ exists: true, sizeMib: device.sizeMib });
    await subject.driver.remove(device, signal);
  });

  test("a disk made by Ganeti is taken over when it is activated, and not removed before", async () => {
    const device = subject.newDevice();
    await mkdir(path.dirname(targetOf(device)));
    await writeFile(targetOf(device), Buffer.alloc(device.sizeMib * 1024 * 1024));
    expect(await subject.driver.status(device, signal)).toEqual({ exists: true, sizeMib: device.sizeMib });
    await expect(subject.driver.remove(device, signal)).rejects.toThrow(/not known to belong/);
    await subject.driver.assemble(device, signal);
    await subject.driver.remove(device, signal);
    expect(await subject.driver.status(device, signal)).toEqual({ exists: false, sizeMib: 0 });
  });

  test.each([-1, 1.5, Number.NaN])("a size of %d MiB is refused", async (sizeMib) => {
    const device = { ...subject.newDevice(), sizeMib };
    await expect(subject.driver.create(device, signal)).rejects.toThrow(/not a possible size/);
  });

  test.each([
    { logicalId: ["raid", "/x"] },
    { logicalId: ["loop"] },
    { logicalId: ["loop", 7] },
    { logicalId: ["loop", "/x", "/y"] },
    { template: "plain" as const },
    { uuid: "../../etc/passwd" },
  ])("%j does not name a disk of this template", async (changes) => {
    const device = { ...subject.newDevice(), ...changes };
    await expect(subject.driver.create(device, signal)).rejects.toThrow(BlockDeviceError);
  });

  test.each(["folder", "FIFO", "symbolic link"])("a %s in the file's place is no disk", async (kind) => {
    const device = subject.newDevice();
    const target = targetOf(device);
    await mkdir(path.dirname(target));
    await symlink(device.uuid, markOf(target));
    if (kind === "folder") await mkdir(target);
    if (kind === "FIFO") await run("/usr/bin/mkfifo", target);
    if (kind === "symbolic link") await symlink("/etc/hostname", target);
    const { driver } = subject;
    for (const attempt of [
      () => driver.create(device, signal),
      () => driver.assemble(device, signal),
      () => driver.grow(device, 8, signal),
    ])
      await expect(attempt()).rejects.toThrow(BlockDeviceError);
    await rm(path.dirname(target), { recursive: true });
  });

  test("space is the filesystem's", async () => {
    const [space] = await subject.driver.space(signal);
    const df = await run("/usr/bin/df", "--block-size=1048576", "--output=size,avail", subject.root);
    const [size, available] = df.stdout.trim().split("\n")[1]?.trim().split(/\s+/).map(Number) ?? [];
    expect(space).toMatchObject({ type: "file", name: subject.root });
    // df rounds up, and others write to the same filesystem meanwhile.
    expect(Math.abs((space?.totalMib ?? 0) - (size ?? 0))).toBeLessThanOrEqual(1);
    expect(Math.abs((space?.freeMib ?? 0) - (available ?? 0))).toBeLessThanOrEqual(1024);
  });

  test("a file that is longer than its disk, as an import may have made it, is grown from what the disk has", async () => {
    const device = subject.newDevice();
    await subject.driver.create(device, signal);
    const file = String(device.logicalId[1]);
    await truncate(file, 7 * 1024 * 1024);
    await subject.driver.grow(device, 6, signal);
    expect((await stat(file)).size).toBe(7 * 1024 * 1024);
    await subject.driver.grow(device, 9, signal);
    expect((await stat(file)).size).toBe(9 * 1024 * 1024);
    await expect(subject.driver.grow({ ...device, sizeMib: 9 }, 8, signal)).rejects.toThrow("never made smaller");
    await subject.driver.remove(device, signal);
  });

  test("a root that is not there is named", async () => {
    await rename(subject.root, `${subject.root}.away`);
    try {
      await expect(subject.driver.create(subject.newDevice(), signal)).rejects.toThrow(
        `${subject.root} does not exist on this node`,
      );
    } finally {
      await rename(`${subject.root}.away`, subject.root);
    }
  });
});

describe("the space of several roots", () => {
  let base: string;
  beforeEach(async () => {
    base = await mkdtemp(path.join(tmpdir(), "gannet-roots-"));
    await mkdir(path.join(base, "present"));
  });
  afterEach(() => rm(base, { recursive: true }));

  function driverOf(read?: RootSpaces["read"]) {
    const system = new RootSpaces({ runner, lockFolder: path.join(base, "locks") });
    const logger = silentLogger();
    const warn = vi.spyOn(logger, "warn");
    const roots = ["missing", "present"].map((name) => path.join(base, name));
    const driver = createFileDriver({
      template: "file",
      allowed: { roots },
      runner,
      logger,
      spaces: read === undefined ? system : { read },
    });
    const told = async () => (await driver.space(signal)).map(({ name }) => path.basename(name));
    return { told, warn };
  }

  test("is told of those that can be read, with one warning of another until it is back", async () => {
    const { told, warn } = driverOf();
    expect([await told(), await told()]).toEqual([["present"], ["present"]]);
    expect(warn).toHaveBeenCalledTimes(1);
    expect(warn.mock.calls[0]?.[0]).toMatchObject({
      root: path.join(base, "missing"),
      error: "it does not exist",
    });
    await mkdir(path.join(base, "missing"));
    expect(await told()).toEqual(["missing", "present"]);
    await rm(path.join(base, "missing"), { recursive: true });
    expect(await told()).toEqual(["present"]);
    expect(warn).toHaveBeenCalledTimes(2);
  });

  test("is told of those that answer, while another hangs", async () => {
    const space: RootSpace = { totalMib: 100, usedMib: 50, freeMib: 40 };
    let missing: RootSpace | undefined = space;
    const { told, warn } = driverOf(async (root) => {
      if (path.basename(root) === "present") return space;
      if (missing === undefined) throw new BlockDeviceError("its filesystem does not answer");
      return missing;
    });
    expect(await told()).toEqual(["missing", "present"]);
    missing = undefined;
    for (let look = 0; look < 3; look += 1) expect(await told()).toEqual(["present"]);
    expect(warn.mock.calls.map(([facts]) => facts)).toMatchObject([{ error: "its filesystem does not answer" }]);
  });
});

if (!mayMount()) console.warn("Not testing filesystems that are full or read-only: mounting one needs CAP_SYS_ADMIN");
describe.runIf(mayMount())("a filesystem", () => {
  let root: string;
  let subject: FileSubject;
  const mounted = async (options: string) => {
    await run("/usr/bin/mount", "-t", "tmpfs", "-o", `size=1m,${options}`, "gannet-test", root);
    subject = await fileSubject("file", root);
  };
  beforeEach(async () => {
    root = await mkdtemp(path.join(tmpdir(), "gannet-mount-"));
  });
  afterEach(async () => {
    await run("/usr/bin/umount", root);
    await rm(root, { recursive: true });
    await subject.close();
  });

  // Of a tmpfs's inodes, one is its root's and one the `escape` link's. A disk needs three: folder, mark, file.
  test.each([2, 3, 4])("that is full at %d inodes refuses the disk and keeps nothing of it", async (inodes) => {
    await mounted(`nr_inodes=${inodes}`);
    const device = subject.newDevice();
    await expect(subject.driver.create(device, signal)).rejects.toThrow(
      new BlockDeviceError(
        `Disk 0 of web1.example.com (file ${device.logicalId[1]}) could not be created: no space left on device`,
      ),
    );
    expect(await readdir(root)).toEqual(["escape"]);
  });

  test("that is read-only is named as the cause", async () => {
    await mounted("rw");
    const kept = subject.newDevice();
    await subject.driver.create(kept, signal);
    await run("/usr/bin/mount", "-o", "remount,ro", root);
    const { driver } = subject;
    await expect(driver.create(subject.newDevice(), signal)).rejects.toThrow("created: read-only file system");
    await expect(driver.grow(kept, 9, signal)).rejects.toThrow("grown: read-only file system");
    await expect(driver.remove(kept, signal)).rejects.toThrow("removed: read-only file system");
    expect(await driver.status(kept, signal)).toEqual({ exists: true, sizeMib: kept.sizeMib });
  });
});

describe("another name", () => {
  let subject: FileSubject;
  beforeAll(async () => {
    subject = await fileSubject("file");
  });
  afterAll(() => subject.close());

  const renaming = () => {
    if (!canBlockDevice(subject.driver, "rename")) throw new Error("files cannot be renamed");
    return subject.driver;
  };
  const pathIn = (folder: string) => path.join(subject.root, folder, "disk0");

  test("moves the file with its owner, removes the empty folder, and is the same done twice", async () => {
    const device = subject.deviceAt(pathIn("web1"));
    await subject.driver.create(device, signal);
    await writeFile(pathIn("web1"), "contents");
    const to = ["loop", pathIn("web2")];
    for (const _time of [1, 2]) {
      await renaming().rename(device, to, signal);
      expect(readFileSync(pathIn("web2"), "utf8")).toBe("contents");
      expect((await readdir(subject.root)).filter((name) => name.startsWith("web"))).toEqual(["web2"]);
    }
    await subject.driver.assemble({ ...device, logicalId: to }, signal);
    await expect(subject.driver.assemble({ ...device, uuid: randomUUID(), logicalId: to }, signal)).rejects.toThrow(
      "belongs to another disk",
    );
    await subject.driver.remove({ ...device, logicalId: to }, signal);
  });

  test("goes on where an attempt broke off between the two names", async () => {
    const device = subject.deviceAt(pathIn("web1"));
    await subject.driver.create(device, signal);
    const moved = { ...device, logicalId: ["loop", pathIn("web2")] };
    await mkdir(path.dirname(pathIn("web2")));
    await symlink(device.uuid, path.join(path.dirname(pathIn("web2")), ".disk0.owner"));
    await link(pathIn("web1"), pathIn("web2"));
    await renaming().rename(device, moved.logicalId, signal);
    expect((await readdir(subject.root)).filter((name) => name.startsWith("web"))).toEqual(["web2"]);
    await subject.driver.remove(moved, signal);
  });

  test("that something else bears, or lies elsewhere, leaves both as they are", async () => {
    const device = subject.deviceAt(pathIn("web1"));
    const other = subject.deviceAt(pathIn("web2"));
    await subject.driver.create(device, signal);
    await subject.driver.create(other, signal);
    await expect(renaming().rename(device, other.logicalId, signal)).rejects.toThrow("belongs to another disk");
    await mkdir(path.join(subject.root, "web3"));
    await writeFile(pathIn("web3"), "");
    await expect(renaming().rename(device, ["loop", pathIn("web3")], signal)).rejects.toThrow(
      "no disk of this cluster",
    );
    await expect(renaming().rename(device, ["loop", "/etc/passwd"], signal)).rejects.toThrow("not below");
    for (const each of [device, other]) {
      expect((await subject.driver.status(each, signal)).exists).toBe(true);
      await subject.driver.remove(each, signal);
    }
  });
});

test.each(["diskless", "no-such", "__proto__", "constructor"])("template %s has no driver here", (template) => {
  const none = { roots: [] };
  const devices = createBlockDevices({
    fileStorage: none,
    sharedFileStorage: none,
    spaces: new RootSpaces({ runner, lockFolder: tmpdir() }),
    glusterStorageDir: "/nowhere",
    logs: new LogFolder(path.join(tmpdir(), "gannet-test-logs")),
    tools: SYSTEM_STORAGE_TOOLS,
    lvm: createLvm({ runner, tools: SYSTEM_STORAGE_TOOLS }),
    runner,
    logger: silentLogger(),
  });
  expect(devices.drivers.map((driver) => driver.template).sort()).toEqual([
    ...["blockdev", "drbd", "ext", "file", "gluster", "plain", "rbd", "sharedfile"],
  ]);
  expect(() => devices.driver(template)).toThrow(
    new OpPrereqError(`Disk template ${template} is not supported on this node`, "wrong_input"),
  );
});

/** CAP_SYS_ADMIN, which root in a container may lack (capabilities(7)). */
function mayMount(): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return ((BigInt(`0x${effective}`) >> 21n) & 1n) === 1n;
}
