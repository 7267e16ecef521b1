/** What Ganeti has no parameters for, over a whole cluster with real qemu: disks in qcow2 format, UEFI and a TPM. */
import { access, open, readdir } from "node:fs/promises";
import path from "node:path";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { OneMachineCluster } from "../one-machine-cluster.ts";
import {
  CONTENTS,
  createInstance,
  installOs,
  instanceRow,
  ONE,
  runsOn,
  SLOW_MS,
  TWO,
  told,
} from "./simulated-instances.ts";

const NAME = "image.gannet.test";
const INSTANCE = `/2/instances/${NAME}`;
const ON_KVM = { hypervisor: "kvm", snode: undefined, beparams: { memory: 64 } };
const MIB = 1024 * 1024;
vi.setConfig({ testTimeout: SLOW_MS, hookTimeout: SLOW_MS });

const isThere = (file: string) =>
  access(file).then(
    () => true,
    () => false,
  );
const hasFirmware = (await isThere("/usr/share/qemu/firmware")) && (await isThere("/usr/bin/swtpm"));
if (!hasFirmware) console.warn("No instance with UEFI and a TPM is made: ovmf or swtpm is not installed");

let cluster: OneMachineCluster;
beforeAll(async () => {
  cluster = await OneMachineCluster.start({ nodes: 2, hypervisors: "fake,kvm" });
  await installOs(cluster);
});
afterAll(() => cluster?.[Symbol.asyncDispose]());
afterEach(async () => {
  for (const name of [NAME, "copy.gannet.test"])
    if ((await cluster.rapi("GET", `/2/instances/${name}`)).status === 200) await remove(name);
});

/** Firmware that finds nothing to boot hears no power button. */
async function stop(name: string): Promise<void> {
  await cluster.succeed("PUT", `/2/instances/${name}/shutdown`, { timeout: 0 });
}

async function remove(name: string): Promise<void> {
  await stop(name);
  await cluster.succeed("DELETE", `/2/instances/${name}`);
}

/** Of its first disk, wherever its primary node has it. */
async function image(name: string): Promise<string> {
  const { opresult } = await cluster.job("PUT", `/2/instances/${name}/activate-disks`);
  const [[[, , device]]] = opresult as [[[string, string, string]]];
  return device;
}

/** The format that the file's beginning shows, and the size that a qcow2 header tells. */
async function header(file: string): Promise<{ readonly format: string; readonly sizeMib: number }> {
  await using opened = await open(file);
  const { buffer } = await opened.read(Buffer.alloc(32), 0, 32, 0);
  const isImage = buffer.subarray(0, 4).toString("latin1") === "QFI\xfb";
  return isImage
    ? { format: "qcow2", sizeMib: Number(buffer.readBigUInt64BE(24)) / MIB }
    : { format: "raw", sizeMib: (await opened.stat()).size / MIB };
}

test("disks made while diskparams say qcow2 are images, and stay so: installed, run, grown, exported", async () => {
  const format = (value: string) =>
    cluster.succeed("PUT", "/2/groups/default/modify", { diskparams: { file: { format: value } } });
  await format("qcow2");
  await createInstance(cluster, NAME, { ...ON_KVM, disk_template: "file" });
  await format("default");
  await runsOn(cluster, NAME, ONE);
  expect(await header(await image(NAME))).toEqual({ format: "qcow2", sizeMib: 8 });

  const grown = await cluster.job("POST", `${INSTANCE}/disk/0/grow`, { amount: 4 });
  expect(grown, told(grown)).toMatchObject({ status: "success" });
  expect(told(grown)).not.toContain("WARNING");
  expect(await header(await image(NAME))).toEqual({ format: "qcow2", sizeMib: 12 });
  expect(await instanceRow(cluster, NAME)).toMatchObject({ status: "running", "disk.sizes": [12] });

  await stop(NAME);
  const exported = await cluster.job("PUT", `${INSTANCE}/export`, { destination: TWO, shutdown: false });
  expect(exported, told(exported)).toMatchObject({ status: "success", opresult: [[true, [true]]] });
  const copy = "copy.gannet.test";
  const imported = await cluster.job("POST", "/2/instances", {
    ...{ __version__: 1, mode: "import", instance_name: copy, src_node: TWO, src_path: NAME, pnode: TWO },
    ...{ disk_template: "file", hypervisor: "fake", disks: [], nics: [] },
  });
  expect(imported, told(imported)).toMatchObject({ status: "success" });
  const file = await image(copy);
  expect(await header(file)).toEqual({ format: "raw", sizeMib: 12 });
  await using opened = await open(file);
  const { buffer } = await opened.read(Buffer.alloc(CONTENTS.length), 0, CONTENTS.length, 0);
  expect(buffer.toString()).toBe(CONTENTS);
  await cluster.succeed("DELETE", `${INSTANCE}/export`);

  await format("qcow2");
  await cluster.succeed("POST", `/2/instances/${copy}/disk/0/grow`, { amount: 1 });
  expect(await header(file)).toEqual({ format: "raw", sizeMib: 13 });
  await format("default");
});

test.skipIf(!hasFirmware)("UEFI variables and a TPM go where their instance goes, and end with it", async () => {
  const hvparams = { uefi: true, vtpm: true };
  const kept = async () =>
    (await readdir(cluster.stateDir, { recursive: true }))
      .filter((file) => path.dirname(file).endsWith("kvm-hypervisor/nonvolatile"))
      .map((file) => file.split("/")[0]);
  await createInstance(cluster, NAME, { ...ON_KVM, disk_template: "sharedfile", hvparams });
  await runsOn(cluster, NAME, ONE);
  const moves = [
    ["migrate", TWO, {}],
    ["failover", ONE, { shutdown_timeout: 0 }],
  ] as const;
  const first = await kept();
  for (const [way, target_node, more] of moves) {
    const job = await cluster.job("PUT", `${INSTANCE}/${way}`, { target_node, ...more });
    expect(job, told(job)).toMatchObject({ status: "success" });
    await runsOn(cluster, NAME, target_node);
    expect(await kept()).toHaveLength(1);
  }
  expect(await kept()).toEqual(first);
  await remove(NAME);
  expect(await kept()).toEqual([]);
});
