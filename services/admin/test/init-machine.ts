/** A machine below a folder of its own, whose daemons a test looks after as systemd would. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { SYSTEM_LAYOUT } from "@gannet/objects";
import { type InitOptions, STANDARD_OPTIONS } from "../src/init/cluster-plan.ts";
import { MachinePlaces } from "../src/init/machine-places.ts";
import type { MachineServices } from "../src/init/machine-services.ts";

const REPOSITORY = path.resolve(import.meta.dirname, "../../..");
const REDIS_SERVER = "/usr/bin/redis-server";

export class InitMachine implements AsyncDisposable {
  readonly places: MachinePlaces;
  readonly services: MachineServices;
  readonly #daemons: ChildProcess[] = [];

  private constructor(root: string) {
    this.places = new MachinePlaces(root);
    this.services = { start: () => this.#start(), stop: () => this.#stop() };
  }

  static async create(): Promise<InitMachine> {
    return new InitMachine(await mkdtemp(path.join(tmpdir(), "gannet-init-machine-")));
  }

  at(name: keyof typeof SYSTEM_LAYOUT): string {
    return this.places.at(SYSTEM_LAYOUT[name]);
  }

  get runningDaemons(): number {
    return this.#daemons.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    await rm(this.places.root, { recursive: true, force: true });
  }

  async #start(): Promise<void> {
    const master = this.at("masterConfigFile");
    const node = this.at("nodeConfigFile");
    for (const file of [master, node]) await withoutMetrics(file);
    this.#run(REDIS_SERVER, this.at("redisConfigFile"));
    this.#run(REDIS_SERVER, this.at("sentinelConfigFile"), "--sentinel");
    this.#run(process.execPath, path.join(REPOSITORY, "services/node-agent/src/main.ts"), "--config", node);
    this.#run(process.execPath, path.join(REPOSITORY, "services/master/src/main.ts"), "--config", master);
  }

  #run(program: string, ...args: readonly string[]): void {
    this.#daemons.push(spawn(program, args, { stdio: "ignore", cwd: "/" }));
  }

  async #stop(): Promise<void> {
    for (const daemon of this.#daemons.reverse()) {
      if (daemon.exitCode !== null || daemon.signalCode !== null) continue;
      const ended = once(daemon, "exit");
      daemon.kill("SIGTERM");
      const timer = setTimeout(() => daemon.kill("SIGKILL"), 10_000);
      await ended;
      clearTimeout(timer);
    }
    this.#daemons.length = 0;
  }
}

/** Their standard ports may be another cluster's on this machine. */
async function withoutMetrics(file: string): Promise<void> {
  const configuration = JSON.parse(await readFile(file, "utf8")) as object;
  await writeFile(file, JSON.stringify({ ...configuration, metrics: false }));
}

/** Of a cluster on a loopback address of its own, by ports that are free. */
export async function loopbackOptions(address: string): Promise<InitOptions> {
  const [rapi, agent, redis, sentinel] = await Promise.all([1, 2, 3, 4].map(() => freePort()));
  return {
    ...STANDARD_OPTIONS,
    name: "cluster.example.com",
    nodeName: "node1.example.com",
    nodeAddress: address,
    masterIp: address,
    masterNetdev: "lo",
    enabledHypervisors: "fake",
    rapiPort: String(rapi),
    agentPort: String(agent),
    redisPort: String(redis),
    sentinelPort: String(sentinel),
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "0.0.0.0");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
