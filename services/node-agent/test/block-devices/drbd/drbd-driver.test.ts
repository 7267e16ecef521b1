import { randomUUID } from "node:crypto";
import { open, readFile, rm, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { drbdsetup } from "../../../../../test/simulated-tools/drbd/drbdsetup-commands.ts";
import {
  type DrbdPair,
  drbdPair,
  eventually,
  inSync,
  inventory,
  type MirroredDriver,
  makeMirror,
  never,
  type PairNode,
  read,
  SECRET,
  statusNow,
  write,
} from "./drbd-pair.ts";

const signal = never();
let pair: DrbdPair;
let first: PairNode;
let second: PairNode;
beforeAll(async () => {
  pair = await drbdPair({ inProcess: true });
  ({ first, second } = pair);
});
afterAll(() => pair.close());

const status = (node: PairNode, disk: BlockDeviceSpec) => node.driver.mirrorStatus(disk, signal);

describe("a mirror", () => {
  let disk: BlockDeviceSpec;
  let other: BlockDeviceSpec;
  beforeEach(async () => {
    disk = await makeMirror(pair);
    other = pair.mirrored(disk);
  });

  test("is the same at both ends, whichever is primary", async () => {
    await write(await first.driver.assemble(disk, signal), "from the first");
    await first.driver.standBy(disk, signal);
    const attached = await second.driver.assemble(other, signal);
    expect(await read(attached, 14)).toBe("from the first");
    await write(attached, "and the second");
    expect(await status(second, other)).toEqual({
      ...{ role: "primary", peerRole: "secondary", connection: "connected", localDisk: "uptodate" },
      ...{ peerDisk: "uptodate", syncPercent: null, estimatedSeconds: null, degraded: false, splitBrain: false },
    });
    await second.driver.standBy(other, signal);
    expect(await read(await first.driver.assemble(disk, signal), 14)).toBe("and the second");
  });

  test("lets the other end be used when its node gives up all that it has in use", async () => {
    await first.driver.assemble(disk, signal);
    await expect(second.driver.assemble(other, signal)).rejects.toThrow(/Multiple primaries not allowed/);
    await first.driver.demoteAll(signal);
    await first.driver.demoteAll(signal);
    expect(await status(first, disk)).toMatchObject({ role: "secondary", connection: "connected" });
    await second.driver.assemble(other, signal);
  });

  test("has one primary, or two when both ends allow it, as a migration needs", async () => {
    await expect(second.driver.assemble(other, signal)).rejects.toThrow(/Multiple primaries not allowed/);
    expect(await status(second, other)).toMatchObject({ role: "secondary", connection: "connected" });
    const both = { dualPrimary: true };
    await second.driver.connect(other, both, signal);
    await expect(second.driver.assemble(other, signal)).rejects.toThrow(/refused by peer/);
    await first.driver.connect(disk, both, signal);
    const [one, two] = [await first.driver.assemble(disk, signal), await second.driver.assemble(other, signal)];
    await write(one, "seen at both ends");
    expect(await read(two, 17)).toBe("seen at both ends");
    expect(await status(first, disk)).toMatchObject({ role: "primary", peerRole: "primary", degraded: false });
    await expect(second.driver.connect(other, { dualPrimary: false }, signal)).rejects.toThrow(BlockDeviceError);
    await first.driver.standBy(disk, signal);
    const no = { dualPrimary: false };
    await Promise.all([first.driver.connect(disk, no, signal), second.driver.connect(other, no, signal)]);
    await expect(first.driver.assemble(disk, signal)).rejects.toThrow(/Multiple primaries not allowed/);
  });

  test("needs no command for what the step before has found out, unless somebody else had a hand in it", async () => {
    await first.driver.standBy(disk, signal);
    // The simulated device is there only while it is primary: it is looked at once more when it has gone.
    await first.driver.standBy(disk, signal);
    first.commands.length = 0;
    await first.driver.standBy(disk, signal);
    expect(first.commands).toEqual([]);
    const down = [path.join(first.tools.binFolder, "drbdsetup"), "down", `resource${disk.link?.local.minor}`] as const;
    await first.runner.run({ argv: down, timeoutMs: 10_000, outputLimitBytes: 1024, signal });
    await first.driver.standBy(disk, signal);
    expect(await status(first, disk)).toMatchObject({ role: "secondary", connection: "connected" });
    // Another disk at the same place is none that was found out about.
    const children = disk.children.map((child) => ({ ...child, uuid: randomUUID() }));
    await expect(first.driver.standBy({ ...disk, uuid: randomUUID(), children }, signal)).rejects.toThrow(
      BlockDeviceError,
    );
    expect(await status(first, disk)).toMatchObject({ role: "secondary", connection: "connected" });
  });

  test("goes on without its secondary, which is brought up to date when it is back", async () => {
    await second.driver.shutdown(other, signal);
    const attached = await first.driver.assemble(disk, signal);
    expect(await status(first, disk)).toMatchObject({
      ...{ role: "primary", connection: "connecting", peerRole: "unknown", degraded: true, splitBrain: false },
    });
    await write(attached, "written alone");
    await second.driver.standBy(other, signal);
    await inSync(pair, disk);
    await first.driver.standBy(disk, signal);
    expect(await read(await second.driver.assemble(other, signal), 13)).toBe("written alone");
  });

  test("tells how far a resync is, and waits where it is told to", async () => {
    const large = await makeMirror(pair, pair.newDisk({ sizeMib: 128 }));
    const replaced = withNewVolumes(pair.mirrored(large), 128);
    await second.driver.detachVolumes(pair.mirrored(large), signal);
    await second.driver.pauseSync(replaced, true, signal);
    await second.driver.pauseSync(replaced, true, signal);
    await second.driver.attachVolumes(replaced, signal);
    const paused = await statusNow(first, large);
    expect(paused).toMatchObject({ connection: "syncing", peerDisk: "syncing", localDisk: "uptodate", degraded: true });
    expect(paused).toMatchObject({ syncPercent: 0, estimatedSeconds: null });
    await second.driver.pauseSync(replaced, false, signal);
    await second.driver.pauseSync(replaced, false, signal);
    await eventually(async () => {
      const { syncPercent, estimatedSeconds } = await statusNow(first, large);
      return syncPercent !== null && syncPercent > 0 && syncPercent < 100 && estimatedSeconds !== null;
    });
    await inSync(pair, large);
    expect(await status(first, large)).toMatchObject({ syncPercent: null, estimatedSeconds: null });
  });

  test("gets new volumes at one end, while the other is in use", async () => {
    const attached = await first.driver.assemble(disk, signal);
    await write(attached, "before");
    await second.driver.detachVolumes(other, signal);
    await second.driver.detachVolumes(other, signal);
    expect(await status(second, other)).toMatchObject({ localDisk: "diskless", peerDisk: "uptodate", degraded: true });
    const replaced = withNewVolumes(other);
    await second.driver.attachVolumes(replaced, signal);
    await second.driver.attachVolumes(replaced, signal);
    await inSync(pair, disk);
    await expect(second.driver.attachVolumes(other, signal)).rejects.toThrow(/in use by other volumes/);
    await first.driver.standBy(disk, signal);
    expect(await read(await second.driver.assemble(replaced, signal), 6)).toBe("before");
  });

  test("a primary may lose its own volumes, and reads over the network", async () => {
    await write(await first.driver.assemble(disk, signal), "kept by the other");
    await first.driver.detachVolumes(disk, signal);
    expect(await read({ path: `${first.tools.deviceFolder}/drbd${disk.link?.local.minor}` }, 17)).toBe(
      "kept by the other",
    );
    const attached = await first.driver.assemble(disk, signal);
    await inSync(pair, disk);
    expect(await read(attached, 17)).toBe("kept by the other");
  });

  test("gets a secondary on another address", async () => {
    if (disk.link === undefined) throw new Error("no link");
    await second.driver.shutdown(other, signal);
    const moved = { ...disk, link: { ...disk.link, peer: { ...disk.link.peer, address: "192.0.2.77" } } };
    await first.driver.assemble(moved, signal);
    expect(await status(first, moved)).toMatchObject({ role: "primary", connection: "connecting" });
    await first.driver.assemble(disk, signal);
    await second.driver.standBy(other, signal);
    await inSync(pair, disk);
  });

  test("is never seeded again", async () => {
    // A repetition of the seed that made it.
    await first.driver.seed(disk, signal);
    await expect(second.driver.seed(other, signal)).rejects.toThrow(/has been in use/);
    await first.driver.standBy(disk, signal);
    await expect(first.driver.seed(disk, signal)).rejects.toThrow(/has been in use/);
  });

  test("ends that both went on alone are split, and say so", async () => {
    await first.driver.disconnect(disk, signal);
    await second.driver.disconnect(other, signal);
    await write(await first.driver.assemble(await alone(disk), signal), "one truth");
    await write(await second.driver.assemble(await alone(other), signal), "another");
    // The addresses they looked for each other at lead nowhere; now they meet.
    await first.driver.standBy(disk, signal);
    await second.driver.standBy(other, signal);
    for (const [node, end] of [
      [first, disk],
      [second, other],
    ] as const)
      expect(await status(node, end)).toMatchObject({ connection: "standalone", splitBrain: true, degraded: true });
    expect(await read(await first.driver.assemble(disk, signal), 9)).toBe("one truth");
    expect(await read(await second.driver.assemble(other, signal), 7)).toBe("another");
  });

  test("an end that was disconnected on purpose is alone, and not split", async () => {
    await first.driver.disconnect(disk, signal);
    await first.driver.disconnect(disk, signal);
    await write({ path: `${first.tools.deviceFolder}/drbd${disk.link?.local.minor}` }, "on purpose");
    expect(await status(first, disk)).toMatchObject({ connection: "standalone", role: "primary", splitBrain: false });
    expect(await status(second, other)).toMatchObject({ connection: "connecting", splitBrain: false });
    await first.driver.connect(disk, { dualPrimary: false }, signal);
    await inSync(pair, disk);
  });

  test("another secret is refused, and never told", async () => {
    if (disk.link === undefined) throw new Error("no link");
    await second.driver.shutdown(other, signal);
    const forged = { ...other, link: { ...other.link, secret: "forged" } } as BlockDeviceSpec;
    const error = await second.driver.standBy(forged, signal).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(BlockDeviceError);
    expect(String(error)).toContain("secrets");
    expect(String(error)).not.toContain("forged");
    // What it had begun is taken back.
    expect(await status(second, other)).toMatchObject({ connection: "unconfigured" });
  });

  async function alone(end: BlockDeviceSpec): Promise<BlockDeviceSpec> {
    if (end.link === undefined) throw new Error("no link");
    return { ...end, link: { ...end.link, peer: { ...end.link.peer, address: "192.0.2.99" } } };
  }
});

describe("volumes whose metadata do not bear the driver's mark", () => {
  const MAGIC = { "8.4": 0x8374026b, "8.4, left by a crashed primary": 0x8374026c, 9: 0x8374026d } as const;
  const IN_USE = 0xa1b2c3d4e5f60718n;
  const JUST_CREATED = 4n;
  let disk: BlockDeviceSpec;
  beforeEach(async () => {
    disk = await makeMirror(pair);
    await first.driver.standBy(disk, signal);
    await first.driver.detachVolumes(disk, signal);
    first.commands.length = 0;
  });

  test.each(Object.entries(MAGIC))("keep those of DRBD %s when they are attached", async (_version, magic) => {
    const superblock = await writeSuperblock(IN_USE, magic);
    // The simulated drbdmeta knows metadata of its own only.
    await expect(first.driver.attachVolumes(disk, signal)).rejects.toThrow(/apply-al/);
    expect(await readSuperblock()).toEqual(superblock);
    expect(madeMetadata()).toBe(false);
  });

  test.each([
    ["no magic", IN_USE, 0],
    ["metadata that nothing was written under", JUST_CREATED, MAGIC[9]],
  ])("get new ones where there are %s", async (_what, generation, magic) => {
    await writeSuperblock(generation, magic);
    await first.driver.attachVolumes(disk, signal);
    expect(madeMetadata()).toBe(true);
    await inSync(pair, disk);
  });

  test("get new ones when they are created: an older disk's may lie in their space", async () => {
    const created = pair.newDisk();
    const [, metadata] = created.children;
    if (metadata === undefined) throw new Error("no metadata");
    await first.plain.make(metadata, signal);
    await writeSuperblock(IN_USE, MAGIC[9], created);
    await first.driver.create(created, signal);
    expect(madeMetadata()).toBe(true);
  });

  test("are new when the data they were of are gone, marked or not", async () => {
    const [data] = disk.children;
    if (data === undefined) throw new Error("no data");
    await first.plain.remove(data, signal);
    await first.driver.attachVolumes(disk, signal);
    expect(madeMetadata()).toBe(true);
    await inSync(pair, disk);
  });

  const madeMetadata = () => first.commands.some(({ argv }) => argv.includes("create-md"));
  const readSuperblock = async () => (await readFile(metadataPath(disk))).subarray(0, 4096);

  /** What is at the same place in every version's superblock. */
  async function writeSuperblock(generation: bigint, magic: number, of = disk): Promise<Buffer> {
    const superblock = Buffer.alloc(4096);
    superblock.writeBigUInt64BE(generation, 8);
    superblock.writeUInt32BE(magic, 60);
    await using file = await open(metadataPath(of), "r+");
    await file.write(superblock, 0, superblock.length, 0);
    return superblock;
  }
});

test("a resize that did nothing is not believed, at the end whose turn is the second", async () => {
  const disk = await makeMirror(pair);
  const lazy = (node: PairNode) =>
    node.newDriver({
      run: async (command) =>
        command.argv.includes("resize")
          ? { exitCode: 0, stdout: "", stderr: "", truncated: false, durationMs: 0 }
          : node.runner.run(command),
    });
  await lazy(second).grow(pair.mirrored(disk), 16, signal);
  await expect(lazy(first).grow(disk, 16, signal)).rejects.toThrow(
    /Disk 0 of web1\.example\.com .*was not grown: .* it has 4 MiB instead of 16/,
  );
  await second.driver.grow(pair.mirrored(disk), 16, signal);
  await first.driver.grow(disk, 16, signal);
}, 20_000);

test("volumes are removed though their metadata cannot be wiped", async () => {
  const before = await inventory(first);
  const disk = await makeMirror(pair);
  await first.driver.shutdown(disk, signal);
  await rm(metadataPath(disk));
  await symlink("/dev/full", metadataPath(disk));
  await first.driver.remove(disk, signal);
  expect(await inventory(first)).toEqual(before);
});

function metadataPath({ children: [, metadata] }: BlockDeviceSpec): string {
  return path.join(first.tools.deviceFolder, ...(metadata?.logicalId ?? []).map(String));
}

test("many disks are looked at with one look and no command", async () => {
  const disks = [await makeMirror(pair), await makeMirror(pair)];
  first.commands.length = 0;
  const found = await Promise.all(disks.map((disk) => status(first, disk)));
  expect(found.map(({ role }) => role)).toEqual(["primary", "primary"]);
  expect(first.commands).toEqual([]);
});

test("the node's minors and its usermode helper", async () => {
  const disk = await makeMirror(pair);
  expect(await first.driver.minors(signal)).toContain(disk.link?.local.minor);
  expect(await first.driver.minors(signal)).not.toContain(disk.link?.peer.minor);
  expect(await second.driver.minors(signal)).toContain(disk.link?.peer.minor);
  expect(await first.driver.usermodeHelper()).toBe("/bin/true");
});

test("a minor that another disk has is left alone", async () => {
  const disk = await makeMirror(pair);
  const stranger = { ...pair.newDisk(), link: disk.link };
  const { create, detachVolumes, disconnect, standBy } = first.driver;
  for (const operation of [create, detachVolumes, disconnect])
    await expect(operation(stranger, signal)).rejects.toThrow(/in use by other volumes/);
  await expect(standBy(stranger, signal)).rejects.toThrow(BlockDeviceError);
  await first.driver.shutdown(stranger, signal);
  await first.driver.remove(stranger, signal);
  expect(await status(first, disk)).toMatchObject({ role: "primary", connection: "connected", degraded: false });
});

describe("killed between any two commands", () => {
  const cases: readonly {
    readonly name: string;
    readonly prepare: (disk: BlockDeviceSpec) => Promise<unknown>;
    readonly operation: (driver: MirroredDriver, disk: BlockDeviceSpec) => Promise<unknown>;
    readonly after: Partial<Awaited<ReturnType<typeof status>>>;
  }[] = [
    {
      name: "create",
      prepare: async () => {},
      operation: async (driver, disk) => {
        await driver.create(disk, signal);
        await driver.standBy(disk, signal);
      },
      after: { role: "secondary", connection: "connecting", localDisk: "outdated" },
    },
    {
      name: "seed",
      prepare: (disk) => first.driver.create(disk, signal),
      operation: (driver, disk) => driver.seed(disk, signal),
      after: { role: "primary", connection: "connecting", localDisk: "uptodate" },
    },
    {
      name: "assemble",
      prepare: async (disk) => first.driver.shutdown(await makeMirror(pair, disk), signal),
      operation: (driver, disk) => driver.assemble(disk, signal),
      after: { role: "primary", connection: "connected", degraded: false },
    },
    {
      name: "disconnect and connect for two primaries",
      prepare: (disk) => makeMirror(pair, disk),
      operation: async (driver, disk) => {
        await driver.disconnect(disk, signal);
        await second.driver.disconnect(pair.mirrored(disk), signal);
        await second.driver.connect(pair.mirrored(disk), { dualPrimary: true }, signal);
        await driver.connect(disk, { dualPrimary: true }, signal);
        await inSync(pair, disk);
      },
      after: { role: "primary", connection: "connected", degraded: false },
    },
    {
      name: "attachVolumes",
      prepare: async (disk) => {
        await makeMirror(pair, disk);
        await first.driver.detachVolumes(disk, signal);
        await first.driver.shutdown({ ...disk }, signal).catch(() => {});
        await first.driver.standBy(disk, signal);
        await first.driver.detachVolumes(disk, signal);
      },
      operation: (driver, disk) => driver.attachVolumes(disk, signal),
      after: { role: "secondary" },
    },
  ];

  test.each(cases)("$name goes on where it stopped", async ({ prepare, operation, after }) => {
    for (let survived = 0; ; survived += 1) {
      const disk = pair.newDisk();
      await prepare(disk);
      const dying = dyingRunner(first.runner, survived);
      await operation(first.newDriver(dying), disk).catch(() => {});
      await operation(first.driver, disk);
      await eventually(async () => (await statusNow(first, disk)).connection !== "syncing");
      expect(await status(first, disk), `after ${survived} commands`).toMatchObject(after);
      await remove(disk);
      if (!dying.hasDied) break;
    }
  });

  test("remove leaves nothing, whenever it was killed", async () => {
    const before = await inventory(first);
    for (let survived = 0; ; survived += 1) {
      const disk = await makeMirror(pair);
      const dying = dyingRunner(first.runner, survived);
      await first
        .newDriver(dying)
        .remove(disk, signal)
        .catch(() => {});
      await remove(disk);
      expect(await inventory(first), `after ${survived} commands`).toEqual(before);
      if (!dying.hasDied) break;
    }
  });

  async function remove(disk: BlockDeviceSpec): Promise<void> {
    await first.driver.remove(disk, signal);
    await second.driver.remove(pair.mirrored(disk), signal);
  }

  /** Runs so many commands, and then none: the undo of a failure does not happen either. */
  function dyingRunner(real: CommandRunner, survived: number): CommandRunner & { readonly hasDied: boolean } {
    let left = survived;
    return {
      get hasDied() {
        return left < 0;
      },
      run: async (command) => {
        left -= 1;
        if (left < 0) throw new Error("the agent is dead");
        return real.run(command);
      },
    };
  }
});

describe("a node whose DRBD is not as it should be", () => {
  test("without the kernel module, a disk cannot be made, and can be removed", async () => {
    const node = (await drbdPair({ inProcess: true })).first;
    const disk = pair.newDisk();
    await rm(node.tools.drbdStatusFile);
    await expect(node.driver.create(disk, signal)).rejects.toThrow(
      /There is no DRBD on this node.*load the kernel module/,
    );
    await expect(node.driver.mirrorStatus(disk, signal)).rejects.toThrow(BlockDeviceError);
    await node.driver.remove(disk, signal);
  });

  test("of an unknown version, or garbage, nothing is done", async () => {
    const broken = await drbdPair({ inProcess: true });
    const disk = broken.newDisk();
    for (const text of ["version: 8.3.11 (api:88/proto:86-96)\n", "%$§!\n", ""]) {
      await writeFile(broken.first.tools.drbdStatusFile, text);
      broken.first.commands.length = 0;
      await expect(broken.first.driver.create(disk, signal)).rejects.toThrow(BlockDeviceError);
      await expect(broken.first.driver.remove(disk, signal)).rejects.toThrow(BlockDeviceError);
      expect(broken.first.commands).toEqual([]);
    }
    await broken.close();
  });
});

test("no command shows the secret but the one that needs it, where it is told to be secret", async () => {
  first.commands.length = 0;
  await makeMirror(pair);
  const telling = first.commands.filter(({ argv }) => argv.join(" ").includes(SECRET));
  expect(telling.map(({ argv, secretArgs }) => [argv[1], (secretArgs ?? []).map((at) => argv[at])])).toEqual([
    ["connect", [SECRET]],
  ]);
});

test("the simulated kernel refuses what the real one refuses", async () => {
  const disk = await makeMirror(pair);
  const minor = `${disk.link?.local.minor}`;
  const answer = async (node: PairNode, ...words: string[]) => {
    const { exitCode, stderr } = await drbdsetup(node.folder, words);
    return [exitCode, stderr];
  };
  expect(await answer(second, "primary", `${disk.link?.peer.minor}`)).toEqual([
    11,
    `${disk.link?.peer.minor}: State change failed: (-1) Multiple primaries not allowed by config\n`,
  ]);
  await second.driver.detachVolumes(pair.mirrored(disk), signal);
  expect(await answer(first, "detach", minor)).toEqual([
    11,
    `${minor}: State change failed: (-2) Need access to UpToDate data\n`,
  ]);
});

/** As the master names them when it replaces an end's volumes. */
function withNewVolumes(disk: BlockDeviceSpec, sizeMib = 4): BlockDeviceSpec {
  return { ...disk, children: pair.newDisk({ sizeMib }).children };
}
