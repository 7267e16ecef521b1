import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir, totalmem } from "node:os";
import path from "node:path";
import { BlockDeviceError } from "@gannet/errors";
import type { NodeState } from "@gannet/rpc";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readBridges } from "../../src/node-facts/bridges.ts";
import { parseMeminfo, readMemory } from "../../src/node-facts/memory.ts";
import { memoryUse, NodeFacts } from "../../src/node-facts/node-facts.ts";
import { parseIdList, readProcessors } from "../../src/node-facts/processors.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), "gannet-facts-"));
});
afterAll(() => rm(root, { recursive: true }));

async function tree(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(path.join(root, "sys-"));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(path.join(folder, path.dirname(name)), { recursive: true });
    await writeFile(path.join(folder, name), content);
  }
  return folder;
}

test("memory is read from the kernel's account", async () => {
  const sample = await readFile(path.join(import.meta.dirname, "samples/meminfo-linux-6.18"), "utf8");
  expect(parseMeminfo(sample)).toEqual({ totalMib: 24105, availableMib: 23478 });
  expect(() => parseMeminfo("MemTotal:       24684096 kB\n")).toThrow(/MemAvailable/);
  expect((await readMemory()).totalMib).toBe(Math.floor(totalmem() / 1024 / 1024));
});

test("storage is read anew when everything is asked for; spindles that cannot be counted hide nothing else", async () => {
  let count = 0;
  const spindles = async () => {
    count += 1;
    if (count === 4) throw new BlockDeviceError("no lvs");
    return [{ type: "lvm-pv", name: "xenvg", totalMib: 4, freeMib: count }] as const;
  };
  const parts = { nodeName: "node1.test", hypervisors: new Map(), blockDevices: [], logger: silentLogger() };
  const facts = new NodeFacts({ ...parts, spindles });
  const { signal } = new AbortController();
  const free = async (state: Promise<NodeState>) => (await state).storage.map(({ freeMib }) => freeMib);
  expect(await free(facts.read([], signal))).toEqual([1]);
  expect(await free(facts.read([], signal))).toEqual([2]);
  expect(await free(facts.describe(signal, { space: "known" }))).toEqual([2]);
  expect(await free(facts.describe(signal, { space: "read" }))).toEqual([3]);
  expect(await free(facts.describe(signal, { space: "read" }))).toEqual([]);
});

test("guests' memory is not the node's own; pretended guests take none", () => {
  const host = { totalMib: 16_000, availableMib: 10_000 };
  const untouched = { memoryTotalMib: 16_000, memoryFreeMib: 10_000, memoryNodeMib: 6_000 };
  expect(memoryUse(host, [])).toEqual(untouched);
  expect(memoryUse(host, [{ hypervisor: "kvm", memoryMib: 4_000 }])).toEqual({ ...untouched, memoryNodeMib: 2_000 });
  expect(memoryUse(host, [{ hypervisor: "kvm", memoryMib: 9_000 }])).toEqual({ ...untouched, memoryNodeMib: 0 });
  expect(memoryUse(host, [{ hypervisor: "fake", memoryMib: 4_000 }])).toEqual(untouched);
});

test.each([
  ["0", [0]],
  ["0-3", [0, 1, 2, 3]],
  ["0-1,4,6-7", [0, 1, 4, 6, 7]],
])("the list %j", (text, expected) => {
  expect(parseIdList(text)).toEqual(expected);
});

test.each(["", "a", "1-", "0-x"])("%j is no list", (text) => {
  expect(() => parseIdList(text)).toThrow(/no list/);
});

test("processors, sockets and NUMA nodes of a machine with two sockets and one processor offline", async () => {
  const system = await tree({
    "cpu/online": "0-2,4-5\n",
    ...Object.fromEntries(
      [0, 0, 0, 1, 1, 1].map((socket, cpu) => [`cpu/cpu${cpu}/topology/physical_package_id`, `${socket}\n`]),
    ),
    "node/online": "0-1\n",
  });
  expect(await readProcessors(system)).toEqual({ total: 5, sockets: 2, numaNodes: 2 });
});

test("a kernel without topology or NUMA counts as one socket and one node", async () => {
  expect(await readProcessors(await tree({ "cpu/online": "0\n" }))).toEqual({ total: 1, sockets: 1, numaNodes: 1 });
  expect(await readProcessors()).toMatchObject({ total: cpus().length });
});

test("bridges are told from other interfaces", async () => {
  const interfaces = await tree({
    "gnt-br1/bridge/stp_state": "0",
    "br0/bridge/stp_state": "0",
    "eth0/operstate": "up",
    "odd/bridge": "",
  });
  expect(await readBridges(interfaces)).toEqual(["br0", "gnt-br1"]);
  expect(Array.isArray(await readBridges())).toBe(true);
});
