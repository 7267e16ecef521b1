/** The cluster's own address, its hosts files, its verification and its end, on real daemons. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { BullWakeQueue, RedisJobLedger } from "@gannet/job-ledger";
import { parseOpcode, summaryOf, wireOpcode } from "@gannet/opcodes";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { layoutOf, type NodePlan } from "../../deploy/one-machine/layout.ts";
import { type FinishedJob, OneMachineCluster } from "../one-machine-cluster.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const logger = silentLogger();
let cluster: OneMachineCluster;
let node: NodePlan;
let ledger: RedisJobLedger;
let queue: BullWakeQueue;

beforeAll(async () => {
  cluster = await OneMachineCluster.start({ nodes: 1, env: { GANNET_STORAGE: "simulated" } });
  const layout = layoutOf(cluster.stateDir, 1);
  const [first] = layout.nodes;
  if (first === undefined) throw new Error("a layout of one node has none");
  node = first;
  const address = { kind: "socket", path: layout.redisSocket } as const;
  queue = new BullWakeQueue({ address, name: "test", readyJobs: () => ledger.readyJobs(), logger });
  ledger = new RedisJobLedger({ address, name: "test", wakeQueue: queue, logger });
});
afterAll(async () => {
  await ledger?.close();
  await queue?.close();
  await cluster?.[Symbol.asyncDispose]();
});

/** What the remote API has no resource for is submitted as the command line will. */
async function job(id: string, params: Readonly<Record<string, unknown>> = {}): Promise<FinishedJob> {
  const { declaration, op } = parseOpcode({ OP_ID: id, ...params });
  const opcode = { input: wireOpcode(declaration, op), summary: summaryOf(declaration, op) };
  const [submitted = 0] = await ledger.submit([{ requester: "tester", opcodes: [opcode] }]);
  return await cluster.finished(submitted);
}
const succeeded = async (id: string, params?: Readonly<Record<string, unknown>>) =>
  expect(await job(id, params)).toMatchObject({ status: "success" });
async function modify(body: object): Promise<void> {
  const { body: id } = await cluster.rapi("PUT", "/2/modify", { body });
  expect(await cluster.finished(Number(id))).toMatchObject({ status: "success" });
}
const addresses = async () =>
  JSON.parse(await readFile(path.join(node.simulatedAddressesDir, "addresses.json"), "utf8"));

test("the cluster's address comes, moves to another interface, and goes, on addresses that are nobody else's", async () => {
  await succeeded("OP_CLUSTER_ACTIVATE_MASTER_IP");
  expect(await addresses()).toMatchObject([{ local: "127.0.0.1", prefixlen: 32, netdev: "lo" }]);
  await modify({ master_netdev: "eth7", master_netmask: 8 });
  expect(await addresses()).toMatchObject([{ local: "127.0.0.1", prefixlen: 8, netdev: "eth7" }]);
  await modify({ master_netmask: 16 });
  expect(await addresses()).toMatchObject([{ local: "127.0.0.1", prefixlen: 16, netdev: "eth7" }]);
  await succeeded("OP_CLUSTER_DEACTIVATE_MASTER_IP");
  expect(await addresses()).toEqual([]);
});

test("the node's own hosts file is kept, and the machine's is left alone", async () => {
  const before = await readFile("/etc/hosts", "utf8");
  await modify({ modify_etc_hosts: true });
  expect(await readFile(path.join(node.dir, "hosts"), "utf8")).toBe(`${node.ip}\t${node.name} ${node.id}\t# gannet\n`);
  expect(await readFile("/etc/hosts", "utf8")).toBe(before);
});

test("a verification finds nothing wrong with a new cluster", async () => {
  const config = await job("OP_CLUSTER_VERIFY_CONFIG", { error_codes: true });
  const group = await job("OP_CLUSTER_VERIFY_GROUP", { group_name: "default", error_codes: true });
  for (const { opresult, oplog } of [config, group]) {
    const texts = oplog.flat().map((entry) => String((entry as readonly unknown[])[3]));
    expect(texts.filter((text) => /ERROR|WARNING/.test(text))).toEqual([]);
    expect(opresult).toEqual([true]);
  }
});

test("exclusive storage: a disk has the node's one physical volume to itself, by its name, and grows on it", async () => {
  await modify({ ndparams: { exclusive_storage: true } });
  const create = (name: string) =>
    job("OP_INSTANCE_CREATE", {
      ...{ instance_name: name, mode: "create", disk_template: "plain", disks: [{ size: 128, spindles: 1 }], nics: [] },
      ...{ no_install: true, start: false, pnode: node.name, hypervisor: "fake" },
    });
  expect(await create("alone.gannet.test")).toMatchObject({ status: "success" });
  expect((await create("second.gannet.test")).opresult).toEqual([
    [
      "OpPrereqError",
      [expect.stringMatching(/needed 1 empty physical volumes, available 0/), "insufficient_resources"],
    ],
  ]);
  await succeeded("OP_INSTANCE_GROW_DISK", { instance_name: "alone.gannet.test", disk: 0, amount: 64 });
  const verified = await job("OP_CLUSTER_VERIFY_GROUP", { group_name: "default" });
  expect(verified.opresult).toEqual([true]);
  expect((await cluster.rapi("GET", `/2/nodes/${node.name}`)).body).toMatchObject({ sptotal: 1 });
  await succeeded("OP_INSTANCE_REMOVE", { instance_name: "alone.gannet.test", shutdown_timeout: 0 });
});

test("a destroyed cluster is shown, and changes no more", async () => {
  await succeeded("OP_CLUSTER_DESTROY");
  expect((await cluster.rapi("GET", "/2/info")).status).toBe(200);
  expect(await cluster.rapi("PUT", "/2/modify", { body: { max_running_jobs: 3 } })).toMatchObject({
    status: 409,
    body: { message: expect.stringMatching(/has been destroyed/) },
  });
  expect((await job("OP_TEST_DELAY", { duration: 0 })).status).toBe("error");
});
