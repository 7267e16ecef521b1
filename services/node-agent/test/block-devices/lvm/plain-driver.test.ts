import { randomUUID } from "node:crypto";
import { open } from "node:fs/promises";
import path from "node:path";
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import { BLOCK_DEVICE_CHECKS } from "@gannet/driver-contract/conformance";
import { BlockDeviceError } from "@gannet/errors";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type ServedDriver, serveDriver } from "../served-driver.ts";
import { type LvmNode, startLvmNode } from "./lvm-node.ts";

const { signal } = new AbortController();

describe("conformance of plain", () => {
  let node: LvmNode;
  beforeAll(async () => {
    node = await startLvmNode();
  });
  afterAll(() => node[Symbol.asyncDispose]());

  test.each(BLOCK_DEVICE_CHECKS)("$name", ({ run }) => run(node), 120_000);
});

describe("conformance of plain over gRPC", () => {
  let node: LvmNode;
  let remote: ServedDriver;
  beforeAll(async () => {
    node = await startLvmNode();
    remote = await serveDriver(node.driver);
  });
  afterAll(async () => {
    await remote[Symbol.asyncDispose]();
    await node[Symbol.asyncDispose]();
  });

  test.each(BLOCK_DEVICE_CHECKS)("$name", ({ run }) => run({ ...node, driver: remote.driver }), 120_000);
});

let node: LvmNode;
let device: BlockDeviceSpec;
const named = (name: string, changes: Partial<BlockDeviceSpec> = {}) =>
  node.device({ logicalId: ["xenvg", name], ...changes });
const attributesOf = async (name: string, fields: string) =>
  (await node.tool("lvs", "--noheadings", "-o", fields, `xenvg/${name}`)).trim();

describe("the plain driver", () => {
  beforeEach(async () => {
    node = await startLvmNode();
    device = named("one.disk0", { uuid: "aaaaaaaa-0000-4000-8000-000000000000" });
  });
  afterEach(() => node[Symbol.asyncDispose]());

  const REPORT = (program: string) =>
    expect.stringMatching(new RegExp(`^${program} --noheadings --nosuffix --units=b`));

  test("creates with one look at the volumes, one at the space, and one lvcreate", async () => {
    await node.driver.create({ ...device, params: { stripes: 2 } }, signal);
    expect(node.takeCommands()).toEqual([
      REPORT("lvs"),
      REPORT("pvs"),
      "lvcreate -Wn -L4m -none.disk0 -i2 --addtag gannetdisk+aaaaaaaa-0000-4000-8000-000000000000 --addtag originstname+web1.example.com xenvg /dev/vdb /dev/vdc /dev/vdd",
    ]);
    expect(await attributesOf("one.disk0", "stripes,lv_tags")).toMatch(/^2 gannetdisk\+aaaa.*,originstname\+web1/);
  });

  test("answers for any number of disks with one lvs", async () => {
    const disks = Array.from({ length: 20 }, (_, index) => named(`many.disk${index}`));
    for (const disk of disks.slice(0, 2)) await node.driver.create(disk, signal);
    node.takeCommands();
    const answers = await Promise.all(disks.map((disk) => node.driver.status(disk, signal)));
    expect(answers.map(({ exists }) => exists)).toEqual(disks.map((_, index) => index < 2));
    expect(node.takeCommands()).toEqual([REPORT("lvs")]);
    await node.driver.space(signal);
    expect(node.takeCommands()).toEqual([REPORT("pvs")]);
  });

  test("tells of space what it has read lately, and reads it anew after each change of its own", async () => {
    await using remembering = await startLvmNode({ knownMs: 60_000 });
    const one = remembering.device({ sizeMib: 8 });
    const free = async () =>
      (await remembering.driver.space(signal)).find(({ name }) => name === "xenvg")?.freeMib ?? Number.NaN;
    const before = await free();
    await remembering.tool("lvcreate", "-L16m", "-nforeign", "xenvg");
    expect(await free()).toBe(before);
    expect(remembering.takeCommands()).toEqual([REPORT("pvs")]);
    await remembering.driver.create(one, signal);
    expect(await free()).toBe(before - 24);
    await remembering.driver.remove(one, signal);
    expect(await free()).toBe(before - 16);
  });

  test("does not remember what it was reading while it changed something", async () => {
    await using remembering = await startLvmNode({ knownMs: 60_000 });
    remembering.fault("pvs", { delayMs: 300 });
    const reading = remembering.driver.space(signal);
    await vi.waitFor(() => expect(remembering.takeCommands()).toEqual([REPORT("pvs")]));
    await remembering.driver.create(remembering.device({ sizeMib: 8 }), signal);
    await reading;
    remembering.takeCommands();
    await remembering.driver.space(signal);
    expect(remembering.takeCommands()).toEqual([REPORT("pvs")]);
  });

  test("an active volume is assembled without a command that changes anything", async () => {
    await node.driver.create(device, signal);
    node.takeCommands();
    expect(await node.driver.assemble(device, signal)).toEqual({
      path: path.join(node.tools.deviceFolder, "xenvg/one.disk0"),
      kind: "file",
      format: "raw",
    });
    expect(node.takeCommands()).toEqual([REPORT("lvs")]);
  });

  test("an inactive volume is activated", async () => {
    await node.driver.create(device, signal);
    await node.tool("lvchange", "-an", "xenvg/one.disk0");
    node.takeCommands();
    await node.driver.assemble(device, signal);
    expect(node.takeCommands()).toEqual([REPORT("lvs"), "lvchange -ay xenvg/one.disk0"]);
  });

  test("takes fewer stripes where so many cannot be", async () => {
    await node.driver.create({ ...device, params: { stripes: 8 } }, signal);
    expect(await attributesOf("one.disk0", "stripes")).toBe("3");
    // Two physical volumes are nearly full now, so that only one stripe has space.
    await node.tool("lvcreate", "-L1020m", "-nfill0", "xenvg", "/dev/vdb");
    await node.tool("lvcreate", "-L1020m", "-nfill1", "xenvg", "/dev/vdc");
    await node.driver.create(named("two.disk0", { sizeMib: 300, params: { stripes: 2 } }), signal);
    expect(await attributesOf("two.disk0", "stripes")).toBe("1");
  });

  test("a volume made by Ganeti is taken over when it is activated", async () => {
    await node.tool("lvcreate", "-L4m", "-none.disk0", "--addtag", "originstname+old.example.com", "xenvg");
    await expect(node.driver.create(device, signal)).rejects.toThrow("no disk of this cluster bears the name");
    await expect(node.driver.remove(device, signal)).rejects.toThrow("not known to belong");
    expect(await node.driver.status(device, signal)).toEqual({ exists: true, sizeMib: 4 });
    await node.driver.assemble(device, signal);
    expect(await attributesOf("one.disk0", "lv_tags")).toBe(
      "gannetdisk+aaaaaaaa-0000-4000-8000-000000000000,originstname+web1.example.com",
    );
    await node.driver.remove(device, signal);
  });

  test("a volume that Ganeti made for the same instance may be removed", async () => {
    await node.tool("lvcreate", "-L4m", "-none.disk0", "--addtag", "originstname+web1.example.com", "xenvg");
    await node.driver.remove(device, signal);
    expect(await node.driver.status(device, signal)).toEqual({ exists: false, sizeMib: 0 });
  });

  test("a volume is noted as its instance's under its new name, whoever made it", async () => {
    const renamed = { ...device, instanceName: "web2.example.com" };
    await expect(node.driver.setInfo(renamed, signal)).rejects.toThrow("does not exist");
    await node.tool(
      "lvcreate",
      "-L4m",
      "-none.disk0",
      "--addtag",
      "originstname+web1.example.com",
      "--addtag",
      "site",
      "xenvg",
    );
    await node.driver.setInfo(renamed, signal);
    expect((await attributesOf("one.disk0", "lv_tags")).split(",").sort()).toEqual([
      "gannetdisk+aaaaaaaa-0000-4000-8000-000000000000",
      "originstname+web2.example.com",
      "site",
    ]);
    node.takeCommands();
    await node.driver.setInfo(renamed, signal);
    expect(node.takeCommands().filter((command) => command.startsWith("lvchange"))).toEqual([]);
    await expect(node.driver.setInfo({ ...renamed, uuid: randomUUID() }, signal)).rejects.toThrow(
      "belongs to another disk",
    );
    await node.driver.remove(renamed, signal);
  });

  test("a volume in use is not removed, and said to be", async () => {
    await node.driver.create(device, signal);
    const { path: opened } = await node.driver.assemble(device, signal);
    const user = await open(opened);
    try {
      await expect(node.driver.remove(device, signal)).rejects.toThrow(
        /^Disk 0 of web1.example.com \(plain xenvg\/one.disk0\): xenvg\/one.disk0 not removed: .*lvremove.* in use\.$/,
      );
    } finally {
      await user.close();
    }
    expect((await node.driver.status(device, signal)).exists).toBe(true);
  });

  test("space is that of all volume groups", async () => {
    await node.driver.create({ ...device, sizeMib: 24 }, signal);
    expect(await node.driver.space(signal)).toEqual([
      { type: "lvm-vg", name: "xenvg", totalMib: 3072, freeMib: 3048 },
      { type: "lvm-vg", name: "othervg", totalMib: 1024, freeMib: 1024 },
    ]);
  });

  test("a disk may lie in any volume group", async () => {
    const other = node.device({ logicalId: ["othervg", "one.disk0"] });
    await node.driver.create(device, signal);
    await node.driver.create(other, signal);
    await node.driver.remove(device, signal);
    expect((await node.driver.status(other, signal)).exists).toBe(true);
  });

  describe("with extents of 4 MiB", () => {
    beforeEach(async () => {
      await node[Symbol.asyncDispose]();
      node = await startLvmNode({ extentMib: 4 });
    });

    test("sizes are rounded up, and repeats know it", async () => {
      const odd = { ...device, sizeMib: 5, params: { stripes: 3 } };
      await node.driver.create(odd, signal);
      await node.driver.create(odd, signal);
      expect(await node.driver.status(odd, signal)).toEqual({ exists: true, sizeMib: 12 });
      await node.driver.grow(odd, 9, signal);
      await node.driver.grow(odd, 13, signal);
      await node.driver.grow(odd, 13, signal);
      expect(await node.driver.status(odd, signal)).toEqual({ exists: true, sizeMib: 24 });
      await expect(node.driver.grow(odd, 12, signal)).rejects.toThrow("has 24 MiB already and is never made smaller");
      await expect(node.driver.create(odd, signal)).rejects.toThrow("exists already with 24 MiB instead of 5");
    });
  });

  describe("rename", () => {
    const to = ["xenvg", "two.disk0"];

    test("keeps contents and owner, and may be repeated", async () => {
      await node.driver.create(device, signal);
      await node.write(await node.driver.assemble(device, signal), "contents");
      node.takeCommands();
      await node.driver.rename(device, to, signal);
      expect(node.takeCommands()).toEqual([REPORT("lvs"), "lvrename xenvg one.disk0 two.disk0", REPORT("lvs")]);
      await node.driver.rename(device, to, signal);
      const renamed = { ...device, logicalId: to };
      expect(await node.read(await node.driver.assemble(renamed, signal), 8)).toBe("contents");
      expect((await node.driver.status(device, signal)).exists).toBe(false);
      await node.driver.rename(renamed, to, signal);
    });

    test("makes an adopted volume the disk's own", async () => {
      await node.tool("lvcreate", "-L4m", "-nmanual", "xenvg");
      await node.driver.rename({ ...device, logicalId: ["xenvg", "manual"] }, to, signal);
      await node.driver.create({ ...device, logicalId: to }, signal);
      await node.driver.remove({ ...device, logicalId: to }, signal);
    });

    test("of a volume that was to be adopted, and is not, is taken back without a change", async () => {
      await node.tool("lvcreate", "-L4m", "-nmanual", "xenvg");
      await node.driver.rename({ ...device, logicalId: to }, ["xenvg", "manual"], signal);
      expect(await attributesOf("manual", "lv_name,lv_tags")).toBe("manual");
    });

    test("hands a volume over to the disk that it is renamed for", async () => {
      await node.driver.create(device, signal);
      const child = { ...device, uuid: randomUUID() };
      await node.driver.rename(child, ["xenvg", "two.disk0_data"], signal);
      await node.driver.assemble({ ...child, logicalId: ["xenvg", "two.disk0_data"] }, signal);
    });

    test("refuses a name that is taken, another group, and what is not there", async () => {
      await node.driver.create(device, signal);
      await node.driver.create(named("two.disk0"), signal);
      const { driver } = node;
      await expect(driver.rename(device, to, signal)).rejects.toThrow("another volume bears the name");
      await expect(driver.rename(device, ["othervg", "x"], signal)).rejects.toThrow("stays in its volume group");
      await expect(driver.rename(device, ["xenvg", "-f"], signal)).rejects.toThrow("names that LVM allows");
      await expect(driver.rename(named("three"), ["xenvg", "four"], signal)).rejects.toThrow("does not exist");
      await expect(driver.rename(named("three"), to, signal)).rejects.toThrow("does not exist");
    });
  });

  describe("snapshot", () => {
    test("holds the contents of its moment, and replaces an older one", async () => {
      await node.driver.create(device, signal);
      const disk = await node.driver.assemble(device, signal);
      await node.write(disk, "first ");
      await node.driver.snapshot(device, { sizeMib: 2 }, signal);
      await node.write(disk, "second");
      node.takeCommands();
      const taken = await node.driver.snapshot(device, { sizeMib: 2 }, signal);
      expect(node.takeCommands()).toEqual([
        ...[REPORT("lvs"), REPORT("lvs"), "lvremove -f xenvg/one.disk0.snap", REPORT("lvs")],
        `lvcreate -L2m -s -none.disk0.snap --addtag gannetdisk+${taken.uuid} --addtag originstname+web1.example.com xenvg/one.disk0`,
      ]);
      await node.write(disk, "third ");
      expect(taken).toEqual({ ...device, uuid: taken.uuid, logicalId: ["xenvg", "one.disk0.snap"] });
      expect(await node.read(await node.driver.assemble(taken, signal), 6)).toBe("second");
      await node.driver.remove(taken, signal);
      expect((await node.driver.status(device, signal)).exists).toBe(true);
    });

    test("never replaces what is none of its origin", async () => {
      await node.driver.create(device, signal);
      await node.driver.create(named("precious"), signal);
      await expect(node.driver.snapshot(device, { name: "precious", sizeMib: 2 }, signal)).rejects.toThrow(
        "exists and is no snapshot of it",
      );
      await expect(node.driver.snapshot(device, { name: "one.disk0", sizeMib: 2 }, signal)).rejects.toThrow(
        "exists and is no snapshot of it",
      );
      await expect(node.driver.snapshot(device, { name: "--help", sizeMib: 2 }, signal)).rejects.toThrow("is no name");
    });

    test("needs its space", async () => {
      await node.driver.create(device, signal);
      await expect(node.driver.snapshot(device, { sizeMib: 5000 }, signal)).rejects.toThrow(
        "no snapshot, volume group xenvg has 3068 MiB free, 5000 are needed",
      );
    });
  });

  test("adoptable are ordinary volumes, with what uses them", async () => {
    await node.tool("lvcreate", "-L5m", "-nmanual", "xenvg");
    await node.tool("lvcreate", "-s", "-L2m", "-nsnap", "xenvg/manual");
    const user = await open(path.join(node.tools.deviceFolder, "xenvg/manual"));
    const ask = () =>
      node.driver.adoptable(
        [
          ["xenvg", "manual"],
          ["xenvg", "snap"],
          ["xenvg", "none"],
        ],
        signal,
      );
    node.takeCommands();
    expect(await ask()).toEqual([{ logicalId: ["xenvg", "manual"], sizeMib: 5, inUse: true }, undefined, undefined]);
    expect(node.takeCommands()).toEqual([REPORT("lvs")]);
    await user.close();
    expect((await ask())[0]?.inUse).toBe(false);
    await expect(node.driver.adoptable([["xenvg", "../etc"]], signal)).rejects.toThrow("names no logical volume");
  });

  describe("exclusive storage", () => {
    const exclusive = (name: string, changes: Partial<BlockDeviceSpec> = {}) =>
      named(name, { ...changes, params: { exclusive_storage: true, ...changes.params } });
    const devicesOf = async (name: string) =>
      [...new Set((await attributesOf(name, "devices")).match(/\/dev\/\w+/g))].sort();

    test("gives each disk whole physical volumes", async () => {
      await node.driver.create(exclusive("a"), signal);
      await node.driver.create(exclusive("b", { sizeMib: 1500 }), signal);
      expect(await devicesOf("a")).toHaveLength(1);
      expect(await devicesOf("b")).toHaveLength(2);
      await expect(node.driver.create(exclusive("c"), signal)).rejects.toThrow(
        "xenvg has 0 MiB free on the empty physical volumes that it may take",
      );
    });

    test("gives as many as the disk has spindles", async () => {
      await node.driver.create(exclusive("a", { params: { spindles: 2, stripes: 2 } }), signal);
      expect(await devicesOf("a")).toHaveLength(2);
      await expect(node.driver.create(exclusive("b", { params: { spindles: 2 } }), signal)).rejects.toThrow(
        "takes 2 empty physical volumes, and there are 1",
      );
    });

    test("lets a disk grow on its own physical volumes only", async () => {
      const disk = exclusive("a");
      await node.driver.create(disk, signal);
      await node.driver.grow(disk, 1000, signal);
      expect(await devicesOf("a")).toHaveLength(1);
      await expect(node.driver.grow(disk, 1100, signal)).rejects.toThrow("could not be grown, lvextend says: ");
    });
  });

  test("hostile names are refused before any command is run", async () => {
    for (const hostile of node.hostileDevices())
      for (const operation of [
        () => node.driver.create(hostile, signal),
        () => node.driver.remove(hostile, signal),
        () => node.driver.status(hostile, signal),
        () => node.driver.shutdown(hostile, signal),
        () => node.driver.rename(hostile, ["xenvg", "two"], signal),
        () => node.driver.snapshot(hostile, { sizeMib: 2 }, signal),
      ])
        await expect(operation()).rejects.toThrow(BlockDeviceError);
    await expect(node.driver.create({ ...device, uuid: "x;y" }, signal)).rejects.toThrow("is not a UUID");
    expect(node.takeCommands()).toEqual([]);
  });
});
