/** A whole cluster for a test: `make run`'s launcher as a child process, in a state directory of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { RapiClient } from "./rapi-client.ts";

export type { FinishedJob, RapiAnswer, RequestOptions } from "./rapi-client.ts";

const ROOT = path.resolve(import.meta.dirname, "..");
const READY_TIMEOUT_MS = 90_000;
const STOP_TIMEOUT_MS = 60_000;

export interface ClusterOptions {
  readonly nodes?: number;
  readonly hypervisors?: string;
  /** Taken up again when given; otherwise fresh, and removed at the end. */
  readonly stateDir?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export class OneMachineCluster extends RapiClient implements AsyncDisposable {
  readonly stateDir: string;
  readonly #child: ChildProcess;
  readonly #output: string[];
  readonly #keep: boolean;

  private constructor(fields: {
    stateDir: string;
    port: number;
    user: string;
    password: string;
    child: ChildProcess;
    output: string[];
    keep: boolean;
  }) {
    super(fields);
    this.stateDir = fields.stateDir;
    this.#child = fields.child;
    this.#output = fields.output;
    this.#keep = fields.keep;
  }

  /** Start it and wait until it says that it is ready. */
  static async start(options: ClusterOptions = {}): Promise<OneMachineCluster> {
    const stateDir = options.stateDir ?? (await mkdtemp(path.join(tmpdir(), "gannet-")));
    const port = await freePort();
    const child = spawn(process.execPath, [path.join(ROOT, "deploy/one-machine/run.ts")], {
      cwd: ROOT,
      env: {
        ...process.env,
        GANNET_STATE_DIR: stateDir,
        GANNET_RAPI_PORT: String(port),
        GANNET_NODES: String(options.nodes ?? 3),
        GANNET_HYPERVISORS: options.hypervisors ?? "fake",
        GANNET_LOG_FORMAT: "json",
        // Tests end guests on purpose, and count jobs.
        GANNET_WATCHER: "off",
        ...options.env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const output: string[] = [];
    const ready = new Promise<string>((resolve, reject) => {
      const take = (chunk: Buffer) => {
        output.push(chunk.toString());
        const line = /^gannet ready: \S+ credentials: (\S+)$/m.exec(output.slice(-3).join(""));
        if (line?.[1] !== undefined) resolve(line[1]);
      };
      child.stdout?.on("data", take);
      child.stderr?.on("data", take);
      child.once("exit", (code) =>
        reject(new Error(`the launcher ended with ${code}\n${output.join("").slice(-4000)}`)),
      );
      setTimeout(
        () => reject(new Error(`not ready after ${READY_TIMEOUT_MS} ms\n${output.join("").slice(-4000)}`)),
        READY_TIMEOUT_MS,
      ).unref();
    });
    const credentials = await ready.catch((error: unknown) => {
      child.kill("SIGKILL");
      throw error;
    });
    const [user = "", password = ""] = (await readFile(credentials, "utf8")).trim().split(" ");
    return new OneMachineCluster({
      stateDir,
      port,
      user,
      password,
      child,
      output,
      keep: options.stateDir !== undefined,
    });
  }

  /** Everything the daemons have logged so far. */
  get log(): string {
    return this.#output.join("");
  }

  /** Process id of `redis`, `master`, `node1`, … */
  async pid(daemon: string): Promise<number> {
    return Number(await readFile(path.join(this.stateDir, "run", `${daemon}.pid`), "utf8"));
  }

  /**
   * Ask the launcher to stop, and wait until it has ended. The state directory stays.
   * @returns its exit code; null when a signal ended it
   */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return this.#child.exitCode;
    const ended = new Promise<void>((resolve) => this.#child.once("exit", () => resolve()));
    this.#child.kill(signal);
    const late = setTimeout(() => this.#child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(late);
    return this.#child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    if (!this.#keep) await rm(this.stateDir, { recursive: true, force: true });
  }

  protected override isGone(): boolean {
    return this.#child.exitCode !== null;
  }
}

/** A port that nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
