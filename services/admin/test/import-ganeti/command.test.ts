/** `import-ganeti` on a real Redis: what it replaces, and what it leaves alone. */
import { access, writeFile } from "node:fs/promises";
import path from "node:path";
import { configViewOf, initialiseConfiguration, readConfiguration, rowsOf } from "@gannet/config-store";
import { SYSTEM_LAYOUT } from "@gannet/objects";
import { connectRedis, type Redis } from "@gannet/redis";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { importGaneti, runImport } from "../../src/import-ganeti/command.ts";
import { translateConfiguration } from "../../src/import-ganeti/translation.ts";
import { anotherGroup, clusterRows } from "../cluster-rows.ts";
import { MasterRoot } from "../master-root.ts";
import { configuration31, type Json, TEMPLATES, uuidOf } from "./ganeti-configurations.ts";

let machine: MasterRoot;
let redis: Redis;
let file: string;
let told: string[];

beforeAll(async () => {
  machine = await MasterRoot.initialised();
  redis = connectRedis({ kind: "socket", path: machine.socket }, { name: "test" });
  file = machine.beside("config.data");
});
beforeEach(async () => {
  await redis.flushall();
  await writeFile(file, JSON.stringify(configuration31()));
  told = [];
  vi.spyOn(console, "log").mockImplementation((line) => told.push(String(line)));
});
afterAll(async () => {
  redis.disconnect();
  await machine[Symbol.asyncDispose]();
});

function run(options: Partial<Parameters<typeof runImport>[1]> = {}): Promise<void> {
  return runImport(file, {
    root: machine.root,
    dryRun: false,
    skip: [],
    nodeAgent: new Map(),
    force: false,
    ...options,
  });
}

test("an empty Redis gets the cluster as the file has it", async () => {
  await run();
  const there = await readConfiguration(redis);
  const expected = translateConfiguration(configuration31()).rows;
  expect(there && rowsOf(configViewOf(there.rows))).toEqual(expected && rowsOf(configViewOf(expected)));
  expect(there?.serial).toBe(148);
  expect(told.join("\n")).toContain(`  instances          ${TEMPLATES.length}            ${TEMPLATES.length}`);
});

test("a cluster that was only initialised is replaced, and its watermark with it", async () => {
  await initialiseConfiguration(redis, clusterRows(), 500);
  const watermark = machine.at(path.join(SYSTEM_LAYOUT.masterStateDir, "watermark.json"));
  await writeFile(watermark, "{}");
  await run();
  const there = await readConfiguration(redis);
  expect(there?.rows.cluster.name).toBe("cluster.example.com");
  // Nothing of what was there is left, and whoever follows the configuration sees that it moved.
  expect(there?.rows.groups?.map(({ name }) => name).sort()).toEqual(["default", "rack2"]);
  expect(there?.serial).toBe(501);
  await expect(access(watermark)).rejects.toThrow();
});

test("a cluster with several nodes is replaced with --force only", async () => {
  const rows = clusterRows();
  const [node] = rows.nodes ?? [];
  if (node === undefined) throw new Error("no node");
  const second = { ...node, uuid: uuidOf("node", 7) as typeof node.uuid, name: "node2.test", primaryIp: "127.0.0.2" };
  await initialiseConfiguration(redis, { ...rows, nodes: [node, second], groups: [anotherGroup("own")] });
  await expect(run()).rejects.toThrow("There is the cluster cluster.test with 2 nodes and 0 instances");
  await run({ force: true });
  expect((await readConfiguration(redis))?.rows.nodes).toHaveLength(3);
});

test("--dry-run tells all and changes nothing", async () => {
  await run({ dryRun: true });
  expect(told.join("\n")).toContain("hypervisors     kvm 9");
  expect(await redis.dbsize()).toBe(0);
});

test("problems are refused until they are skipped by name", async () => {
  const json = configuration31();
  const instances = json.instances as Record<string, Json>;
  instances[uuidOf("instance", 2)] = { ...instances[uuidOf("instance", 2)], hypervisor: "bhyve" };
  await writeFile(file, JSON.stringify(json));
  await expect(run()).rejects.toThrow("1 thing of this configuration cannot be taken over; nothing was changed");
  expect(told.join("\n")).toContain("instances/plain.example.com/hypervisor");
  expect(await redis.dbsize()).toBe(0);
  await expect(run({ skip: ["instances/plain"] })).rejects.toThrow("--skip instances/plain names no problem");
  await run({ skip: ["instances/plain.example.com"] });
  expect((await readConfiguration(redis))?.rows.instances).toHaveLength(TEMPLATES.length - 1);
});

test("the command line takes agents' addresses, and refuses what is none", async () => {
  const parse = (...args: string[]) =>
    importGaneti.parseAsync([file, "--root", machine.root, ...args], { from: "user" });
  await expect(parse("--node-agent", "node1")).rejects.toThrow("the form is name=host:port");
  await parse("--node-agent", "Node1.example.com=127.0.0.1:4711");
  const nodes = (await readConfiguration(redis))?.rows.nodes ?? [];
  expect(nodes.find(({ name }) => name === "node1.example.com")?.agentAddress).toBe("127.0.0.1:4711");
});

test.each([
  ["not json", "is not JSON"],
  ["[]", "cannot be taken over"],
])("a file of %j is refused", async (text, message) => {
  await writeFile(file, text);
  await expect(run()).rejects.toThrow(message);
});
