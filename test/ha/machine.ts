/** One machine of a cluster under test: its files, laid out as a package lays them out, and its daemons. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { SYSTEM_LAYOUT } from "@gannet/objects";
import { type CertificateAuthority, IDENTITY_FILES, issueCertificate } from "@gannet/pki";
import { redisConfiguration, SENTINEL_NAME, sentinelConfiguration } from "@gannet/redis";
import type { Execution } from "../../services/node-agent/src/rpc/execution-log.ts";
import type { Network } from "./network.ts";
import type { Programs } from "./programs.ts";

export const DAEMONS = ["redis", "sentinel", "agent", "master"] as const;
export type DaemonName = (typeof DAEMONS)[number];

/** What all machines of a cluster have in common. */
export interface ClusterFacts {
  readonly network: Network;
  readonly size: number;
  readonly programs: Programs;
  readonly ca: CertificateAuthority;
  readonly redisPassword: string;
  readonly users: string;
  readonly domainSecret: string;
  /** Holds a folder for each machine. */
  readonly root: string;
}

/** Short, so that a run is; longer than a busy machine's pauses. */
const LEASE_MS = 4_000;
const DOWN_AFTER_MS = 3_000;
const REDIS = "/usr/bin/redis-server";
/** Ends a daemon when the process that started it ends, however that happens. */
const SETPRIV = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--"];
const STOP_MS = 20_000;
const FILE_STORAGE = "/srv/ganeti/file-storage";
const REDIS_DISK_MIB = 48;
const run = promisify(execFile);
const mount = (...args: readonly string[]) => run("/usr/bin/mount", [...args]);

export class Machine {
  readonly number: number;
  readonly name: string;
  readonly address: string;
  readonly sideAddress: string;
  readonly #facts: ClusterFacts;
  readonly #running = new Map<DaemonName, ChildProcess>();
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

  /** Everything that its daemons are started with. */
  async setUp(): Promise<void> {
    const { ca, users, redisPassword, domainSecret } = this.#facts;
    for (const dir of ["configurationDir", "masterStateDir", "redisDir", "sentinelDir", "nodeStateDir"] as const)
      await mkdir(this.path(SYSTEM_LAYOUT[dir]), { recursive: true, mode: 0o700 });
    await mkdir(this.path(FILE_STORAGE), { recursive: true });
    await cp(path.dirname(ca.certFile), this.path(SYSTEM_LAYOUT.caDir), { recursive: true });
    // A disk of its own, small enough to be filled.
    await mount("-t", "tmpfs", "-o", `size=${REDIS_DISK_MIB}m,mode=0700`, "redis", this.path(SYSTEM_LAYOUT.redisDir));
    await mkdir(path.dirname(this.path(SYSTEM_LAYOUT.usersFile)), { recursive: true });
    const sans = [this.address, this.sideAddress, "127.0.0.1"];
    const issue = (usage: "master" | "node" | "rapi" | "redis", dir: string, name = this.name) =>
      issueCertificate({ ca, name, usage, dir: this.path(dir), sans });
    await issue("master", SYSTEM_LAYOUT.masterIdentityDir, "master");
    await issue("rapi", SYSTEM_LAYOUT.rapiIdentityDir);
    await issue("redis", SYSTEM_LAYOUT.redisTlsDir);
    await issue("node", SYSTEM_LAYOUT.nodeIdentityDir);
    await this.#write(SYSTEM_LAYOUT.usersFile, users);
    await this.#write(SYSTEM_LAYOUT.redisPasswordFile, `${redisPassword}\n`);
    await this.#write(path.join(SYSTEM_LAYOUT.masterIdentityDir, "cluster-domain-secret"), `${domainSecret}\n`);
    await this.#write(path.join(SYSTEM_LAYOUT.redisDir, "redis.conf"), this.#redisFile());
    await this.#write(path.join(SYSTEM_LAYOUT.sentinelDir, "sentinel.conf"), this.#sentinelFile());
    await this.#write(SYSTEM_LAYOUT.masterConfigFile, JSON.stringify(this.#masterFile()));
    await this.#write(SYSTEM_LAYOUT.nodeConfigFile, JSON.stringify(this.#agentFile()));
  }

  async start(...daemons: readonly DaemonName[]): Promise<void> {
    for (const daemon of daemons) {
      if (this.isRunning(daemon)) continue;
      const argv = ["netns", "exec", this.#facts.network.namespace(this.number), ...SETPRIV, ...this.#argvOf(daemon)];
      const child = spawn("/sbin/ip", argv, { stdio: ["ignore", "pipe", "pipe"] });
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
        child.kill(signal);
        await Promise.race([gone, delay(STOP_MS, undefined, { ref: false })]);
        if (this.isRunning(daemon)) {
          child.kill("SIGKILL");
          await gone;
        }
      }),
    );
  }

  /** As a power failure does it: everything ends at once, guests too, and nothing is said to anybody. */
  async cutPower(): Promise<void> {
    await this.#facts.network.pullCable(this.number);
    await this.end("SIGKILL", ...DAEMONS);
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

  #redisFile(): string {
    const { size, redisPassword, network } = this.#facts;
    return redisConfiguration({
      ...this.#serverFacts(SYSTEM_LAYOUT.redisDir, 1812),
      password: redisPassword,
      minReplicasToWrite: Math.floor(size / 2),
      ...(this.number === 1 ? {} : { primary: { address: network.address(1), port: 1812 } }),
    });
  }

  #sentinelFile(): string {
    const { size, redisPassword, network } = this.#facts;
    return sentinelConfiguration({
      ...this.#serverFacts(SYSTEM_LAYOUT.sentinelDir, 1813),
      password: redisPassword,
      name: SENTINEL_NAME,
      primary: { address: network.address(1), port: 1812 },
      quorum: Math.floor(size / 2) + 1,
      downAfterMs: DOWN_AFTER_MS,
    });
  }

  #serverFacts(directory: string, port: number) {
    const tls = this.#redisTls();
    return { directory: this.path(directory), listen: { address: this.address, port }, tls };
  }

  #redisTls() {
    const file = (name: keyof typeof IDENTITY_FILES) =>
      this.path(path.join(SYSTEM_LAYOUT.redisTlsDir, IDENTITY_FILES[name]));
    return { certificateFile: file("cert"), keyFile: file("key"), caFile: file("ca") };
  }

  #masterFile() {
    const { size, network } = this.#facts;
    const tls = this.#redisTls();
    const rapi = (file: string) => this.path(path.join(SYSTEM_LAYOUT.rapiIdentityDir, file));
    const sentinels = Array.from({ length: size }, (_, each) => `${network.address(each + 1)}:1813`);
    return {
      nodeName: this.name,
      redis: `sentinel://${sentinels.join(",")}/${SENTINEL_NAME}`,
      redisPasswordFile: this.path(SYSTEM_LAYOUT.redisPasswordFile),
      redisCaFile: tls.caFile,
      redisCertificateFile: tls.certificateFile,
      redisKeyFile: tls.keyFile,
      redisReplicasToWait: Math.floor(size / 2),
      stateDir: this.path(SYSTEM_LAYOUT.masterStateDir),
      identityDir: this.path(SYSTEM_LAYOUT.masterIdentityDir),
      caDir: this.path(SYSTEM_LAYOUT.caDir),
      redisTlsDir: this.path(SYSTEM_LAYOUT.redisTlsDir),
      rapi: {
        usersFile: this.path(SYSTEM_LAYOUT.usersFile),
        certificateFile: rapi(IDENTITY_FILES.cert),
        keyFile: rapi(IDENTITY_FILES.key),
      },
      leaseMs: LEASE_MS,
      // Tests end guests on purpose.
      watcher: { enabled: false },
    };
  }

  #agentFile() {
    return {
      nodeName: this.name,
      listen: { host: this.address },
      stateDir: this.path(SYSTEM_LAYOUT.nodeStateDir),
      pkiDir: this.path(SYSTEM_LAYOUT.nodeIdentityDir),
      hypervisors: ["fake"],
      storageRoot: this.path("/"),
      fileStorageRoots: [this.path(FILE_STORAGE)],
      osSearchPath: [path.resolve(import.meta.dirname, "../../deploy/os")],
      hostsFile: this.path("/etc/hosts"),
      powercycle: false,
      recordExecutions: true,
    };
  }

  async #write(place: string, content: string): Promise<void> {
    await mkdir(path.dirname(this.path(place)), { recursive: true, mode: 0o700 });
    await writeFile(this.path(place), content, { mode: 0o600 });
  }
}

export function machineName(number: number): string {
  return `node${number}.ha.test`;
}
