/** The driver as the agent makes it, over real processes: the simulated tools of LVM and DRBD, and what goes wrong. */
import { rename } from "node:fs/promises";
import path from "node:path";
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readMetadata, writeMetadata } from "../../../../../test/simulated-tools/drbd/metadata.ts";
import type { Metadata } from "../../../../../test/simulated-tools/drbd/world.ts";
import { clearFault, setFault, type ToolFault } from "../../../../../test/simulated-tools/faults.ts";
import { createDrbdDriver } from "../../../src/block-devices/drbd/drbd-driver.ts";
import { createLvm } from "../../../src/block-devices/lvm/lvm.ts";
import {
  type DrbdPair,
  drbdPair,
  eventually,
  inventory,
  makeMirror,
  never,
  type PairNode,
  read,
  SECRET,
  write,
} from "./drbd-pair.ts";

const signal = never();
let pair: DrbdPair;
let first: PairNode;
let second: PairNode;
beforeAll(async () => {
  pair = await drbdPair();
  ({ first, second } = pair);
});
afterAll(() => pair.close());

test("a mirror's life: made, synchronised, written, moved with two primaries, removed", async () => {
  const before = [await inventory(first), await inventory(second)];
  const disk = pair.newDisk();
  const other = pair.mirrored(disk);
  await Promise.all([first.driver.create(disk, signal), second.driver.create(other, signal)]);
  await second.driver.standBy(other, signal);
  await first.driver.seed(disk, signal);
  const degraded = async () => (await first.driver.mirrorStatus(disk, signal)).degraded;
  await eventually(async () => !(await degraded()));
  const source = await first.driver.assemble(disk, signal);
  await write(source, "on its way");
  const two = { dualPrimary: true };
  await Promise.all([first.driver.connect(disk, two, signal), second.driver.connect(other, two, signal)]);
  const target = await second.driver.assemble(other, signal);
  expect(target).toEqual({ path: path.join(second.tools.deviceFolder, "drbd101"), kind: "file", format: "raw" });
  expect(await read(target, 10)).toBe("on its way");
  await first.driver.standBy(disk, signal);
  await Promise.all([first.driver.remove(disk, signal), second.driver.remove(other, signal)]);
  expect([await inventory(first), await inventory(second)]).toEqual(before);
});

test("both volumes of an end are noted as the instance's under its new name", async () => {
  const disk = await makeMirror(pair);
  const driver = createDrbdDriver({ ...first, logger: silentLogger() });
  await driver.setInfo({ ...disk, instanceName: "web9.example.com" }, signal);
  const volumes = await createLvm(first).logicalVolumes(signal);
  const own = volumes.filter(({ name }) => disk.children.some(({ logicalId }) => logicalId[1] === name));
  expect(own).toHaveLength(2);
  for (const { tags } of own)
    expect(tags.filter((tag) => tag.startsWith("originstname+"))).toEqual(["originstname+web9.example.com"]);
  await Promise.all([first.driver.remove(disk, signal), second.driver.remove(pair.mirrored(disk), signal)]);
});

test("metadata without this disk's mark, as Ganeti makes them, are kept when their volumes are put back", async () => {
  const disk = await makeMirror(pair);
  const other = pair.mirrored(disk);
  const volume = path.join(second.tools.deviceFolder, ...(disk.children[1]?.logicalId ?? []).map(String));
  writeMetadata(volume, { ...(readMetadata(volume) as Metadata), deviceUuid: "DEADBEEF00000001" });
  await second.driver.detachVolumes(other, signal);
  await second.driver.disconnect(other, signal);
  await first.driver.shutdown(disk, signal);
  await second.driver.attachVolumes(other, signal);
  expect((await second.driver.mirrorStatus(other, signal)).localDisk).toBe("uptodate");
  await second.driver.assemble(other, signal);
  await Promise.all([first.driver.remove(disk, signal), second.driver.remove(other, signal)]);
});

describe("a tool that", () => {
  let made: BlockDeviceSpec;
  beforeAll(async () => {
    made = pair.newDisk();
    await first.driver.create(made, signal);
  });

  const faults: readonly (readonly [string, ToolFault])[] = [
    ["fails", { answer: { exitCode: 10, stderr: "0: Failure: (102) disk on fire\n" } }],
    ["does nothing and says that it did", { answer: { exitCode: 0 } }],
    ["prints garbage", { answer: { exitCode: 0, stdout: "%$§!\n" } }],
  ];

  test.each(faults)("%s is told, and what was begun is taken back", async (_name, fault) => {
    const before = await inventory(first);
    await failing("drbdmeta", fault, () => refused(first.driver.create(pair.newDisk(), signal)));
    expect(await inventory(first)).toEqual(before);
    await failing("drbdsetup", fault, () => refused(first.driver.assemble(made, signal)));
    expect(await inventory(first)).toEqual(before);
  });

  test("fails after it has printed secrets, does not have them told", async () => {
    const cutShort = { answer: { exitCode: 20, stdout: `shared-secret "${SECRET}";\n` } };
    await failing("drbdsetup", cutShort, () => refused(first.driver.assemble(made, signal)));
  });

  test("hangs is ended when the operation is aborted", async () => {
    await failing("drbdsetup", { hang: true }, async () => {
      const abort = new AbortController();
      first.commands.length = 0;
      const standingBy = first.driver.standBy(made, abort.signal);
      standingBy.catch(() => {});
      await eventually(async () => first.commands.some(({ argv: [program] }) => program.endsWith("/drbdsetup")));
      abort.abort(new Error("the job was stopped"));
      await expect(standingBy).rejects.toThrow(/its operation was aborted/);
    });
  });

  test("is missing is named", async () => {
    const disk = pair.newDisk();
    const tool = path.join(first.tools.binFolder, "drbdmeta");
    await rename(tool, `${tool}.away`);
    await expect(first.driver.create(disk, signal)).rejects.toThrow(/drbdmeta .*there is no such program/);
    await rename(`${tool}.away`, tool);
    expect((await first.driver.status(disk, signal)).exists).toBe(false);
  });

  /** As the disk's error, in which its secret is not. */
  async function refused(operation: Promise<unknown>): Promise<void> {
    const error = await operation.catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(BlockDeviceError);
    expect(String(error)).toContain("Disk 0 of web1.example.com");
    expect(String(error)).not.toContain(SECRET);
  }

  async function failing(tool: string, fault: ToolFault, work: () => Promise<void>): Promise<void> {
    setFault(first.folder, tool, fault);
    try {
      await work();
    } finally {
      clearFault(first.folder, tool);
    }
  }
});
