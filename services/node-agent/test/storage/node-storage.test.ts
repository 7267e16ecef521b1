import { statfs } from "node:fs/promises";
import path from "node:path";
import { BlockDeviceError } from "@gannet/errors";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { RootSpaces } from "../../src/block-devices/file/root-space.ts";
import { createNodeStorage } from "../../src/storage/create-node-storage.ts";
import type { NodeStorage } from "../../src/storage/node-storage.ts";
import { type LvmNode, startLvmNode } from "../block-devices/lvm/lvm-node.ts";

const { signal } = new AbortController();

let node: LvmNode;
let storage: NodeStorage;
let spaces: RootSpaces;
beforeEach(async () => {
  node = await startLvmNode();
  spaces = new RootSpaces({ runner: node.runner, lockFolder: path.join(node.folder, "locks") });
  storage = createNodeStorage({ ...node, fileStorageRoots: [node.folder], sharedFileStorageRoots: [], spaces });
});
afterEach(() => node[Symbol.asyncDispose]());

function units(type: "file" | "sharedfile" | "lvm-pv" | "lvm-vg") {
  const driver = storage.units.get(type);
  if (driver === undefined) throw new Error(`no units of type ${type}`);
  return driver;
}

test("volumes are those of all groups, with where they lie and whether they are used", async () => {
  await node.tool("lvcreate", "-L2000m", "-nlarge", "xenvg");
  await node.tool("lvcreate", "-L5m", "-nsmall", "othervg");
  await node.tool("lvchange", "-an", "othervg/small");
  expect(await storage.volumes(signal)).toEqual([
    { name: "small", volumeGroup: "othervg", sizeMib: 5, devices: ["/dev/vde"], active: false, inUse: false },
    {
      ...{ name: "large", volumeGroup: "xenvg", sizeMib: 2000, active: true, inUse: false },
      devices: ["/dev/vdb", "/dev/vdc"],
    },
  ]);
});

describe("volume groups", () => {
  test("are listed, all or one", async () => {
    await node.tool("lvcreate", "-L100m", "-ndisk0", "xenvg");
    const unit = { type: "lvm-vg", allocatable: true };
    expect(await units("lvm-vg").list(undefined, signal)).toEqual([
      { ...unit, name: "xenvg", sizeMib: 3072, usedMib: 100, freeMib: 2972 },
      { ...unit, name: "othervg", sizeMib: 1024, usedMib: 0, freeMib: 1024 },
    ]);
    expect((await units("lvm-vg").list("othervg", signal)).map(({ name }) => name)).toEqual(["othervg"]);
    expect(await units("lvm-vg").list("--help", signal)).toEqual([]);
  });

  test("have no mark that forbids their use", async () => {
    await expect(units("lvm-vg").setAllocatable("xenvg", false, signal)).rejects.toThrow(BlockDeviceError);
  });

  test("that are whole need no repair", async () => {
    await units("lvm-vg").repair("xenvg", signal);
    expect(node.takeCommands()).toEqual(["vgreduce --removemissing xenvg", "vgs --noheadings --nosuffix xenvg"]);
  });

  test("lose a lost physical volume, with what lay on it and nothing else", async () => {
    await node.tool("lvcreate", "-L10m", "-nlost", "xenvg", "/dev/vdb");
    await node.tool("lvcreate", "-L10m", "-nkept", "xenvg", "/dev/vdc");
    await node.losePhysicalVolume("/dev/vdb");
    await units("lvm-vg").repair("xenvg", signal);
    expect(node.takeCommands()).toEqual([
      "vgreduce --removemissing xenvg",
      "vgreduce --removemissing --force xenvg",
      "vgs --noheadings --nosuffix xenvg",
    ]);
    expect((await storage.volumes(signal)).map(({ name }) => name)).toEqual(["kept"]);
    expect((await units("lvm-vg").list("xenvg", signal))[0]?.sizeMib).toBe(2048);
  });

  test("that lost an empty physical volume are repaired without force", async () => {
    await node.tool("lvcreate", "-L10m", "-nkept", "xenvg", "/dev/vdc");
    await node.losePhysicalVolume("/dev/vdb");
    await units("lvm-vg").repair("xenvg", signal);
    expect(node.takeCommands()).toEqual(["vgreduce --removemissing xenvg", "vgs --noheadings --nosuffix xenvg"]);
  });

  test("that stay broken are told of", async () => {
    await node.losePhysicalVolume("/dev/vdb");
    node.fault("vgreduce", { answer: { exitCode: 0, stdout: "  Wrote out consistent volume group xenvg.\n" } });
    await expect(units("lvm-vg").repair("xenvg", signal)).rejects.toThrow(
      "Volume group xenvg: not repaired; vgreduce says: Wrote out consistent volume group xenvg.",
    );
  });

  test("that are not there, or cannot be, are not repaired", async () => {
    await expect(units("lvm-vg").repair("nosuch", signal)).rejects.toThrow('Volume group "nosuch" not found');
    node.takeCommands();
    for (const name of ["--force", "a b", "../xenvg", "a/b", "x".repeat(10_000)])
      await expect(units("lvm-vg").repair(name, signal)).rejects.toThrow("is no name of a volume group");
    expect(node.takeCommands()).toEqual([]);
  });
});

describe("physical volumes", () => {
  test("are counted as spindles: those that may take disks, and those that hold nothing", async () => {
    const counted = (name: string, totalMib: number, freeMib: number) => ({ type: "lvm-pv", name, totalMib, freeMib });
    expect(await storage.spindles(signal)).toEqual([counted("xenvg", 3, 3), counted("othervg", 1, 1)]);
    await node.tool("lvcreate", "-L100m", "-ndisk0", "xenvg", "/dev/vdc");
    await units("lvm-pv").setAllocatable("/dev/vdb", false, signal);
    expect(await storage.spindles(signal)).toEqual([counted("xenvg", 2, 1), counted("othervg", 1, 1)]);
  });

  test("are listed, with what lies on them", async () => {
    await node.tool("lvcreate", "-L100m", "-ndisk0", "xenvg", "/dev/vdc");
    const unit = { type: "lvm-pv", allocatable: true, sizeMib: 1024 };
    expect(await units("lvm-pv").list(undefined, signal)).toEqual([
      { ...unit, name: "/dev/vdb", usedMib: 0, freeMib: 1024 },
      { ...unit, name: "/dev/vdc", usedMib: 100, freeMib: 924 },
      { ...unit, name: "/dev/vdd", usedMib: 0, freeMib: 1024 },
      { ...unit, name: "/dev/vde", usedMib: 0, freeMib: 1024 },
    ]);
  });

  test("are excluded from use and taken back, and asking again changes nothing", async () => {
    const allocatable = async () => (await units("lvm-pv").list("/dev/vdb", signal))[0]?.allocatable;
    const changes = () => node.takeCommands().filter((command) => command.startsWith("pvchange"));
    for (const wanted of [false, true]) {
      await units("lvm-pv").setAllocatable("/dev/vdb", wanted, signal);
      await units("lvm-pv").setAllocatable("/dev/vdb", wanted, signal);
      expect(await allocatable()).toBe(wanted);
      expect(changes()).toEqual([`pvchange --allocatable ${wanted ? "y" : "n"} /dev/vdb`]);
    }
  });

  test("must exist, whatever their name", async () => {
    for (const name of ["/dev/vdz", "--all", "", "@tag", "/dev/vdb /dev/vdc"])
      await expect(units("lvm-pv").setAllocatable(name, false, signal)).rejects.toThrow("There is no physical volume");
    expect(node.takeCommands().filter((command) => !command.startsWith("pvs "))).toEqual([]);
  });

  test("that a pvchange left as they were are told of", async () => {
    node.fault("pvchange", { answer: { exitCode: 0 } });
    await expect(units("lvm-pv").setAllocatable("/dev/vdb", false, signal)).rejects.toThrow(
      'Physical volume "/dev/vdb": not made unallocatable, although pvchange reported success',
    );
  });

  test("are not repaired", async () => {
    await expect(units("lvm-pv").repair("/dev/vdb", signal)).rejects.toThrow("its volume group (lvm-vg)");
  });
});

describe("file storage", () => {
  test("is the folders of the node, with their filesystem's space", async () => {
    const { blocks, frsize } = await statfs(node.folder, { bigint: true });
    const [unit, ...others] = await units("file").list(undefined, signal);
    expect(others).toEqual([]);
    expect(unit).toMatchObject({
      ...{ name: node.folder, type: "file", allocatable: true },
      sizeMib: Number((blocks * frsize) / 1024n ** 2n),
    });
    expect(await units("file").list("/etc", signal)).toEqual([]);
    expect(await units("sharedfile").list(undefined, signal)).toEqual([]);
  });

  test("is neither repaired nor excluded", async () => {
    await expect(units("file").repair(node.folder, signal)).rejects.toThrow(BlockDeviceError);
    await expect(units("file").setAllocatable(node.folder, false, signal)).rejects.toThrow(BlockDeviceError);
  });

  test("is told of without the folders that cannot be read", async () => {
    const roots = ["/nowhere", node.folder];
    const one = createNodeStorage({ ...node, fileStorageRoots: roots, sharedFileStorageRoots: [], spaces }).units.get(
      "file",
    );
    expect((await one?.list(undefined, signal))?.map(({ name }) => name)).toEqual([node.folder]);
    await expect(one?.list("/nowhere", signal)).rejects.toThrow("/nowhere does not exist");
  });

  test("that is gone is named", async () => {
    const gone = createNodeStorage({ ...node, fileStorageRoots: ["/nowhere"], sharedFileStorageRoots: [], spaces });
    await expect(gone.units.get("file")?.list(undefined, signal)).rejects.toThrow("/nowhere does not exist");
  });
});
