/** The real agent in a node's machine: its configuration, its start, its end. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { HypervisorName } from "@gannet/objects";
import { FILE_STORAGE_DIR, SHARED_FILE_STORAGE_DIR } from "../../deploy/one-machine/initial-configuration.ts";
import { AGENT_FILES, compileCacheOf } from "./agent-bundle.ts";
import type { NodeMachine } from "./node-machine.ts";
import { AGENT_PORT, REPOSITORY } from "./plan.ts";

/** As the machine sees the folder it shares with the lab. */
const SHARED = "/lab/node";
const DEBIANS_DEFINITIONS = "/usr/share/ganeti/os";
const ENVIRONMENT = { NODE_ENV: "production", ...compileCacheOf(`${SHARED}/${AGENT_FILES.compileCache}`) };
/** Where seven others share two processors it has taken two minutes; alone it takes some seconds. */
const START_TIMEOUT_MS = 300_000;
const LOOK_EVERY_MS = 100;
/** Looks at the log for one at the process, which takes from the agent's own time. */
const LOOKS = 20;

export class NodeAgent {
  readonly #machine: NodeMachine;
  readonly #hypervisors: readonly HypervisorName[];

  constructor(machine: NodeMachine, hypervisors: readonly HypervisorName[]) {
    this.#machine = machine;
    this.#hypervisors = hypervisors;
  }

  async configure(): Promise<void> {
    const { node } = this.#machine;
    const configuration = {
      nodeName: node.name,
      listen: { host: node.ip, port: AGENT_PORT },
      stateDir: "/var/lib/gannet",
      pkiDir: `${SHARED}/identity`,
      hypervisors: this.#hypervisors,
      fileStorageRoots: [FILE_STORAGE_DIR],
      sharedFileStorageRoots: [SHARED_FILE_STORAGE_DIR],
      osSearchPath: [
        path.join(import.meta.dirname, "guest/os"),
        path.join(REPOSITORY, "deploy/os"),
        DEBIANS_DEFINITIONS,
      ],
      kvm: { acceleration: "on", qemuPath: "/usr/bin/qemu-system-x86_64" },
      xen: { vifScript: path.join(REPOSITORY, "deploy/xen/vif-gannet") },
      log: { format: "json", level: "debug" },
      stopTimeoutMs: 5_000,
    };
    await mkdir(node.dir, { recursive: true, mode: 0o700 });
    await writeFile(path.join(node.dir, "agent.json"), `${JSON.stringify(configuration, null, 2)}\n`, { mode: 0o600 });
  }

  /** Start it, and wait until it takes calls. */
  async start(): Promise<void> {
    const before = (await this.log()).length;
    await this.#machine.run(
      `export ${Object.entries(ENVIRONMENT)
        .map(([name, value]) => `${name}=${value}`)
        .join(" ")}
       setsid node ${SHARED}/${AGENT_FILES.bundle} --config ${SHARED}/agent.json >>${SHARED}/agent.log 2>&1 &
       echo $! >/run/lab/agent.pid`,
    );
    const deadline = performance.now() + START_TIMEOUT_MS;
    for (let look = 1; ; look++) {
      const log = (await this.log()).slice(before);
      if (log.includes('"agent ready"')) return;
      if (performance.now() > deadline || (look % LOOKS === 0 && !(await this.runs())))
        throw new Error(`the agent of ${this.#machine.node.name} did not start: ${log.slice(-3000)}`);
      await delay(LOOK_EVERY_MS);
    }
  }

  async runs(): Promise<boolean> {
    return (await this.#machine.command("kill -0 $(cat /run/lab/agent.pid)")).exitCode === 0;
  }

  /** Kill it without a chance to do anything; its guests and its commands go on. */
  async kill(): Promise<void> {
    await this.#machine.run("kill -KILL $(cat /run/lab/agent.pid)");
  }

  /** Everything it has logged in this run of the lab. */
  async log(): Promise<string> {
    return await readFile(path.join(this.#machine.node.dir, "agent.log"), "utf8").catch(() => "");
  }
}
