import type { BlockDeviceDriver, BlockDeviceSpec } from "@gannet/driver-contract";
import { BLOCK_DEVICE_CHECKS, type BlockDeviceSubject } from "@gannet/driver-contract/conformance";
import { afterAll, beforeAll, describe, test } from "vitest";
import { type ServedDriver, serveDriver } from "../served-driver.ts";
import { type DrbdPair, drbdPair, inventory, never, read, statusNow, write } from "./drbd-pair.ts";

describe.each(["in-process", "over gRPC"])("the drbd driver over simulated tools, %s", (where) => {
  let pair: DrbdPair;
  let subject: BlockDeviceSubject;
  let remote: ServedDriver | undefined;
  beforeAll(async () => {
    pair = await drbdPair({ inProcess: true });
    if (where === "over gRPC") remote = await serveDriver(pair.first.driver);
    subject = subjectOf(pair, remote?.driver ?? pair.first.driver);
  });
  afterAll(async () => {
    await remote?.[Symbol.asyncDispose]();
    await pair.close();
  });

  for (const { name, run } of BLOCK_DEVICE_CHECKS) test(name, () => run(subject));
});

/** The peer's end goes along in the background, as the master makes and removes both. */
function subjectOf({ first, second, newDisk, mirrored }: DrbdPair, tested: BlockDeviceDriver): BlockDeviceSubject {
  const seeded = new Set<string>();
  const driver: BlockDeviceDriver = {
    ...tested,
    create: async (disk, signal) => {
      await tested.create(disk, signal);
      if (seeded.has(disk.uuid)) return;
      await second.driver.create(mirrored(disk), signal);
      await second.driver.standBy(mirrored(disk), signal);
      await first.driver.seed(disk, signal);
      await until(disk);
      await tested.shutdown(disk, signal);
      seeded.add(disk.uuid);
    },
    grow: async (disk, newSizeMib, signal) => {
      // The kernel cannot resize without a primary.
      const isUp = (await first.driver.mirrorStatus(disk, signal)).connection !== "unconfigured";
      if (!isUp && seeded.has(disk.uuid)) await tested.assemble(disk, signal);
      await until(disk);
      await second.driver.grow(mirrored(disk), newSizeMib, signal);
      await tested.grow(disk, newSizeMib, signal);
    },
    remove: async (disk, signal) => {
      await tested.remove(disk, signal);
      await second.driver.remove(mirrored(disk), signal);
      seeded.delete(disk.uuid);
    },
  };

  async function until(disk: BlockDeviceSpec): Promise<void> {
    for (;;) {
      if ((await statusNow(first, disk)).connection !== "syncing") return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  return {
    driver,
    newDevice: () => newDisk(),
    hostileDevices: () => hostileDisks(newDisk()),
    occupy: async (disk) => {
      const [volume] = disk.children;
      if (volume === undefined) throw new Error("no volume");
      const stranger = { ...volume, uuid: newDisk().uuid };
      await first.plain.create(stranger, never());
      const attached = await first.plain.assemble(stranger, never());
      await write(attached, "somebody's data");
      return {
        isUntouched: async () => (await read(attached, 15)) === "somebody's data",
        clear: () => first.plain.remove(stranger, never()),
      };
    },
    inventory: async () => [...(await inventory(first)), ...(await inventory(second))],
    write,
    read,
  };
}

function hostileDisks(disk: BlockDeviceSpec): readonly BlockDeviceSpec[] {
  const { link } = disk;
  const [data, metadata] = disk.children;
  if (link === undefined || data === undefined || metadata === undefined) throw new Error("no whole disk");
  const places = [
    "..",
    ".",
    "",
    "-rf",
    "../xenvg",
    "/etc",
    "a b",
    "nul\0",
    "line\nbreak",
    "x".repeat(10_000),
    "snapshot1",
  ];
  return [
    ...places.flatMap((place) => [
      { ...disk, children: [{ ...data, logicalId: ["xenvg", place] }, metadata] },
      { ...disk, children: [data, { ...metadata, logicalId: ["xenvg", place] }] },
    ]),
    { ...disk, children: [{ ...data, logicalId: ["../../etc", "passwd"] }, metadata] },
    { ...disk, children: [data] },
    { ...disk, children: [] },
    { ...disk, link: undefined },
    { ...disk, link: { ...link, secret: "--force" } },
    { ...disk, link: { ...link, secret: "x".repeat(64) } },
    { ...disk, link: { ...link, port: 0 } },
    { ...disk, link: { ...link, local: { ...link.local, minor: 255 } } },
    { ...disk, link: { ...link, peer: { ...link.peer, address: "--force" } } },
    { ...disk, link: { ...link, peer: { ...link.peer, address: "2001:db8::1" } } },
    { ...disk, params: { "net-custom": "--shared-secret='x y'" } },
    { ...disk, params: { "disk-custom": "$(reboot)" } },
  ];
}
