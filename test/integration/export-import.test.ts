/** Exports of instances to a node, and instances made from them: on simulated LVM, over real socat. */
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import {
  CONTENTS,
  contentsOf,
  createInstance,
  instanceRow,
  NODES,
  ONE,
  OS,
  runsOn,
  SLOW_MS,
  startSimulatedCluster,
  THREE,
  TWO,
  told,
} from "./simulated-instances.ts";

const NAME = "kept.gannet.test";
const INSTANCE = `/2/instances/${NAME}`;
const TWO_DISKS = { disks: [{ size: 8 }, { size: 4 }] };
vi.setConfig({ testTimeout: SLOW_MS, hookTimeout: SLOW_MS });

let cluster: OneMachineCluster;
beforeAll(async () => {
  cluster = await startSimulatedCluster();
});
afterAll(() => cluster[Symbol.asyncDispose]());

test("a running instance is exported from snapshots, and made again elsewhere, with its disks and parameters", async () => {
  await createInstance(cluster, NAME, {
    ...TWO_DISKS,
    disk_template: "plain",
    snode: undefined,
    beparams: { memory: 48, vcpus: 2 },
  });
  const exported = await cluster.job("PUT", `${INSTANCE}/export`, { destination: THREE, shutdown: true });
  expect(exported, told(exported)).toMatchObject({ status: "success", opresult: [[true, [true, true]]] });
  expect(told(exported)).toMatch(/snapshot of disk\/1.*starting instance.*exporting disk\/0.*finalizing/s);
  await runsOn(cluster, NAME, ONE);

  const copy = "copy.gannet.test";
  const imported = await cluster.job("POST", "/2/instances", {
    __version__: 1,
    mode: "import",
    instance_name: copy,
    src_node: THREE,
    src_path: NAME,
    disk_template: "file",
    disks: [],
    nics: [],
    pnode: TWO,
  });
  expect(imported, told(imported)).toMatchObject({ status: "success" });
  expect(told(imported)).toContain("OS rename script");
  await runsOn(cluster, copy, TWO);
  const [before, after] = [await instanceRow(cluster, NAME), await instanceRow(cluster, copy)] as unknown as [
    Record<string, unknown>,
    Record<string, unknown>,
  ];
  for (const key of ["os", "hypervisor", "disk.sizes", "nic.links", "oper_vcpus"])
    expect(after[key]).toEqual(before[key]);
  expect(after).toMatchObject({ disk_template: "file", beparams: { maxmem: 48, vcpus: 2 } });
  expect(after["nic.macs"]).not.toEqual(before["nic.macs"]);
  expect(await contentsOf(cluster, copy)).toBe(CONTENTS);

  await cluster.succeed("DELETE", `${INSTANCE}/export`);
  const again = await cluster.job("DELETE", `${INSTANCE}/export`);
  expect(JSON.stringify(again.opresult)).toContain("unknown_entity");
  for (const name of [NAME, copy]) await cluster.succeed("DELETE", `/2/instances/${name}`);
});

test("an export that fails leaves a running instance running, and nothing behind", async () => {
  const name = "broken.gannet.test";
  await createInstance(cluster, name, { disk_template: "plain", snode: undefined });
  const logged = cluster.log.length;
  const job = await cluster.job("PUT", `/2/instances/${name}/export`, { destination: THREE, shutdown: true });
  expect(job.status).toBe("error");
  expect(JSON.stringify(job.opresult)).toMatch(/exit code 7/);
  expect(told(job)).toContain("starting instance");
  await runsOn(cluster, name, ONE);
  // It was stopped once, for the snapshot, and by nothing that was undone.
  expect(cluster.log.slice(logged)).not.toMatch(/undo\/\d+\/stop-instance/);
  const { nodes } = layoutOf(cluster.stateDir, NODES);
  expect(await readFile(path.join(nodes[0]?.dir ?? "", "simulated-storage/lvm.json"), "utf8")).not.toContain(".snap");
  const exports = await readdir(path.join(nodes[2]?.dir ?? "", "state/export")).catch(() => []);
  expect(exports.filter((each) => each.startsWith(name))).toEqual([]);
  await cluster.succeed("DELETE", `/2/instances/${name}`);
});

test("an instance is removed with its export, and comes back under its own name with its own addresses", async () => {
  await createInstance(cluster, NAME, { disk_template: "file", snode: undefined, start: false });
  const before = (await instanceRow(cluster, NAME)) as unknown as Record<string, unknown>;
  await cluster.succeed("PUT", `${INSTANCE}/export`, { destination: TWO, remove_instance: true });
  expect((await cluster.rapi("GET", INSTANCE)).status).toBe(404);
  await cluster.succeed("POST", "/2/instances", {
    __version__: 1,
    mode: "import",
    instance_name: NAME,
    disks: [],
    nics: [],
    pnode: ONE,
    start: false,
  });
  const after = (await instanceRow(cluster, NAME)) as unknown as Record<string, unknown>;
  for (const key of ["nic.macs", "disk.sizes", "disk_template", "os", "status"])
    expect(after[key]).toEqual(before[key]);
  expect(await contentsOf(cluster, NAME)).toBe(CONTENTS);
  await cluster.succeed("DELETE", INSTANCE);
});

test("what cannot be exported or imported is refused, and nothing is left of it", async () => {
  await createInstance(cluster, NAME, { disk_template: "file", snode: undefined });
  for (const [body, words] of [
    [{ destination: "node9.gannet.test" }, /not known/],
    [{ destination: TWO, shutdown: true }, /long_sleep/],
    [{ destination: TWO, shutdown: false, remove_instance: true }, /without being shut down/],
  ] as const) {
    const job = await cluster.job("PUT", `${INSTANCE}/export`, body);
    expect(job.status).toBe("error");
    expect(JSON.stringify(job.opresult)).toMatch(words);
  }
  const missing = await cluster.job("POST", "/2/instances", {
    __version__: 1,
    mode: "import",
    instance_name: "new.gannet.test",
    os_type: OS,
    disks: [],
    nics: [],
    pnode: ONE,
  });
  expect(JSON.stringify(missing.opresult)).toMatch(/unknown_entity/);
  await cluster.succeed("PUT", `${INSTANCE}/export`, { destination: TWO, shutdown: true, long_sleep: true });
  await runsOn(cluster, NAME, ONE);
  await cluster.succeed("DELETE", INSTANCE);
});
