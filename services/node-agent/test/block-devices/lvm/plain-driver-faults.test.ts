import { rm } from "node:fs/promises";
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type LvmNode, startLvmNode } from "./lvm-node.ts";

const { signal } = new AbortController();

let node: LvmNode;
let device: BlockDeviceSpec;

describe("the plain driver on a node whose LVM is in trouble", () => {
  beforeEach(async () => {
    node = await startLvmNode();
    device = node.device({ logicalId: ["xenvg", "one.disk0"] });
  });
  afterEach(() => node[Symbol.asyncDispose]());

  test("a full volume group is named with what it has", async () => {
    const before = await node.inventory();
    await expect(node.driver.create({ ...device, sizeMib: 4000 }, signal)).rejects.toThrow(
      new BlockDeviceError(
        "Disk 0 of web1.example.com (plain xenvg/one.disk0) cannot be created: volume group xenvg has 3072 MiB free, 4000 are needed",
      ),
    );
    await node.driver.create(device, signal);
    await expect(node.driver.grow(device, 4000, signal)).rejects.toThrow("xenvg has 3068 MiB free, 3996 are needed");
    await node.driver.remove(device, signal);
    expect(await node.inventory()).toEqual(before);
  });

  test("a volume group that does not exist", async () => {
    await expect(node.driver.create(node.device({ logicalId: ["nosuch", "disk0"] }), signal)).rejects.toThrow(
      "there is no volume group nosuch on this node",
    );
  });

  test("a volume group that lost a physical volume", async () => {
    await node.losePhysicalVolume("/dev/vdb");
    await expect(node.driver.create(device, signal)).rejects.toThrow("Cannot change VG xenvg while PVs are missing.");
  });

  test("missing tools", async () => {
    await rm(node.tools.binFolder, { recursive: true });
    expect(await node.driver.space(signal)).toEqual([]);
    for (const attempt of [
      () => node.driver.assemble(device, signal),
      () => node.driver.status(device, signal),
      () => node.driver.remove(device, signal),
    ])
      await expect(attempt()).rejects.toThrow(/cannot be read: .*lvs.* could not be started, there is no such program/);
    await expect(node.driver.create(device, signal)).rejects.toThrow(
      /lvcreate.* could not be started, there is no such/,
    );
  });

  const operations: Readonly<Record<string, (disk: BlockDeviceSpec) => Promise<unknown>>> = {
    lvremove: (disk) => node.driver.remove(disk, signal),
    lvrename: (disk) => node.driver.rename(disk, ["xenvg", "two.disk0"], signal),
    lvextend: (disk) => node.driver.grow(disk, 8, signal),
  };

  test.each(Object.keys(operations))("a %s that does nothing and reports success", async (tool) => {
    await node.driver.create(device, signal);
    const before = await node.inventory();
    node.fault(tool, { answer: { exitCode: 0 } });
    await expect(operations[tool]?.(device)).rejects.toThrow(new RegExp(`${tool} reported success, but`));
    expect(await node.inventory()).toEqual(before);
  });

  test.each(Object.keys(operations))("a %s that fails", async (tool) => {
    await node.driver.create(device, signal);
    const before = await node.inventory();
    node.fault(tool, { answer: { exitCode: 5, stderr: "  Disk on fire.\n" } });
    const failed = operations[tool]?.(device);
    await expect(failed).rejects.toThrow(BlockDeviceError);
    await expect(failed).rejects.toThrow(/\(plain xenvg\/one.disk0\).*Disk on fire\./s);
    expect(await node.inventory()).toEqual(before);
  });

  test("an lvcreate that does nothing and reports success", async () => {
    const before = await node.inventory();
    node.fault("lvcreate", { answer: { exitCode: 0 } });
    await expect(node.driver.create(device, signal)).rejects.toThrow("was to be created, but there is no ");
    expect(await node.inventory()).toEqual(before);
  });

  test("an lvcreate that makes the volume and fails then", async () => {
    const before = await node.inventory();
    node.fault("lvcreate", { when: "after", answer: { exitCode: 5, stderr: "  Failed to wipe start of new LV.\n" } });
    await expect(node.driver.create(device, signal)).rejects.toThrow("lvcreate says: Failed to wipe start of new LV.");
    expect(await node.inventory()).toEqual(before);
  });

  test.each(["before", "after"] as const)("an lvcreate that hangs %s its work, and is stopped", async (when) => {
    const before = await node.inventory();
    node.fault("lvcreate", { when, hang: true });
    const abort = new AbortController();
    const creating = node.driver.create(device, abort.signal);
    const isSeen = async () =>
      when === "before"
        ? node.takeCommands().some((command) => command.startsWith("lvcreate"))
        : (await node.inventory())[0]?.includes("one.disk0");
    await expect.poll(isSeen, { timeout: 30_000 }).toBe(true);
    abort.abort(new Error("the job was stopped"));
    await expect(creating).rejects.toThrow("the job was stopped");
    expect(await node.inventory()).toEqual(before);
  });

  test("a repeated create that is stopped keeps what the first made", async () => {
    await node.driver.create(device, signal);
    node.fault("lvs", { delayMs: 200 });
    const abort = new AbortController();
    const repeating = node.driver.create(device, abort.signal);
    abort.abort(new Error("the job was stopped"));
    await expect(repeating).rejects.toThrow("the job was stopped");
    node.mend("lvs");
    expect((await node.driver.status(device, signal)).exists).toBe(true);
  });

  test.each([
    ["prints garbage", { exitCode: 0, stdout: "%$§!\n" }, "What lvs printed is not understood"],
    ["fails", { exitCode: 5, stderr: "  Locking type 1 initialisation failed.\n" }, "Locking type 1"],
  ])("an lvs that %s", async (_what, answer, message) => {
    await node.driver.create(device, signal);
    node.takeCommands();
    node.fault("lvs", { answer });
    for (const operation of [
      () => node.driver.create(device, signal),
      () => node.driver.status(device, signal),
      () => node.driver.remove(device, signal),
      () => node.driver.grow(device, 8, signal),
    ]) {
      await expect(operation()).rejects.toThrow(BlockDeviceError);
      await expect(operation()).rejects.toThrow(message);
    }
    expect(node.takeCommands().filter((command) => !command.startsWith("lvs "))).toEqual([]);
  });

  test("a pvs that prints garbage", async () => {
    node.fault("pvs", { answer: { exitCode: 0, stdout: "/dev/vdb\n" } });
    await expect(node.driver.create({ ...device, params: { stripes: 2 } }, signal)).rejects.toThrow(
      "What pvs printed is not understood",
    );
  });
});
