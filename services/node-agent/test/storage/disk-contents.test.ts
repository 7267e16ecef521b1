import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, open, readdir, readFile, rm, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { AttachedDevice } from "@gannet/driver-contract";
import { BlockDeviceError, CommandError } from "@gannet/errors";
import { type Command, type CommandRunner, createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createDiskContents, type DiskContents } from "../../src/block-devices/disk-contents.ts";
import { SYSTEM_STORAGE_TOOLS } from "../../src/block-devices/storage-tools.ts";

const { signal } = new AbortController();
const MIB = 1024 * 1024;
const tools = SYSTEM_STORAGE_TOOLS;
const real = createCommandRunner({ logger: silentLogger(), killGraceMs: 100 });

let folder: string;
let commands: Command[];
let contents: DiskContents;
const runner: CommandRunner = {
  run: (command) => {
    commands.push(command);
    return real.run(command);
  },
};
/** In the place of every command. */
const scripted = (run: CommandRunner["run"]) => createDiskContents({ runner: { run }, tools });
const printing = (stderr: string) =>
  scripted(async () => ({ exitCode: 0, stdout: "", stderr, truncated: false, durationMs: 1 }));

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-contents-"));
  commands = [];
  contents = createDiskContents({ runner, tools });
});
afterEach(() => rm(folder, { recursive: true }));

/** A file of as many MiB, filled with random bytes. */
async function file(name: string, sizeMib: number): Promise<AttachedDevice> {
  const target = path.join(folder, name);
  await writeFile(target, randomBytes(sizeMib * MIB));
  return { path: target, kind: "file", format: "raw" };
}
async function qcow2(name: string, sizeMib: number): Promise<AttachedDevice> {
  const target = path.join(folder, name);
  execFileSync("/usr/bin/qemu-img", ["create", "-q", "-f", "qcow2", target, `${sizeMib}M`]);
  return { path: target, kind: "file", format: "qcow2" };
}
const digest = async (disk: AttachedDevice) =>
  createHash("sha256")
    .update(await readFile(disk.path))
    .digest("hex");
const zeros = (sizeMib: number) => Buffer.alloc(sizeMib * MIB);

describe("wiping", () => {
  test("overwrites the part and nothing beside it, past the page cache", async () => {
    const disk = await file("disk", 6);
    const before = await readFile(disk.path);
    await contents.wipe(disk, { offsetMib: 2, sizeMib: 3 }, signal);
    const after = await readFile(disk.path);
    expect(after.subarray(0, 2 * MIB).equals(before.subarray(0, 2 * MIB))).toBe(true);
    expect(after.subarray(2 * MIB, 5 * MIB).equals(zeros(3))).toBe(true);
    expect(after.subarray(5 * MIB).equals(before.subarray(5 * MIB))).toBe(true);
    expect(commands.map(({ argv }) => argv.join(" "))).toEqual([
      `/usr/bin/dd if=/dev/zero of=${disk.path} bs=1M seek=2 count=3 oflag=direct conv=notrunc,fsync`,
    ]);
  });

  test.each([
    { offsetMib: 5, sizeMib: 2 },
    { offsetMib: 0, sizeMib: 7 },
    { offsetMib: 2 ** 53, sizeMib: 1 },
    { offsetMib: -1, sizeMib: 1 },
    { offsetMib: 0, sizeMib: 1.5 },
    { offsetMib: 0, sizeMib: Number.NaN },
  ])("%j is no part of a disk of 6 MiB", async (part) => {
    const disk = await file("disk", 6);
    const before = await digest(disk);
    await expect(contents.wipe(disk, part, signal)).rejects.toThrow(BlockDeviceError);
    expect(await digest(disk)).toBe(before);
    expect((await stat(disk.path)).size).toBe(6 * MIB);
    expect(commands).toEqual([]);
  });

  test("nothing takes no command", async () => {
    await contents.wipe(await file("disk", 1), { offsetMib: 1, sizeMib: 0 }, signal);
    expect(commands).toEqual([]);
  });

  test("a disk that is gone is named", async () => {
    const gone: AttachedDevice = { path: path.join(folder, "gone"), kind: "file", format: "raw" };
    await expect(contents.wipe(gone, { offsetMib: 0, sizeMib: 1 }, signal)).rejects.toThrow(
      /gone could not be wiped from 0 MiB on: ENOENT/,
    );
  });

  test("a qcow2 image is left alone, for what is new of it reads as zeros; what is none is refused", async () => {
    const image = await qcow2("image", 4);
    const before = await digest(image);
    await contents.wipe(image, { offsetMib: 1, sizeMib: 3 }, signal);
    expect(await digest(image)).toBe(before);
    await expect(contents.wipe(image, { offsetMib: 1, sizeMib: 4 }, signal)).rejects.toThrow("has 4 MiB");
    const disk: AttachedDevice = { ...(await file("disk", 1)), format: "qcow2" };
    await expect(contents.wipe(disk, { offsetMib: 0, sizeMib: 1 }, signal)).rejects.toThrow("is no qcow2 image");
  });
});

describe("copying", () => {
  test("passes from one format to the other and back", async () => {
    const [source, image, target] = [await file("source", 4), await qcow2("image", 6), await file("target", 6)];
    await contents.copy(source, image, 4, signal);
    await contents.copy(image, target, 6, signal);
    const [from, to] = [await readFile(source.path), await readFile(target.path)];
    expect(to.subarray(0, 4 * MIB).equals(from)).toBe(true);
    expect(to.subarray(4 * MIB).equals(zeros(2))).toBe(true);
    expect((await readdir(folder)).sort()).toEqual(["image", "source", "target"]);
  });

  test("makes the target the same, whatever it held, and leaves its size and the rest", async () => {
    const [source, target] = [await file("source", 4), await file("target", 6)];
    await contents.copy(source, target, 4, signal);
    const [from, to] = [await readFile(source.path), await readFile(target.path)];
    expect(to).toHaveLength(6 * MIB);
    expect(to.subarray(0, 4 * MIB).equals(from)).toBe(true);
    expect(commands.map(({ argv }) => argv.join(" "))).toEqual([
      `/usr/bin/dd if=${source.path} of=${target.path} bs=1M count=${4 * MIB} iflag=direct,count_bytes oflag=direct conv=notrunc,fsync,sparse`,
    ]);
  });

  test("takes all there is, more than the disk is recorded with, and any number of bytes", async () => {
    const [source, target] = [await file("source", 4), await file("target", 3)];
    await truncate(source.path, 4 * MIB - 512);
    await contents.copy(source, target, 3, signal);
    expect(await digest(target)).toBe(await digest(source));
  });

  test("of a file's holes makes holes, and never leaves what was there", async () => {
    const [source, target] = [await file("source", 1), await file("target", 64)];
    await truncate(source.path, 64 * MIB);
    await contents.copy(source, target, 64, signal);
    expect(await digest(target)).toBe(await digest(source));
    expect((await stat(target.path)).blocks * 512).toBeLessThan(4 * MIB);
  });

  test("to a smaller target, or of more than there is, changes nothing", async () => {
    const [source, target] = [await file("source", 4), await qcow2("target", 3)];
    const before = await digest(target);
    for (const recorded of [3, 4])
      await expect(contents.copy(source, target, recorded, signal)).rejects.toThrow(
        /source has 4194304 bytes, .*target only 3145728; repair the recorded size first/,
      );
    await expect(contents.copy(source, target, 5, signal)).rejects.toThrow(/source has 4 MiB/);
    expect(await digest(target)).toBe(before);
    expect(commands).toEqual([]);
  });

  test("of a disk to itself is refused, under whatever name", async () => {
    const source = await file("source", 2);
    const before = await digest(source);
    const alias = path.join(folder, "alias");
    await symlink(source.path, alias);
    await expect(contents.copy(source, { ...source, path: alias }, 2, signal)).rejects.toThrow("they are the same");
    expect(await digest(source)).toBe(before);
  });
});

describe("a dd", () => {
  const part = { offsetMib: 0, sizeMib: 2 };

  test.each([
    "",
    "garbage\n",
    "1+0 records in\n1+0 records out\n1048576 bytes (1.0 MB, 1.0 MiB) copied, 1 s, 1 MB/s\n",
  ])("that ends in order without its work is told of: %j", async (stderr) => {
    await expect(printing(stderr).wipe(await file("disk", 2), part, signal)).rejects.toThrow(
      "dd ended in order, but tells of no 2097152 bytes",
    );
  });

  test("that fails, or is missing, is an error that names the disk", async () => {
    const failing = scripted(async () => {
      throw new CommandError("Command /usr/bin/dd could not be started, there is no such program");
    });
    const disk = await file("disk", 2);
    await expect(failing.wipe(disk, part, signal)).rejects.toThrow(BlockDeviceError);
    await expect(failing.wipe(disk, part, signal)).rejects.toThrow(
      `${disk.path} could not be wiped from 0 MiB on: Command`,
    );
  });

  test("is ended when its operation is", async () => {
    const disk = await file("disk", 2);
    const abort = new AbortController();
    let started = false;
    const hanging = scripted((command) => {
      started = true;
      return real.run({ ...command, argv: ["/usr/bin/sleep", "600"] });
    });
    const wiping = hanging.wipe(disk, part, abort.signal);
    await expect.poll(() => started, { timeout: 30_000 }).toBe(true);
    abort.abort(new Error("the job was stopped"));
    await expect(wiping).rejects.toThrow("the job was stopped");
  });
});

test("a real block device is wiped and copied to in whole, zeros included, and not past its end", async ({ skip }) => {
  const loop = attachLoop();
  if (loop === undefined) return skip("this machine gives no loop device");
  try {
    const device: AttachedDevice = { path: loop.device, kind: "block", format: "raw" };
    const source = await file("source", 2);
    await truncate(source.path, 4 * MIB);
    await contents.copy(source, device, 4, signal);
    await contents.wipe(device, { offsetMib: 1, sizeMib: 1 }, signal);
    await using disk = await open(device.path);
    const { buffer } = await disk.read(Buffer.alloc(8 * MIB), 0, 8 * MIB, 0);
    expect(buffer.subarray(0, MIB).equals((await readFile(source.path)).subarray(0, MIB))).toBe(true);
    expect(buffer.subarray(MIB, 4 * MIB).equals(zeros(3))).toBe(true);
    expect(buffer.subarray(4 * MIB).equals(loop.filling)).toBe(true);
    await expect(contents.wipe(device, { offsetMib: 7, sizeMib: 2 }, signal)).rejects.toThrow("has 8 MiB");
  } finally {
    loop.detach();
  }
});

/** A loop device of 8 MiB without a zero in it, where this process may make one. */
function attachLoop() {
  const image = path.join(folder, "image");
  const filling = Buffer.alloc(8 * MIB, "x");
  execFileSync("/usr/bin/dd", [`of=${image}`, "status=none"], { input: filling });
  try {
    const device = String(execFileSync("/usr/sbin/losetup", ["-f", "--show", image], { stdio: "pipe" })).trim();
    return {
      device,
      filling: filling.subarray(4 * MIB),
      detach: () => execFileSync("/usr/sbin/losetup", ["-d", device]),
    };
  } catch {
    return undefined;
  }
}
