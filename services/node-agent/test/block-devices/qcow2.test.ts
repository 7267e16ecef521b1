/** Disks that are qcow2 images: made, shown as they are to programs that know nothing of it, and grown under a guest. */
import { access, mkdir, mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { AttachedDevice, BlockDeviceSpec, HypervisorDriver } from "@gannet/driver-contract";
import { BlockDeviceError, GannetError } from "@gannet/errors";
import { createCommandRunner } from "@gannet/exec";
import { HYPERVISOR_DEFAULTS, type HypervisorName } from "@gannet/objects";
import { type BlockDevice, encodeParameters } from "@gannet/rpc";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createDiskContents } from "../../src/block-devices/disk-contents.ts";
import { withRawDisks } from "../../src/block-devices/raw-disks.ts";
import { openRawView } from "../../src/block-devices/raw-view.ts";
import { SYSTEM_STORAGE_TOOLS } from "../../src/block-devices/storage-tools.ts";
import { KvmHypervisor } from "../../src/hypervisors/kvm/kvm-hypervisor.ts";
import { createTestCluster, startTestAgent, step, type TestAgent, type TestCluster } from "../agent-fixture.ts";
import { bareGuest, makeTestNode, type TestNode } from "../hypervisors/node-fixture.ts";
import { type FileSubject, fileSubject } from "./file-subject.ts";

const { signal } = new AbortController();
const MIB = 1024 * 1024;
const runner = createCommandRunner({ logger: silentLogger() });
const contents = createDiskContents({ runner, tools: SYSTEM_STORAGE_TOOLS });

let subject: FileSubject;
beforeAll(async () => {
  subject = await fileSubject("file", undefined, "qcow2");
});
afterAll(() => subject.close());

async function made(sizeMib = 4): Promise<{ readonly device: BlockDeviceSpec; readonly attached: AttachedDevice }> {
  const device = { ...subject.newDevice(), sizeMib };
  await subject.driver.create(device, signal);
  return { device, attached: await subject.driver.assemble(device, signal) };
}
const checked = (image: string) =>
  runner.run({ argv: ["/usr/bin/qemu-img", "check", "-q", "-f", "qcow2", image], timeoutMs: 10_000 });
const beside = ({ path: image }: AttachedDevice) => readdir(path.dirname(image));

describe("an image", () => {
  test("takes hardly any space, is of the agent's user alone, and has nothing beside it but its owner", async () => {
    const { device, attached } = await made(10_240);
    expect(attached.format).toBe("qcow2");
    const file = await stat(attached.path);
    expect([file.mode & 0o777, file.size < MIB]).toEqual([0o600, true]);
    expect(await subject.driver.status(device, signal)).toEqual({ exists: true, sizeMib: 10_240 });
    expect(await beside(attached)).toHaveLength(2);
    await subject.driver.remove(device, signal);
  });

  test("is what its disk says, whatever is in the file", async () => {
    const { device } = await made();
    const raw = { ...device, params: {} };
    // The size of the file, and not of what it would be taken for.
    expect((await subject.driver.status(raw, signal)).sizeMib).toBe(0);
    expect((await subject.driver.assemble(raw, signal)).format).toBe("raw");
    await subject.driver.remove(device, signal);

    await subject.driver.create(raw, signal);
    await expect(subject.driver.status(device, signal)).rejects.toThrow("is no qcow2 image");
    await expect(subject.driver.create(device, signal)).rejects.toThrow(BlockDeviceError);
    await subject.driver.remove(raw, signal);
  });

  test("has one of the formats there are", async () => {
    const device = { ...subject.newDevice(), params: { format: "vmdk" } };
    await expect(subject.driver.create(device, signal)).rejects.toThrow("file disks have no format vmdk");
  });

  test("that was half made when the agent died is made anew, and removed with its rest", async () => {
    const device = subject.newDevice();
    const target = String(device.logicalId[1]);
    await mkdir(path.dirname(target), { recursive: true });
    await writeFile(path.join(path.dirname(target), `.${path.basename(target)}.new`), "QFI");
    await subject.driver.create(device, signal);
    await writeFile(path.join(path.dirname(target), `.${path.basename(target)}.new`), "QFI");
    await writeFile(path.join(path.dirname(target), `.${path.basename(target)}.contents-1-1`), "old");
    await subject.driver.remove(device, signal);
    await expect(access(path.dirname(target))).rejects.toThrow("ENOENT");
  });
});

describe("a view of its contents", () => {
  test("is what the disk holds, and nothing is left of it", async () => {
    const { device, attached } = await made();
    await subject.write(attached, "kept");
    await checked(attached.path);
    {
      await using view = await openRawView(runner, attached, signal);
      const file = await stat(view.disk.path);
      expect([view.disk.format, file.size, file.mode & 0o777]).toEqual(["raw", 4 * MIB, 0o600]);
      expect((await readFile(view.disk.path)).subarray(0, 4).toString()).toBe("kept");
      await writeFile(view.disk.path, "lost");
    }
    expect(await subject.read(attached, 4)).toBe("kept");
    expect(await beside(attached)).toHaveLength(2);
    expect((await stat(attached.path)).mode & 0o777).toBe(0o600);
    await subject.driver.remove(device, signal);
  });

  test("may be cut by the program that writes it; the disk keeps its size", async () => {
    const { device, attached } = await made();
    await using view = await openRawView(runner, attached, signal);
    await truncate(view.disk.path, 0);
    await writeFile(view.disk.path, "short");
    await view.keep(signal);
    expect(await subject.read(attached, 5)).toBe("short");
    expect((await subject.driver.status(device, signal)).sizeMib).toBe(4);
    await subject.driver.remove(device, signal);
  });

  test("takes the place of one that a killed agent has left", async () => {
    const { device, attached } = await made();
    const left = path.join(path.dirname(attached.path), `.${path.basename(attached.path)}.contents-1-1`);
    await writeFile(left, "old");
    await using _view = await openRawView(runner, attached, signal);
    await expect(access(left)).rejects.toThrow("ENOENT");
    await subject.driver.remove(device, signal);
  });

  test("a script gets it in the place of each image, and what it wrote stays unless it fails", async () => {
    const { device, attached } = await made();
    const common = { uuid: device.uuid, index: 0, name: null, access: "rw", sizeMib: 4 } as const;
    const disks = [{ ...common, ...attached }];
    const writing = (text: string) =>
      withRawDisks(contents, disks, signal, async ([disk]) => {
        await using file = await open(disk?.path ?? "", "r+");
        await file.write(text, 0);
        if (text === "fail") throw new BlockDeviceError("the script failed");
      });
    await writing("good");
    await expect(writing("fail")).rejects.toThrow("the script failed");
    expect(await subject.read(attached, 4)).toBe("good");
    expect(await beside(attached)).toHaveLength(2);
    await subject.driver.remove(device, signal);
  });
});

describe("under a guest", () => {
  let node: TestNode;
  let kvm: KvmHypervisor;
  let cluster: TestCluster;
  let agent: TestAgent;
  let folder: string;
  beforeEach(async () => {
    node = await makeTestNode({ kvmAcceleration: "off" });
    kvm = new KvmHypervisor(node.parts);
    cluster = await createTestCluster();
    folder = await mkdtemp(path.join(tmpdir(), "gannet-qcow2-"));
    agent = await startTestAgent(cluster, {
      leadersFolder: path.join(folder, "leaders"),
      blockDevices: new Map([["file", subject.driver]]),
      hypervisors: new Map<HypervisorName, HypervisorDriver>([["kvm", kvm]]),
    });
  });
  afterEach(async () => {
    for (const { name } of await kvm.list()) await kvm.stop(name, { force: true, timeoutMs: 0 }, signal);
    await agent.stop();
    await node.remove();
    await cluster.remove();
    await rm(folder, { recursive: true });
  });

  const messageOf = (device: BlockDeviceSpec): BlockDevice => ({
    ...device,
    logicalId: device.logicalId.map(String),
    params: encodeParameters(device.params),
    children: [],
    name: undefined,
    link: undefined,
  });

  test("its own qemu makes it larger, since nobody else can", async () => {
    const { device, attached } = await made();
    const name = device.instanceName;
    const disk = { uuid: device.uuid, index: 0, name: null, access: "rw", sizeMib: 4, ...attached } as const;
    await kvm.start({ ...bareGuest(name, "kvm", HYPERVISOR_DEFAULTS.kvm), disks: [disk] }, { paused: false }, signal);

    await expect(subject.driver.grow(device, 6, signal)).rejects.toThrow(/lock/);
    await expect(openRawView(runner, attached, signal)).rejects.toThrow(/lock/);
    const grow = (newSizeMib: number) =>
      agent.client.blockDevices.grow({ step: step(), device: messageOf(device), newSizeMib });
    await grow(6);
    await grow(6);
    expect((await subject.driver.status(device, signal)).sizeMib).toBe(6);
    await expect(grow(5)).rejects.toThrow(GannetError);
    expect((await kvm.state(name))?.status).toBe("running");

    await kvm.stop(name, { force: true, timeoutMs: 0 }, signal);
    await grow(8);
    expect((await subject.driver.status(device, signal)).sizeMib).toBe(8);
    await checked(attached.path);
    await subject.driver.remove(device, signal);
  });
});
