import { randomUUID } from "node:crypto";
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import { BlockDeviceError, CommandError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { beforeEach, describe, expect, test } from "vitest";
import * as rbd from "../../../src/block-devices/rbd/commands.ts";
import { createRbdDriver } from "../../../src/block-devices/rbd/rbd-driver.ts";

const { signal } = new AbortController();
const MIB = 1024 * 1024;

/** Images by `pool/name`, their sizes in MiB, and the devices they are mapped to. */
let images: Map<string, number>;
let mapped: Map<string, string>;
let commands: string[];
/** Instead of what a command would print, by its first word. */
let answers: Map<string, string>;

/** Ends as rbd(8) does: with the number of the error. */
function simulate(args: readonly string[]): { readonly exitCode: number; readonly stdout?: string } {
  const [command = ""] = args;
  const option = (name: string) => args[args.indexOf(name) + 1] ?? "";
  const key = `${option("-p")}/${args[args.indexOf("-p") + 2]}`;
  const answer = answers.get(command);
  if (answer !== undefined) return { exitCode: 0, stdout: answer };
  switch (command) {
    case "info": {
      const size = images.get(key);
      return size === undefined
        ? { exitCode: 2 }
        : { exitCode: 0, stdout: JSON.stringify({ name: "x", size: size * MIB }) };
    }
    case "create":
    case "resize":
      images.set(key, Number(option("--size")));
      return { exitCode: 0 };
    case "rm":
      return images.delete(key) ? { exitCode: 0 } : { exitCode: 2 };
    case "map":
      mapped.set(key, `/dev/rbd${mapped.size}`);
      return { exitCode: 0, stdout: `${mapped.get(key)}\n` };
    case "unmap":
      for (const [each, device] of mapped) if (device === args[1]) mapped.delete(each);
      return { exitCode: 0 };
    case "showmapped": {
      const rows = [...mapped].map(([each, device], id) => {
        const [pool, name] = each.split("/");
        return { id: String(id), pool, name, snap: "-", device };
      });
      return { exitCode: 0, stdout: JSON.stringify(rows) };
    }
    default:
      return { exitCode: 22 };
  }
}

const runner: CommandRunner = {
  run: async ({ argv, okExitCodes = [0] }) => {
    const args = argv.slice(1);
    commands.push(args.join(" "));
    const { exitCode, stdout = "" } = simulate(args);
    if (!okExitCodes.includes(exitCode)) throw new CommandError(`Command rbd failed with exit code ${exitCode}`);
    return { exitCode, stdout, stderr: "", truncated: false, durationMs: 1 };
  },
};
// Any program that is there: the runner never starts it.
const driver = createRbdDriver({ runner, logger: silentLogger(), program: process.execPath });
const device = (changes: Partial<BlockDeviceSpec> = {}): BlockDeviceSpec => ({
  ...{ uuid: randomUUID(), template: "rbd", logicalId: ["rbd", "one.rbd.disk0"], sizeMib: 4, mode: "rw" },
  ...{ instanceName: "web1.example.com", index: 0, children: [], ...changes },
  params: { pool: "vms", "user-id": "", access: "kernelspace", ...changes.params },
});
const takeCommands = () => commands.splice(0);

beforeEach(() => {
  images = new Map();
  mapped = new Map();
  commands = [];
  answers = new Map();
});

test("an image's life", async () => {
  const disk = device();
  await driver.create(disk, signal);
  await driver.create(disk, signal);
  expect(takeCommands()).toEqual([
    "info -p vms one.rbd.disk0 --format json",
    "create -p vms one.rbd.disk0 --size 4",
    "info -p vms one.rbd.disk0 --format json",
    "info -p vms one.rbd.disk0 --format json",
  ]);
  const attached = { path: "/dev/rbd0", kind: "block", format: "raw" };
  expect(await driver.assemble(disk, signal)).toEqual(attached);
  expect(await driver.assemble(disk, signal)).toEqual(attached);
  expect(takeCommands()).toEqual(["showmapped --format json", "map -p vms one.rbd.disk0", "showmapped --format json"]);
  await driver.grow(disk, 8, signal);
  await driver.grow(disk, 8, signal);
  await expect(driver.grow(disk, 4, signal)).rejects.toThrow("has 8 MiB already and is never made smaller");
  expect(takeCommands().filter((command) => !command.startsWith("info"))).toEqual([
    "resize -p vms one.rbd.disk0 --size 8",
  ]);
  expect(await driver.status(disk, signal)).toEqual({ exists: true, sizeMib: 8 });
  await expect(driver.create(disk, signal)).rejects.toThrow("exists already with 8 MiB instead of 4");
  takeCommands();
  await driver.remove(disk, signal);
  expect(takeCommands()).toEqual([
    ...["showmapped --format json", "unmap /dev/rbd0", "rm -p vms one.rbd.disk0"],
    "info -p vms one.rbd.disk0 --format json",
  ]);
  await driver.remove(disk, signal);
  await driver.shutdown(disk, signal);
  expect(await driver.status(disk, signal)).toEqual({ exists: false, sizeMib: 0 });
});

test("another user, and a hypervisor that reaches the image by itself", async () => {
  const disk = device({ params: { "user-id": "gannet", access: "userspace" } });
  await driver.create(disk, signal);
  expect(takeCommands()[1]).toBe("create --id gannet -p vms one.rbd.disk0 --size 4");
  expect((await driver.assemble(disk, signal)).uris).toEqual({ kvm: "rbd:vms/one.rbd.disk0:id=gannet" });
});

test("hostile names are refused before any command is run", async () => {
  const names = ["", "-rf", "--help", "..", "a/b", "a@b", "a b", "a\nb", "a\0b", "x".repeat(10_000)];
  for (const name of names)
    for (const hostile of [
      device({ logicalId: ["rbd", name] }),
      device({ params: { pool: name } }),
      ...(name === "" ? [] : [device({ params: { "user-id": name } })]),
    ])
      for (const operation of [
        () => driver.create(hostile, signal),
        () => driver.assemble(hostile, signal),
        () => driver.remove(hostile, signal),
        () => driver.status(hostile, signal),
      ])
        await expect(operation(), JSON.stringify(name)).rejects.toThrow(BlockDeviceError);
  await expect(driver.create(device({ sizeMib: 0 }), signal)).rejects.toThrow("not a possible size");
  expect(commands).toEqual([]);
});

describe("an rbd", () => {
  test("that is missing is named, with the way out", async () => {
    const without = createRbdDriver({ runner, logger: silentLogger(), program: "/nowhere/rbd" });
    await expect(without.create(device(), signal)).rejects.toThrow(
      "cannot be used on this node: there is no /nowhere/rbd; install ceph-common",
    );
    expect(await without.space(signal)).toEqual([]);
  });

  test.each(["create", "resize", "rm"])("that reports success of %s without doing it", async (command) => {
    if (command !== "create") await driver.create(device(), signal);
    answers.set(command, "");
    const operations: Record<string, () => Promise<void>> = {
      create: () => driver.create(device(), signal),
      resize: () => driver.grow(device(), 8, signal),
      rm: () => driver.remove(device(), signal),
    };
    await expect(operations[command]?.()).rejects.toThrow(`rbd ${command} reported success, but`);
  });

  test.each([
    ["info", () => driver.status(device(), signal)],
    ["showmapped", () => driver.assemble(device(), signal)],
  ])("whose %s prints garbage", async (command, operation) => {
    answers.set(command, "%$§!");
    await expect(operation()).rejects.toThrow(`What rbd ${command} printed is not understood`);
  });

  test("that maps to something else than a device", async () => {
    answers.set("map", "/etc/passwd\n");
    await expect(driver.assemble(device(), signal)).rejects.toThrow("rbd map printed no device");
  });
});

describe("mappings", () => {
  const image = { pool: "vms", name: "a", user: "" };
  const row = { id: "0", pool: "vms", namespace: "", name: "a", snap: "-", device: "/dev/rbd0" };

  test.each([
    ["a list", [row, { ...row, name: "b", device: "/dev/rbd1" }], "/dev/rbd0"],
    ["an object, as older releases print", { "0": row }, "/dev/rbd0"],
    [
      "another pool, and a snapshot",
      [
        { ...row, pool: "other" },
        { ...row, snap: "monday" },
      ],
      undefined,
    ],
    ["nothing", [], undefined],
  ])("%s", (_what, printed, expected) => {
    expect(rbd.parseMapped(JSON.stringify(printed), image)).toBe(expected);
  });

  test("of one image to two devices are refused", () => {
    expect(() => rbd.parseMapped(JSON.stringify([row, { ...row, device: "/dev/rbd1" }]), image)).toThrow(
      "Image vms/a is mapped to /dev/rbd0 and /dev/rbd1",
    );
  });
});
