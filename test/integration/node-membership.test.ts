/** A node joins a running cluster, works in it, is asked for by its administrators' programs, and leaves it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { BullWakeQueue, RedisJobLedger } from "@gannet/job-ledger";
import { parseOpcode, summaryOf, wireOpcode } from "@gannet/opcodes";
import { createCa, issueCertificate } from "@gannet/pki";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { writeAgentConfiguration } from "../../deploy/one-machine/cluster-files.ts";
import { type Layout, layoutOf, type NodePlan } from "../../deploy/one-machine/layout.ts";
import { type FinishedJob, OneMachineCluster } from "../one-machine-cluster.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const AGENT = path.resolve(import.meta.dirname, "../../services/node-agent/src/main.ts");
const AGENT_PORT = 1811;
const INSTANCE = "web1.gannet.test";
/** Programs that the agent trusts belong to root, and so must those that make them. */
const isRoot = process.getuid?.() === 0;

const logger = silentLogger();
let cluster: OneMachineCluster;
let layout: Layout;
let master: NodePlan;
let newcomer: NodePlan;
let ledger: RedisJobLedger;
let queue: BullWakeQueue;
let agent: ChildProcess | undefined;

beforeAll(async () => {
  cluster = await OneMachineCluster.start({ nodes: 1 });
  layout = layoutOf(cluster.stateDir, 2);
  const [first, second] = layout.nodes;
  if (first === undefined || second === undefined) throw new Error("a layout of two nodes has fewer");
  [master, newcomer] = [first, second];
  const address = { kind: "socket", path: layout.redisSocket } as const;
  queue = new BullWakeQueue({ address, name: "test", readyJobs: () => ledger.readyJobs(), logger });
  ledger = new RedisJobLedger({ address, name: "test", wakeQueue: queue, logger });
});
afterAll(async () => {
  await stopAgent();
  await ledger?.close();
  await queue?.close();
  await cluster?.[Symbol.asyncDispose]();
});

/** What the remote API has no resource for is submitted as the command line will. */
async function job(id: string, params: Readonly<Record<string, unknown>>): Promise<FinishedJob> {
  const { declaration, op } = parseOpcode({ OP_ID: id, ...params });
  const opcode = { input: wireOpcode(declaration, op), summary: summaryOf(declaration, op) };
  const [submitted = 0] = await ledger.submit([{ requester: "tester", opcodes: [opcode] }]);
  return await cluster.finished(submitted);
}

/** An agent on the standard port of an address of its own, with a certificate of the given authority. */
async function startAgent(caDir: string, more: object = {}): Promise<void> {
  const ca = await createCa({ dir: caDir });
  const { name, identityDir, ip, configFile } = newcomer;
  await issueCertificate({ ca, name, usage: "node", dir: identityDir, sans: [ip] });
  const settings = { stateDir: "", rapiPort: 0, nodeCount: 2, hypervisors: ["fake"], storage: "real" } as const;
  const facts = { port: AGENT_PORT, userNetworking: false };
  await writeAgentConfiguration(layout, newcomer, { ...settings, logFormat: "json", watcher: "off" }, facts);
  const configuration: unknown = JSON.parse(await readFile(configFile, "utf8"));
  await writeFile(configFile, JSON.stringify({ ...(configuration as object), ...more }));
  agent = spawn(process.execPath, [AGENT, "--config", configFile], { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  agent.stdout?.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  await vi.waitFor(() => expect(output).toContain("agent ready"), { timeout: 30_000 });
}

async function stopAgent(): Promise<void> {
  if (agent === undefined || agent.exitCode !== null) return;
  const ended = once(agent, "exit");
  agent.kill();
  await ended;
}

async function program(file: string, text: string): Promise<string> {
  await writeFile(file, `#!/bin/sh\n${text}\n`);
  await chmod(file, 0o755);
  return file;
}

const ADD = () => ({ node_name: newcomer.name, primary_ip: newcomer.ip });

test("one that nobody answers for, or that has a certificate of another cluster, does not join", async () => {
  expect((await job("OP_NODE_ADD", ADD())).opresult).toEqual([
    ["OpPrereqError", [expect.stringMatching(/does not answer/), "wrong_state"]],
  ]);
  await startAgent(path.join(cluster.stateDir, "foreign-ca"));
  expect((await job("OP_NODE_ADD", ADD())).opresult).toEqual([
    ["OpPrereqError", [expect.stringMatching(/does not answer/), "wrong_state"]],
  ]);
  await stopAgent();
  expect((await cluster.rapi("GET", "/2/nodes")).body).toHaveLength(1);
});

test("one of the cluster's joins, and has instances", async () => {
  const commands = path.join(cluster.stateDir, "restricted");
  await mkdir(commands, { mode: 0o755 });
  await program(path.join(commands, "greet"), "echo hello");
  // What it kept was for the other cluster.
  newcomer = {
    ...newcomer,
    dir: path.join(cluster.stateDir, "again"),
    configFile: path.join(cluster.stateDir, "again.json"),
  };
  newcomer = { ...newcomer, identityDir: path.join(newcomer.dir, "identity") };
  await startAgent(layout.caDir, { restrictedCommands: { enabled: true, folder: commands } });
  expect(await job("OP_NODE_ADD", ADD())).toMatchObject({ status: "success" });
  await vi.waitFor(async () => {
    const { body } = await cluster.rapi("GET", `/2/nodes/${newcomer.name}`);
    expect(body).toMatchObject({ role: "C", pip: newcomer.ip, mtotal: expect.any(Number) });
  });
  await cluster.succeed("POST", "/2/instances", {
    ...{ __version__: 1, mode: "create", instance_name: INSTANCE, disk_template: "file", disks: [{ size: 16 }] },
    ...{ nics: [], os: "noop", pnode: newcomer.name, hypervisor: "fake" },
  });
  expect((await cluster.rapi("GET", `/2/instances/${INSTANCE}`)).body).toMatchObject({ pnode: newcomer.name });
  expect((await job("OP_NODE_REMOVE", { node_name: newcomer.name })).opresult).toEqual([
    ["OpPrereqError", [expect.stringContaining(INSTANCE), "wrong_input"]],
  ]);
  await cluster.succeed("DELETE", `/2/instances/${INSTANCE}`);
});

test.skipIf(!isRoot)(
  "programs of administrators are run: out of band by the master's agent, allowed ones there",
  async () => {
    const file = await program(
      path.join(cluster.stateDir, "oob"),
      'echo "$1 $2" >> "$0.log"\n[ $1 != power-status ] || echo "{\\"powered\\": true}"',
    );
    await cluster.succeed("POST", `/2/nodes/${newcomer.name}/modify`, { ndparams: { oob_program: file } });
    const status = await job("OP_OOB_COMMAND", { node_names: [newcomer.name, master.name], command: "power-status" });
    expect(status.opresult).toEqual([
      [
        [
          [0, master.name],
          [3, null],
        ],
        [
          [0, newcomer.name],
          [0, { powered: true }],
        ],
      ],
    ]);
    await cluster.succeed("PUT", `/2/nodes/${newcomer.name}/role`, "offline");
    await job("OP_OOB_COMMAND", { node_names: [newcomer.name], command: "power-off" });
    const back = await cluster.job("PUT", `/2/nodes/${newcomer.name}/role`, "regular");
    expect(back.opresult).toEqual([["OpPrereqError", [expect.stringContaining("powered off"), "wrong_state"]]]);
    await job("OP_OOB_COMMAND", { node_names: [newcomer.name], command: "power-on" });
    await cluster.succeed("PUT", `/2/nodes/${newcomer.name}/role`, "regular");
    const told = ["power-status", "power-off", "power-on"].map((command) => `${command} ${newcomer.name}\n`).join("");
    expect(await readFile(`${file}.log`, "utf8")).toBe(told);

    const greetings = await job("OP_RESTRICTED_COMMAND", { nodes: [newcomer.name, master.name], command: "greet" });
    expect(greetings.opresult).toEqual([
      [
        [true, "hello\n"],
        [false, expect.stringContaining("failed")],
      ],
    ]);
  },
);

test("it leaves, and is not known any more", async () => {
  expect(await job("OP_NODE_REMOVE", { node_name: newcomer.name })).toMatchObject({ status: "success" });
  expect((await cluster.rapi("GET", `/2/nodes/${newcomer.name}`)).status).toBe(404);
  expect((await job("OP_NODE_REMOVE", { node_name: master.name })).status).toBe("error");
});
