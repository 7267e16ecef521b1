/** One machine of a cluster under test: its files, laid out as a package lays them out, and its daemons. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { SYSTEM_LAYOUT, SYSTEM_PORTS } from "@gannet/objects";
import type { Execution } from "../../services/node-agent/src/rpc/execution-log.ts";
import { CLUSTER_DEVICE, type Network } from "./network.ts";
import type { Programs } from "./programs.ts";

export const DAEMONS = ["redis", "sentinel", "agent", "master"] as const;
export type DaemonName = (typeof DAEMONS)[number];

/** What all machines of a cluster have in common. */
export interface ClusterFacts {
  readonly network: Network;
  readonly size: number;
  readonly programs: Programs;
  /** Holds a folder for each machine. */
  readonly root: string;
}

/** Of the cluster. */
export const CLUSTER_NAME = "cluster.ha.test";
/** Operators need not wait for it as long as on real machines. */
const WATCHER_INTERVAL_S = 2;
const REDIS = "/usr/bin/redis-server";
/** Ends a daemon when the process that started it ends, however that happens. */
const SETPRIV = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--"];
const STOP_MS = 20_000;
const REDIS_DISK_MIB = 48;
/** Where the hypervisor that only pretends keeps what runs, as others have it in memory. */
const FAKE_GUESTS = `${SYSTEM_LAYOUT.nodeStateDir}/fake-hypervisor/guests`;
const run = promisify(execFile);
const mount = (...args: readonly string[]) => run("/usr/bin/mount", [...args]);

export class Machine {
  readonly number: number;
  readonly name: string;
  readonly address: string;
  readonly sideAddress: string;
  readonly #facts: ClusterFacts;
  readonly #running = new Map<DaemonName, ChildProcess>();
  /** They are told to end. */
  readonly #ending = new WeakSet<ChildProcess>();
  #programs: Programs;

  constructor(number: number, facts: ClusterFacts) {
    this.number = number;
    this.name = machineName(number);
    this.address = facts.network.address(number);
    this.sideAddress = facts.network.sideAddress(number);
    this.#facts = facts;
    this.#programs = facts.programs;
  }

  /** What its daemons are started from, the next time. */
  install(programs: Programs): void {
    this.#programs = programs;
  }

  /** A path of a real machine, below this one's own folder. */
  path(place: string): string {
    return path.join(this.#facts.root, `machine${this.number}`, place);
  }

  /** An empty machine, with packages installed. */
  async prepare(): Promise<void> {
    await mkdir(this.path(SYSTEM_LAYOUT.redisDir), { recursive: true, mode: 0o700 });
    // A disk of its own, small enough to be filled.
    await mount("-t", "tmpfs", "-o", `size=${REDIS_DISK_MIB}m,mode=0700`, "redis", this.path(SYSTEM_LAYOUT.redisDir));
  }

  /** `gannet-admin init`, and the daemons that it makes files for. */
  async initialise(): Promise<void> {
    const { network } = this.#facts;
    await this.operate("admin", [
      ...["init", "--root", this.path("/"), "--name", CLUSTER_NAME, "--master-ip", network.clusterAddress],
      ...["--master-netdev", CLUSTER_DEVICE, "--node-name", this.name, "--node-address", this.address],
      ...["--enabled-hypervisors", "fake", "--nic-parameters", "mode=routed,link=100"],
    ]);
    await this.#adjust();
    await this.start(...DAEMONS);
  }

  /** `gannet-node join`, which waits for the agent; nothing supervises daemons here. @param url - of the remote API */
  async joinAsNode(url: string, token: string): Promise<void> {
    await this.operate(
      "node",
      ["join", url, "--token-file", "-", "--root", this.path("/"), "--name", this.name],
      { input: token, until: "start the agent now" },
      async () => {
        await this.#adjust();
        await this.start("agent");
      },
    );
  }

  /** `gannet-admin join-master`. @returns what it has told */
  async joinAsMaster(url: string, token: string, ...options: readonly string[]): Promise<string> {
    const args = ["join-master", url, "--token-file", "-", "--root", this.path("/"), ...options];
    const told = await this.operate("admin", args, { input: token });
    await this.#adjust();
    await this.start(...DAEMONS);
    return told;
  }

  /** `gnt` of root on this machine, by its own remote API. @returns what it has printed */
  gnt(...args: readonly string[]): Promise<string> {
    const env = {
      GNT_CLUSTER: `https://localhost:${SYSTEM_PORTS.rapi}`,
      GNT_CA: this.path(`${SYSTEM_LAYOUT.caDir}/ca.pem`),
      GNT_CREDENTIALS: this.path(SYSTEM_LAYOUT.adminCredentialsFile),
    };
    return this.operate("gnt", args, { env });
  }

  /**
   * Run an operator's program on this machine.
   * @param meanwhile - when it has said `until`
   * @returns what it has printed @throws when it does not succeed
   */
  async operate(
    program: "node" | "admin" | "gnt" | "master",
    args: readonly string[],
    { input = "", until, env = {} }: { readonly input?: string; readonly until?: string; readonly env?: object } = {},
    meanwhile: () => Promise<void> = async () => {},
  ): Promise<string> {
    const argv = this.#onMachine([process.execPath, this.#programs[program], ...args]);
    const child = spawn("/sbin/ip", argv, { env: { ...process.env, ...env } });
    const ended = once(child, "exit");
    let output = "";
    let under: Promise<void> | undefined;
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => {
        output += chunk.toString();
        if (until !== undefined && output.includes(until)) under ??= meanwhile();
      });
    child.stdin.end(input);
    const [code] = await ended;
    await under;
    if (code !== 0) throw new Error(`${program} ${args[0]} on ${this.name} ended with ${code}: ${output}`);
    return output;
  }

  async start(...daemons: readonly DaemonName[]): Promise<void> {
    for (const daemon of daemons) {
      if (this.isRunning(daemon)) continue;
      const child = spawn("/sbin/ip", this.#onMachine(this.#argvOf(daemon)), { stdio: ["ignore", "pipe", "pipe"] });
      // As its service does it: one that has ended in order, unasked, is started again.
      child.once("exit", (code) => {
        if (code === 0 && this.#running.get(daemon) === child && !this.#ending.has(child)) void this.start(daemon);
      });
      const log = createWriteStream(this.logFile(daemon), { flags: "a" });
      for (const stream of [child.stdout, child.stderr]) stream.pipe(log, { end: false });
      this.#running.set(daemon, child);
    }
  }

  isRunning(daemon: DaemonName): boolean {
    const child = this.#running.get(daemon);
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  logFile(daemon: DaemonName): string {
    return this.path(`${daemon}.log`);
  }

  /** Resolves when they are gone. */
  async end(signal: NodeJS.Signals, ...daemons: readonly DaemonName[]): Promise<void> {
    await Promise.all(
      daemons.map(async (daemon) => {
        const child = this.#running.get(daemon);
        if (child === undefined || !this.isRunning(daemon)) return;
        const gone = once(child, "exit");
        this.#ending.add(child);
        child.kill(signal);
        await Promise.race([gone, delay(STOP_MS, undefined, { ref: false })]);
        if (this.isRunning(daemon)) {
          child.kill("SIGKILL");
          await gone;
        }
      }),
    );
  }

  /**
   * As a power failure does it: everything ends at once, and nothing is said to anybody. Guests are gone, and what a
   * machine keeps in memory; the cluster's address is not on its interface when it starts again.
   */
  async cutPower(): Promise<void> {
    const { network } = this.#facts;
    await network.pullCable(this.number);
    await this.end("SIGKILL", ...DAEMONS);
    await network.takeAddress(this.number, network.clusterAddress);
    await rm(this.path(FAKE_GUESTS), { recursive: true, force: true });
  }

  /** Leave nothing free on the disk that Redis' data are on. @returns what frees it again */
  async fillRedisDisk(): Promise<() => Promise<void>> {
    const filler = this.path(path.join(SYSTEM_LAYOUT.redisDir, "filler"));
    const whole = Buffer.alloc(REDIS_DISK_MIB * 1024 * 1024);
    await writeFile(filler, whole).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOSPC") throw error;
    });
    return () => rm(filler);
  }

  /** All that its Redis has kept; its configuration and certificates stay. Redis does not run meanwhile. */
  async loseRedisData(): Promise<void> {
    const folder = this.path(SYSTEM_LAYOUT.redisDir);
    const stays = ["redis.conf", path.basename(SYSTEM_LAYOUT.redisTlsDir)];
    for (const entry of await readdir(folder))
      if (!stays.includes(entry)) await rm(path.join(folder, entry), { recursive: true });
  }

  /** What it has mounted. */
  async takeDown(): Promise<void> {
    await run("/usr/bin/umount", [this.path(SYSTEM_LAYOUT.redisDir)]).catch(() => undefined);
  }

  async switchOn(): Promise<void> {
    await this.#facts.network.plugCable(this.number);
    await this.start(...DAEMONS);
  }

  /** What this machine's agent has carried out, in order. */
  async executions(): Promise<readonly Execution[]> {
    const file = this.path(path.join(SYSTEM_LAYOUT.nodeStateDir, "executions.log"));
    const text = await readFile(file, "utf8").catch(() => "");
    return text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as Execution]));
  }

  #argvOf(daemon: DaemonName): readonly string[] {
    const programs = this.#programs;
    const program = (file: string, configuration: string) => [
      process.execPath,
      file,
      "--config",
      this.path(configuration),
    ];
    switch (daemon) {
      case "redis":
        return [REDIS, this.path(path.join(SYSTEM_LAYOUT.redisDir, "redis.conf"))];
      case "sentinel":
        return [REDIS, this.path(path.join(SYSTEM_LAYOUT.sentinelDir, "sentinel.conf")), "--sentinel"];
      case "master":
        return program(programs.master, SYSTEM_LAYOUT.masterConfigFile);
      case "agent":
        return program(programs.agent, SYSTEM_LAYOUT.nodeConfigFile);
    }
  }

  #onMachine(argv: readonly string[]): readonly string[] {
    return ["netns", "exec", this.#facts.network.namespace(this.number), ...SETPRIV, ...argv];
  }

  /** What an operator would set by hand, and tests need. */
  async #adjust(): Promise<void> {
    await this.#merge(SYSTEM_LAYOUT.nodeConfigFile, {
      osSearchPath: [path.resolve(import.meta.dirname, "../../deploy/os")],
      hostsFile: this.path("/etc/hosts"),
      recordExecutions: true,
    });
    await this.#merge(SYSTEM_LAYOUT.masterConfigFile, { watcher: { intervalS: WATCHER_INTERVAL_S } });
  }

  async #merge(place: string, settings: object): Promise<void> {
    const file = this.path(place);
    const present = await readFile(file, "utf8").catch(() => undefined);
    if (present !== undefined) await writeFile(file, JSON.stringify({ ...JSON.parse(present), ...settings }));
  }
}

export function machineName(number: number): string {
  return `node${number}.ha.test`;
}
