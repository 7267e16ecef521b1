import { randomUUID } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { BlockDeviceDriver, BlockDeviceSpec } from "@gannet/driver-contract";
import { BLOCK_DEVICE_CHECKS, type BlockDeviceSubject } from "@gannet/driver-contract/conformance";
import { BlockDeviceError } from "@gannet/errors";
import { type CommandRunner, createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { RootSpaces } from "../../../src/block-devices/file/root-space.ts";
import {
  createGlusterDriver,
  GLUSTER_PLACES,
  type GlusterPlaces,
} from "../../../src/block-devices/gluster/gluster-driver.ts";
import { fileUri, mountedAt } from "../../../src/block-devices/gluster/mount.ts";
import { createBlockDevices } from "../../../src/block-devices/index.ts";
import { createLvm } from "../../../src/block-devices/lvm/lvm.ts";
import { SYSTEM_STORAGE_TOOLS } from "../../../src/block-devices/storage-tools.ts";
import { LogFolder } from "../../../src/log-folder.ts";

const { signal } = new AbortController();

let base: string;
let places: GlusterPlaces;
let commands: string[];
/** What mount does: it tells the kernel, or not. */
let mount: (source: string) => Promise<void>;
let driver: BlockDeviceDriver;
let spaces: RootSpaces;

const mountedLine = (source: string) =>
  `412 29 0:53 / ${places.mountPoint} rw,relatime shared:221 - fuse.glusterfs ${source} rw,user_id=0\n`;
const runner: CommandRunner = {
  run: async ({ argv }) => {
    commands.push(argv.join(" "));
    await mount(argv.at(-2) ?? "");
    return { exitCode: 0, stdout: "", stderr: "Mounting glusterfs failed.\n", truncated: false, durationMs: 1 };
  },
};
const device = (changes: Partial<BlockDeviceSpec> = {}): BlockDeviceSpec => ({
  ...{ uuid: randomUUID(), template: "gluster", sizeMib: 4, mode: "rw", instanceName: "web1.example.com", index: 0 },
  ...{ logicalId: ["loop", `${places.mountPoint}/ganeti/${randomUUID()}.0`], children: [], ...changes },
  params: { host: "10.0.0.1", port: 24_007, volume: "gv0", access: "kernelspace", ...changes.params },
});

beforeEach(async () => {
  base = await mkdtemp(path.join(tmpdir(), "gannet-gluster-"));
  places = {
    mountPoint: path.join(base, "mounted"),
    mountProgram: process.execPath,
    mountInfoFile: path.join(base, "mountinfo"),
  };
  await writeFile(places.mountInfoFile, "29 1 254:0 / / rw - ext4 /dev/vda rw\n");
  commands = [];
  mount = (source) => writeFile(places.mountInfoFile, mountedLine(source));
  const asking = createCommandRunner({ logger: silentLogger() });
  spaces = new RootSpaces({ runner: asking, lockFolder: path.join(base, "locks") });
  driver = createGlusterDriver({ spaces, runner, logger: silentLogger(), places });
});
afterEach(() => rm(base, { recursive: true }));

test.each(BLOCK_DEVICE_CHECKS)("conformance of gluster: $name", async ({ run }) => {
  // Mounted, so that the folder is there before the first look at it.
  await driver.status(device(), signal);
  const subject: BlockDeviceSubject = {
    driver,
    newDevice: () => device(),
    hostileDevices: () =>
      ["/etc/passwd", `${base}/x`, `${places.mountPoint}/../x`, places.mountPoint, `${places.mountPoint}/a\0b`, ""].map(
        (target) => device({ logicalId: ["loop", target] }),
      ),
    occupy: async ({ logicalId }) => {
      const target = String(logicalId[1]);
      await driver.create(device(), signal);
      await writeFile(target, "somebody's data");
      return {
        isUntouched: async () => (await readFile(target, "utf8")) === "somebody's data",
        clear: () => rm(path.dirname(target), { recursive: true }),
      };
    },
    inventory: async () => (await readdir(places.mountPoint, { recursive: true })).sort(),
    write: async (attached, text) => {
      const contents = await readFile(attached.path);
      contents.write(text);
      await writeFile(attached.path, contents);
    },
    read: async (attached, bytes) => (await readFile(attached.path)).subarray(0, bytes).toString(),
  };
  await run(subject);
});

test("the volume is mounted once, for however many disks", async () => {
  const disks = [device(), device(), device()];
  await Promise.all(disks.map((disk) => driver.create(disk, signal)));
  expect(commands).toEqual([`/usr/bin/mount -t glusterfs -o server-port=24007 10.0.0.1:/gv0 ${places.mountPoint}`]);
  expect(await driver.space(signal)).toMatchObject([{ type: "gluster", name: places.mountPoint }]);
});

test("a hypervisor that reaches the file by itself is told how", async () => {
  const disk = device({ params: { access: "userspace" } });
  await driver.create(disk, signal);
  const file = path.basename(String(disk.logicalId[1]));
  expect(await driver.assemble(disk, signal)).toEqual({
    ...{ path: disk.logicalId[1], kind: "file", format: "raw" },
    uris: { kvm: `gluster://10.0.0.1:24007/gv0/ganeti/${file}` },
  });
});

describe("a node where the volume cannot be mounted", () => {
  test("whose mount ends in order without mounting", async () => {
    mount = async () => {};
    await expect(driver.create(device(), signal)).rejects.toThrow(
      "10.0.0.1:/gv0 could not be mounted, mount says: Mounting glusterfs failed.",
    );
    expect(await readdir(places.mountPoint)).toEqual([]);
    expect(await driver.space(signal)).toEqual([]);
  });

  test("because another is", async () => {
    await mount("10.0.0.1:/other");
    await expect(driver.create(device(), signal)).rejects.toThrow("holds 10.0.0.1:/other instead of 10.0.0.1:/gv0");
    expect(commands).toEqual([]);
  });

  test("because the program is missing", async () => {
    const without = createGlusterDriver({
      ...{ spaces, runner, logger: silentLogger() },
      places: { ...places, mountProgram: "/nowhere/mount.glusterfs" },
    });
    await expect(without.create(device(), signal)).rejects.toThrow("install glusterfs-client");
    expect(commands).toEqual([]);
  });
});

test("a volume is known to be mounted without a look at it, also behind a link", async () => {
  await symlink(base, path.join(base, "link"));
  // There is nothing at the mount point that could be looked at.
  await mount("10.0.0.1:/gv0");
  const linked = createGlusterDriver({
    ...{ spaces: { read: async () => ({ totalMib: 9, freeMib: 5, usedMib: 4 }) }, runner, logger: silentLogger() },
    places: { ...places, mountPoint: path.join(base, "link/mounted") },
  });
  expect(await linked.space(signal)).toMatchObject([{ type: "gluster", totalMib: 9, freeMib: 5 }]);
  expect(commands).toEqual([]);
});

test("a node mounts where its administrator says, and nowhere else", async () => {
  const parts = {
    runner,
    logger: silentLogger(),
    tools: SYSTEM_STORAGE_TOOLS,
    spaces,
    lvm: createLvm({ runner, tools: SYSTEM_STORAGE_TOOLS }),
  };
  const devices = createBlockDevices({
    ...{ ...parts, fileStorage: { roots: [] }, sharedFileStorage: { roots: [] } },
    ...{ glusterStorageDir: "/srv/gluster", logs: new LogFolder(path.join(base, "logs")) },
  });
  const at = (folder: string) => device({ logicalId: ["loop", `${folder}/ganeti/one.0`] });
  await devices.driver("gluster").shutdown(at("/srv/gluster"), signal);
  await expect(devices.driver("gluster").shutdown(at(GLUSTER_PLACES.mountPoint), signal)).rejects.toThrow(
    /its path below \/srv\/gluster; where the cluster's gluster_storage_dir is another folder/,
  );
});

test("hostile parameters are refused before any command is run", async () => {
  const hosts = ["", "-o", "a b", "a/b", "a\0b", "x".repeat(10_000)].map((host) => ({ host }));
  const volumes = ["", "-rf", "..", "a/b", "a b", "a,b", "x".repeat(10_000)].map((volume) => ({ volume }));
  const ports = [0, 65_536, 1.5, -1].map((port) => ({ port }));
  for (const params of [...hosts, ...volumes, ...ports])
    for (const operation of [driver.create, driver.assemble, driver.remove, driver.status, driver.shutdown])
      await expect(operation(device({ params }), signal), JSON.stringify(params)).rejects.toThrow(BlockDeviceError);
  expect(commands).toEqual([]);
});

test("mount points with blanks, and mounts on top of each other", () => {
  const table = [
    "30 29 0:30 / /mnt/a\\040b rw - fuse.glusterfs host:/one rw",
    "31 30 0:31 / /mnt/a\\040b rw shared:1 master:2 - fuse.glusterfs host:/two rw",
  ].join("\n");
  expect(mountedAt(table, "/mnt/a b")).toBe("host:/two");
  expect(mountedAt(table, "/mnt/a")).toBeUndefined();
});

test("a server with an IPv6 address", () => {
  expect(fileUri({ host: "fd00::1", port: 24_007, name: "gv0" }, "ganeti/a.0")).toBe(
    "gluster://[fd00::1]:24007/gv0/ganeti/a.0",
  );
});
