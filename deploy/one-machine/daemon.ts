/** Daemons as children of the launcher, kept running as systemd keeps its services. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { open, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "@gannet/telemetry";

/** Between the end of a daemon and its next start: well below the 2 s that systemd's units use. */
const RESTART_DELAY_MS = 500;
/** A daemon that does not end when asked is killed after this. */
const STOP_TIMEOUT_MS = 20_000;

/** From util-linux. With it a daemon ends when the launcher is killed, and never lives on as an orphan. */
const SETPRIV = "/usr/bin/setpriv";

/** Types are stripped from the sources once and not at each start: half the time of a start, a fifth less memory. */
const COMPILE_CACHE = path.resolve(import.meta.dirname, "../../node_modules/.cache/compiled");

/**
 * An agent waits nearly all of its time, but V8 lets the young generation grow to 3 x 16 MiB at its start and keeps it,
 * glibc keeps a heap for each thread, and code is compiled for speed: 170 to 185 MiB resident with 100 guests after some
 * hundred calls with none of it bounded, 117 to 138 with the first, 114 to 126 with two, 106 with all three.
 */
export const AGENT_LAUNCH = {
  nodeFlags: ["--max-semi-space-size=1", "--optimize-for-size"],
  environment: { MALLOC_ARENA_MAX: "1" },
} as const;

/** One run of a daemon. */
export interface Run {
  readonly pid: number;
  readonly exited: Promise<unknown>;
  stop(): Promise<void>;
}

/** A daemon that is started again whenever it ends, with its process id in a file while it runs. */
export class Daemon {
  readonly name: string;
  readonly #pidFile: string;
  readonly #start: () => Promise<Run>;
  readonly #logger: Logger;
  #run: Run | undefined;
  #stopping = false;
  #supervision: Promise<void> | undefined;

  constructor(options: { name: string; pidFile: string; start: () => Promise<Run>; logger: Logger }) {
    this.name = options.name;
    this.#pidFile = options.pidFile;
    this.#start = options.start;
    this.#logger = options.logger;
  }

  /** Resolves when the first run has begun. */
  async start(): Promise<void> {
    await this.#begin();
    this.#supervision = this.#supervise();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#run?.stop();
    await this.#supervision;
    await rm(this.#pidFile, { force: true });
  }

  async #begin(): Promise<void> {
    this.#run = await this.#start();
    await writeFile(this.#pidFile, `${this.#run.pid}\n`, { mode: 0o644 });
  }

  async #supervise(): Promise<void> {
    for (;;) {
      await this.#run?.exited;
      if (this.#stopping) return;
      this.#logger.warn({ daemon: this.name }, "ended; starting it again");
      await delay(RESTART_DELAY_MS);
      if (this.#stopping) return;
      try {
        await this.#begin();
      } catch (error) {
        this.#logger.error({ daemon: this.name, err: error }, "could not be started; trying again");
        this.#run = undefined;
      }
    }
  }
}

export interface LaunchOptions {
  readonly logFile?: string;
  readonly nodeFlags?: readonly string[];
  /** Beside what every daemon gets. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Start one of this project's own daemons: its log goes into a file, or where the launcher's goes. */
export async function runService(
  entry: string,
  configFile: string,
  { logFile, nodeFlags = [], environment = {} }: LaunchOptions = {},
): Promise<Run> {
  const argv = [process.execPath, ...nodeFlags, entry, "--config", configFile];
  const [program = process.execPath, ...args] = existsSync(SETPRIV)
    ? [SETPRIV, "--pdeathsig", "TERM", "--", ...argv]
    : argv;
  const log = logFile === undefined ? undefined : await open(logFile, "a", 0o600);
  const child = spawn(program, args, {
    stdio: ["ignore", log?.fd ?? "inherit", log?.fd ?? "inherit"],
    env: {
      PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin",
      LC_ALL: "C.UTF-8",
      NODE_ENV: "production",
      NODE_COMPILE_CACHE: COMPILE_CACHE,
      ...environment,
    },
    // A process group of its own, so that Ctrl-C in a terminal reaches the launcher alone, which stops the
    // daemons in order.
    detached: true,
  });
  const exited = exitOf(child);
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", reject);
  }).finally(() => log?.close());
  return {
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

function exitOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
}
