import { mkdir, rm, symlink, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import { GIVEN_DEVICE_CHECKS } from "@gannet/driver-contract/conformance";
import { BlockDeviceError } from "@gannet/errors";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createBlockdevDriver } from "../../../src/block-devices/blockdev/blockdev-driver.ts";
import { SYSTEM_STORAGE_TOOLS } from "../../../src/block-devices/storage-tools.ts";
import { type LvmNode, startLvmNode } from "../lvm/lvm-node.ts";
import { type ServedDriver, serveDriver } from "../served-driver.ts";

const { signal } = new AbortController();
const LUN = "/dev/disk/by-id/wwn-0x5000c500";

const HOSTILE_PATHS = [
  ...["", "/", "/dev", "/dev/", "sdb", "/etc/passwd", "/dev/../etc/passwd", "/dev/./sdb", "/dev//sdb", "/dev/sdb/"],
  ...["/dev/s\0db", "/dev/s\ndb", "-rf", "--getsize64", "/devices/sdb", `/dev/${"x".repeat(10_000)}`, 7],
];

let node: LvmNode;
let driver: ReturnType<typeof createBlockdevDriver>;
const disk = (target: string | number, changes: Partial<BlockDeviceSpec> = {}) =>
  node.device({ template: "blockdev", logicalId: ["manual", target], ...changes });
const inDevices = (...names: string[]) => path.join(node.tools.deviceFolder, ...names);

/** A node with one device of 8 MiB, `sdb`, which udev gives the name of its world wide number. */
beforeEach(async () => {
  node = await startLvmNode();
  driver = createBlockdevDriver(node);
  await writeFile(inDevices("sdb"), "");
  await truncate(inDevices("sdb"), 8 * 1024 * 1024);
  await mkdir(inDevices("disk/by-id"), { recursive: true });
  await symlink("../../sdb", inDevices("disk/by-id/wwn-0x5000c500"));
});
afterEach(() => node[Symbol.asyncDispose]());

describe.each(["as it is", "over gRPC"])("conformance of blockdev, %s", (how) => {
  let served: ServedDriver | undefined;
  beforeEach(async () => {
    if (how === "over gRPC") served = await serveDriver(driver);
  });
  afterEach(() => served?.[Symbol.asyncDispose]());

  test.each(GIVEN_DEVICE_CHECKS)("$name", ({ run }) =>
    run({
      ...node,
      driver: served?.driver ?? driver,
      newDevice: () => disk("/dev/sdc"),
      hostileDevices: () => HOSTILE_PATHS.map((target) => disk(target)),
      givenDevice: async () => disk(LUN, { sizeMib: 8 }),
    }),
  );
});

test("a device is used under the name that stays, and asked for its size", async () => {
  const device = disk(LUN, { sizeMib: 8 });
  await driver.create(device, signal);
  expect(node.takeCommands()).toEqual([`blockdev --getsize64 ${inDevices("sdb")}`]);
  expect(await driver.assemble(device, signal)).toEqual({
    ...{ path: inDevices("disk/by-id/wwn-0x5000c500"), kind: "file", format: "raw" },
  });
  expect(await driver.status(device, signal)).toEqual({ exists: true, sizeMib: 8 });
  await driver.shutdown(device, signal);
  await driver.remove(device, signal);
  expect(await driver.status(device, signal)).toEqual({ exists: true, sizeMib: 8 });
});

test("what can be adopted is told, and what is not there", async () => {
  const asked = [
    ["manual", LUN],
    ["manual", "/dev/sdc"],
  ];
  expect(await driver.adoptable(asked, signal)).toEqual([
    { logicalId: ["manual", LUN], sizeMib: 8, inUse: false },
    undefined,
  ]);
});

test("a device is never made, resized, or taken for a larger one", async () => {
  await expect(driver.create(disk("/dev/sdc"), signal)).rejects.toThrow("does not exist");
  await expect(driver.create(disk(LUN, { sizeMib: 9 }), signal)).rejects.toThrow("has 8 MiB, 9 are needed");
  await expect(driver.create(disk(LUN, { sizeMib: 0 }), signal)).rejects.toThrow("not a possible size");
  await expect(driver.grow(disk(LUN), 16, signal)).rejects.toThrow("cannot be grown here");
  expect(await driver.status(disk("/dev/sdc"), signal)).toEqual({ exists: false, sizeMib: 0 });
  await driver.remove(disk("/dev/sdc"), signal);
  expect(await driver.space(signal)).toEqual([]);
});

test("what only looks like a device is refused before anything opens it", async () => {
  await symlink("/etc/passwd", inDevices("passwd"));
  await symlink("/etc", inDevices("etc"));
  await symlink("loop-a", inDevices("loop-b"));
  await symlink("loop-b", inDevices("loop-a"));
  for (const target of ["passwd", "etc/passwd", "disk", "disk/by-id", "loop-a"])
    await expect(driver.assemble(disk(`/dev/${target}`), signal), target).rejects.toThrow(BlockDeviceError);
  expect(node.takeCommands()).toEqual([]);
});

test("hostile paths are refused before any command is run", async () => {
  for (const target of HOSTILE_PATHS)
    for (const operation of [
      () => driver.create(disk(target), signal),
      () => driver.assemble(disk(target), signal),
      () => driver.status(disk(target), signal),
      () => driver.remove(disk(target), signal),
      () => driver.grow(disk(target), 8, signal),
      () => driver.adoptable([["manual", target]], signal),
    ])
      await expect(operation(), JSON.stringify(target)).rejects.toThrow(BlockDeviceError);
  await expect(driver.create(disk(LUN, { logicalId: ["auto", LUN] }), signal)).rejects.toThrow("is [manual, path]");
  await expect(driver.create(disk(LUN, { template: "plain" }), signal)).rejects.toThrow("no disk of template blockdev");
  expect(node.takeCommands()).toEqual([]);
});

describe("a blockdev", () => {
  test.each([
    ["that prints garbage", { exitCode: 0, stdout: "8 MiB\n" }, "answered no size"],
    ["that prints nothing", { exitCode: 0 }, "answered no size"],
    ["that fails", { exitCode: 1, stderr: "blockdev: cannot open: Input/output error\n" }, "Input/output error"],
  ])("%s", async (_what, answer, message) => {
    node.fault("blockdev", { answer });
    await expect(driver.assemble(disk(LUN), signal)).rejects.toThrow(BlockDeviceError);
    await expect(driver.assemble(disk(LUN), signal)).rejects.toThrow(message);
  });

  test("that hangs can be stopped", async () => {
    node.fault("blockdev", { hang: true });
    const abort = new AbortController();
    const assembling = driver.assemble(disk(LUN), abort.signal);
    await expect.poll(() => node.takeCommands(), { timeout: 30_000 }).toHaveLength(1);
    abort.abort(new Error("the job was stopped"));
    await expect(assembling).rejects.toThrow("the job was stopped");
  });

  test("that is missing", async () => {
    await rm(node.tools.binFolder, { recursive: true });
    await expect(driver.assemble(disk(LUN), signal)).rejects.toThrow("there is no such program");
  });
});

test("the system's own: a file in /dev is no device, and a character device is not opened", async () => {
  const system = createBlockdevDriver({
    runner: createCommandRunner({ logger: silentLogger() }),
    tools: SYSTEM_STORAGE_TOOLS,
  });
  const target = `/dev/shm/gannet-test-${process.pid}`;
  await writeFile(target, "x".repeat(1024));
  try {
    await expect(system.assemble(disk(target), signal)).rejects.toThrow(/blockdev.*failed with exit code 1/);
  } finally {
    await rm(target);
  }
  await expect(system.assemble(disk("/dev/null"), signal)).rejects.toThrow("is no block device");
});
