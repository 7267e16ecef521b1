/**
 * The private redis-server of a one-machine cluster and of the tests: a child of this process that listens on a
 * unix socket only and writes every change to disk before it answers.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { OpPrereqError, Unavailable } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";
import { connectRedis, type RedisAddress, redisReady } from "./connection.ts";

export interface EmbeddedRedisOptions {
  /** Holds its data, its configuration and nothing else; made when missing, for this user only. */
  readonly directory: string;
  readonly socketPath: string;
  /**
   * Name of an RDB file in `directory` that holds its data at first. It is removed when they are in the append-only
   * file, which must not exist before.
   */
  readonly seedFile?: string;
  /** Absolute path; Debian's by default. */
  readonly binary?: string;
  /** Gets the server's own log lines at level debug, and its end. */
  readonly logger?: Logger;
}

/** How the server ended. */
export interface RedisExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface EmbeddedRedis {
  readonly address: RedisAddress & { readonly kind: "socket" };
  readonly pid: number;
  /** Settles when the server has ended, by `stop` or by itself. */
  readonly exited: Promise<RedisExit>;
  /** End it in order and wait until it is gone. The next start in the same directory has all its data. */
  stop(): Promise<void>;
}

const DEBIAN_BINARY = "/usr/bin/redis-server";
/** From util-linux. With it the server ends when this process is killed, and never lives on as an orphan. */
const SETPRIV = "/usr/bin/setpriv";
/** The kernel's limit of a socket's path, without the closing NUL (unix(7)). */
const SOCKET_PATH_LIMIT = 107;
/** Long enough to load some gigabytes of append-only file. */
const READY_TIMEOUT_MS = 120_000;
/** After an orderly stop took so long it is killed, which loses nothing: each write is on disk already. */
const STOP_TIMEOUT_MS = 10_000;
/** How long a server that outlived its own launcher may take to go. */
const PREDECESSOR_TIMEOUT_MS = 5_000;
const KEPT_LOG_LINES = 20;
/** Between two looks at how far the first append-only file is. */
const AOF_PAUSE_MS = 20;

/**
 * Start it and wait until it answers.
 * @throws OpPrereqError when the paths or the binary are not usable; Unavailable when it ends at once (with the
 *   last lines of its log), or when another server already answers on the socket
 */
export async function startEmbeddedRedis(options: EmbeddedRedisOptions): Promise<EmbeddedRedis> {
  const { directory, socketPath, binary = DEBIAN_BINARY } = options;
  checkPaths(directory, socketPath, binary);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await predecessorGone(socketPath);
  const configFile = join(directory, "redis.conf");
  // Removed first: an existing file would keep its mode.
  await rm(configFile, { force: true });
  await writeFile(configFile, configuration(options), { mode: 0o600 });

  const child = spawnServer(binary, configFile);
  const log = collectLog(child, options.logger);
  const exited = exitOf(child);
  const address = { kind: "socket", path: socketPath } as const;
  try {
    await Promise.race([answers(address), endedEarly(exited, binary, log)]);
    if (options.seedFile !== undefined) {
      await Promise.race([keepOnDisk(address), endedEarly(exited, binary, log)]);
      await rm(join(directory, options.seedFile));
    }
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
  void exited.then((exit) => options.logger?.info({ ...exit, directory }, "redis-server has ended"));
  return {
    address,
    pid: child.pid ?? 0,
    exited,
    async stop() {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
      await exited;
      clearTimeout(timer);
    },
  };
}

function checkPaths(directory: string, socketPath: string, binary: string): void {
  for (const path of [directory, socketPath, binary])
    if (!path.startsWith("/") || /[\p{Cc}"\\]/u.test(path))
      throw new OpPrereqError(`Not a usable absolute path for redis-server: ${JSON.stringify(path)}`, "wrong_input");
  if (Buffer.byteLength(socketPath) > SOCKET_PATH_LIMIT)
    throw new OpPrereqError(
      `The path of Redis' socket is longer than ${SOCKET_PATH_LIMIT} bytes, choose a shorter state directory: ${socketPath}`,
      "wrong_input",
    );
  if (!existsSync(binary))
    throw new OpPrereqError(`${binary} is missing; install Debian's package redis-server`, "environment_error");
}

/** https://redis.io/docs/latest/operate/oss_and_stack/management/config/ */
function configuration({ directory, socketPath, seedFile }: EmbeddedRedisOptions): string {
  return [
    "# Written anew at each start.",
    "port 0",
    `unixsocket "${socketPath}"`,
    "unixsocketperm 700",
    `dir "${directory}"`,
    "daemonize no",
    // With it from the start the server would not look at the RDB file.
    ...(seedFile === undefined ? ["appendonly yes"] : ["appendonly no", `dbfilename "${seedFile}"`]),
    "appendfsync always",
    // The append-only file is the only record; snapshots beside it would only cost disk writes.
    'save ""',
    "maxmemory-policy noeviction",
    "",
  ].join("\n");
}

function spawnServer(binary: string, configFile: string): ChildProcess {
  const argv = [binary, configFile];
  const [program = binary, ...args] = existsSync(SETPRIV) ? [SETPRIV, "--pdeathsig", "TERM", "--", ...argv] : argv;
  return spawn(program, args, {
    cwd: "/",
    env: { LC_ALL: "C", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    stdio: ["ignore", "pipe", "pipe"],
    // Its own process group: Ctrl-C in a terminal goes to the launcher, which stops it last.
    detached: true,
  });
}

/** Read on for as long as it lives: a full pipe would stop it. */
function collectLog(child: ChildProcess, logger: Logger | undefined): readonly string[] {
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on("line", (line) => {
      logger?.debug({ redis: line });
      lines.push(line);
      if (lines.length > KEPT_LOG_LINES) lines.shift();
    });
  }
  return lines;
}

function exitOf(child: ChildProcess): Promise<RedisExit> {
  return new Promise((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal }));
    child.once("error", () => resolve({ code: null, signal: null }));
  });
}

async function endedEarly(exited: Promise<RedisExit>, binary: string, log: readonly string[]): Promise<never> {
  const { code, signal } = await exited;
  const how = signal === null ? `exit code ${code}` : signal;
  throw new Unavailable(`${binary} ended at once (${how}): ${log.join(" | ") || "it wrote nothing"}`);
}

async function answers(address: RedisAddress): Promise<void> {
  const redis = connectRedis(address, { name: "embedded-server" });
  try {
    await redisReady(redis, { timeoutMs: READY_TIMEOUT_MS });
  } finally {
    redis.disconnect();
  }
}

/** From now on all it has, and each change, is in the append-only file. */
async function keepOnDisk(address: RedisAddress): Promise<void> {
  const redis = connectRedis(address, { name: "embedded-server" });
  try {
    await redis.config("SET", "appendonly", "yes");
    for (;;) {
      const state = await redis.info("persistence");
      if (/^aof_last_bgrewrite_status:err/m.test(state))
        throw new Unavailable("redis-server could not write its append-only file; is the disk full?");
      if (/^aof_rewrite_in_progress:0/m.test(state) && /^aof_rewrite_scheduled:0/m.test(state)) return;
      await delay(AOF_PAUSE_MS);
    }
  } finally {
    redis.disconnect();
  }
}

/** Two servers on the same files would destroy them: wait for one whose launcher was killed, refuse a living one. */
async function predecessorGone(socketPath: string): Promise<void> {
  const deadline = performance.now() + PREDECESSOR_TIMEOUT_MS;
  while (await listensOn(socketPath)) {
    if (performance.now() > deadline)
      throw new Unavailable(`Another redis-server serves ${socketPath}; stop the cluster that uses it first`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function listensOn(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(socketPath);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
