/** One agent by itself, as a package ships it and a leader uses it: what a call costs beyond its command, and what an idle agent costs. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createCommandRunner } from "@gannet/exec";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { createCa, issueCertificate, loadIdentity } from "@gannet/pki";
import { createNodeClient, encodeParameters, type Instance, type NodeClient, type Step } from "@gannet/rpc";
import { silentLogger } from "@gannet/telemetry";
import { AGENT_LAUNCH, type Run, runService } from "../../deploy/one-machine/daemon.ts";
import { bundleAgent } from "../../deploy/packages/agent-bundle.ts";
import { eventually } from "../e2e/conditions.ts";
import { median, print, processorMs, residentKib, timed } from "./figures.ts";

const NODE = "node1.gannet.test";
const GUESTS = 100;
const CALLS = 200;
/** The master's default. */
const HEARTBEAT_MS = 2_000;
const IDLE_MS = 30_000;

const runner = createCommandRunner({ logger: silentLogger() });

export async function benchAgent(): Promise<void> {
  const root = await mkdtemp(path.join(tmpdir(), "gannet-bench-agent-"));
  const agent = await BenchAgent.start(root);
  try {
    await benchCalls(agent);
    for (let index = 0; index < GUESTS; index += 1) await agent.startGuest(index);
    await benchIdle(agent);
  } finally {
    await agent.end();
    await rm(root, { recursive: true, force: true });
  }
}

async function benchCalls(agent: BenchAgent): Promise<void> {
  const command = () => runner.run({ argv: [agent.lvs], timeoutMs: 10_000 });
  await timed(CALLS / 4, () => agent.removeNothing());
  const calls: number[] = [];
  const commands: number[] = [];
  // By turns, so that what else the machine does weighs on both.
  for (let round = 0; round < CALLS; round += 1) {
    calls.push(...(await timed(1, () => agent.removeNothing())));
    commands.push(...(await timed(1, command)));
  }
  print({
    name: "an agent's call that runs one command, beyond the command, median",
    value: median(calls) - median(commands),
    unit: "ms",
    baseline: median(commands),
    goal: "value <= 3",
  });
  const idle = await timed(CALLS, () => agent.stopNobody());
  print({ name: "an agent's call that runs none, its step made durable, median", value: median(idle), unit: "ms" });
}

/** A leader watches meanwhile, as one always does. */
async function benchIdle(agent: BenchAgent): Promise<void> {
  const watching = new AbortController();
  const watched = drain(agent, watching.signal);
  await delay(HEARTBEAT_MS);
  const before = processorMs(agent.pid);
  await delay(IDLE_MS);
  const usedMs = processorMs(agent.pid) - before;
  print({
    name: `processor of an idle agent with ${GUESTS} guests`,
    value: (100 * usedMs) / IDLE_MS,
    unit: "% of a core",
    goal: "value <= 1",
  });
  print({
    name: `resident memory of an agent with ${GUESTS} guests`,
    value: residentKib(agent.pid) / 1024,
    unit: "MiB",
    goal: "value <= 120",
  });
  watching.abort();
  await watched;
}

async function drain(agent: BenchAgent, signal: AbortSignal): Promise<void> {
  try {
    for await (const _ of agent.client.node.watch({ epoch: 1, heartbeatMs: HEARTBEAT_MS }, { signal }));
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

class BenchAgent {
  readonly client: NodeClient;
  readonly lvs: string;
  readonly #run: Run;
  #steps = 0;

  private constructor(parts: { readonly client: NodeClient; readonly run: Run; readonly lvs: string }) {
    this.client = parts.client;
    this.lvs = parts.lvs;
    this.#run = parts.run;
  }

  static async start(root: string): Promise<BenchAgent> {
    const ca = await createCa({ dir: path.join(root, "ca") });
    const pkiDir = path.join(root, "pki");
    await issueCertificate({ ca, name: NODE, sans: ["127.0.0.1"], usage: "node", dir: pkiDir });
    const masterDir = path.join(root, "master");
    await issueCertificate({ ca, name: "master", sans: ["127.0.0.1"], usage: "master", dir: masterDir });
    const binFolder = path.join(root, "bin");
    await writeStorageTools(binFolder);
    const configuration = {
      nodeName: NODE,
      listen: { host: "127.0.0.1", port: 0 },
      stateDir: path.join(root, "state"),
      pkiDir,
      hypervisors: ["kvm", "fake"],
      osSearchPath: [],
      storageTools: { binFolder },
    };
    const file = path.join(root, "agent.json");
    await writeFile(file, JSON.stringify(configuration));
    const logFile = path.join(root, "agent.log");
    const program = path.join(root, "agent.mjs");
    await bundleAgent(program);
    const run = await runService(program, file, { logFile, ...AGENT_LAUNCH });
    const client = createNodeClient({
      nodeName: NODE,
      address: `127.0.0.1:${await readyPort(logFile)}`,
      identity: await loadIdentity(masterDir),
    });
    return new BenchAgent({ client, run, lvs: path.join(binFolder, "lvs") });
  }

  get pid(): number {
    return this.#run.pid;
  }

  /** One command, `lvs`, which tells that there is nothing to remove. */
  async removeNothing(): Promise<void> {
    await this.client.blockDevices.remove({
      step: this.#step(),
      device: {
        uuid: "aaaaaaaa-0000-4000-8000-000000000000",
        template: "plain",
        logicalId: ["xenvg", "aaaaaaaa-0000-4000-8000-000000000000.disk0"],
        sizeMib: 128,
        mode: "rw",
        instanceName: "bench.gannet.test",
        index: 0,
        params: {},
        children: [],
        name: undefined,
        link: undefined,
      },
    });
  }

  /** A step that is made durable, and does nothing. */
  async stopNobody(): Promise<void> {
    await this.client.instances.stop({
      step: this.#step(),
      name: "nobody.gannet.test",
      hypervisor: "fake",
      force: true,
      timeoutMs: 0,
    });
  }

  async startGuest(index: number): Promise<void> {
    const guest = instance(`bench${index}.gannet.test`, index + 1);
    await this.client.instances.start({ step: this.#step(), instance: guest, paused: false });
  }

  async end(): Promise<void> {
    this.client.close();
    await this.#run.stop();
  }

  #step(): Step {
    this.#steps += 1;
    return { epoch: 1, jobId: 1, opcodeIndex: 0, step: `bench/${this.#steps}` };
  }
}

async function readyPort(logFile: string): Promise<number> {
  let port: string | undefined;
  await eventually("the agent is ready", async () => {
    const log = await readFile(logFile, "utf8");
    port = /"port":(\d+),.*"msg":"agent ready"/.exec(log)?.[1];
    return port !== undefined;
  });
  return Number(port);
}

/** LVM without a volume: programs that print nothing, as little as a program can do. */
async function writeStorageTools(folder: string): Promise<void> {
  await mkdir(folder);
  for (const name of ["lvs", "vgs", "pvs"]) await writeFile(path.join(folder, name), "#!/bin/sh\n", { mode: 0o755 });
}

function instance(name: string, number: number): Instance {
  return {
    name,
    uuid: `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`,
    hypervisor: "fake",
    maxMemoryMib: 128,
    startMemoryMib: 128,
    vcpus: 1,
    disks: [],
    nics: [],
    hvparams: encodeParameters(HYPERVISOR_DEFAULTS.fake),
    networkPort: 0,
    tags: [],
    uidPool: [],
  };
}
