/** Another master of a one-machine cluster, on the same Redis, as it would run on the next machine. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import { freePort, type OneMachineCluster, type RapiAnswer, type RequestOptions } from "../one-machine-cluster.ts";
import { NODES, until } from "./fault-cluster.ts";

const MAIN = path.resolve(import.meta.dirname, "../../services/master/src/main.ts");

export class SecondMaster implements AsyncDisposable {
  /** As the election names it. */
  readonly holder: string;
  readonly #cluster: OneMachineCluster;
  readonly #port: number;
  readonly #configFile: string;
  readonly #log: string[] = [];
  #child: ChildProcess | undefined;

  private constructor(cluster: OneMachineCluster, parts: { holder: string; port: number; configFile: string }) {
    this.#cluster = cluster;
    this.holder = parts.holder;
    this.#port = parts.port;
    this.#configFile = parts.configFile;
  }

  /** Written from the first master's configuration, and started; it answers when this resolves. */
  static async start(cluster: OneMachineCluster): Promise<SecondMaster> {
    const layout = layoutOf(cluster.stateDir, NODES.length);
    const folder = path.join(cluster.stateDir, "master2");
    const configFile = path.join(folder, "master.json");
    const first = JSON.parse(await readFile(layout.masterConfigFile, "utf8")) as { rapi: object };
    const holder = layout.nodes[1]?.name ?? "";
    const port = await freePort();
    await mkdir(folder, { recursive: true });
    const own = { nodeName: holder, stateDir: path.join(folder, "state"), rapi: { ...first.rapi, port } };
    await writeFile(configFile, JSON.stringify({ ...first, ...own }));
    const master = new SecondMaster(cluster, { holder, port, configFile });
    await master.startAgain();
    return master;
  }

  async startAgain(): Promise<void> {
    const child = spawn(process.execPath, [MAIN, "--config", this.#configFile], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => this.#log.push(String(chunk)));
    this.#child = child;
    await until("the second master answers", async () => (await this.rapi("GET", "/2/info")).status === 200);
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get log(): string {
    return this.#log.join("");
  }

  rapi(method: string, resource: string, options: RequestOptions = {}): Promise<RapiAnswer> {
    return this.#cluster.rapi(method, resource, { ...options, port: this.#port });
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** Resolves when the process is gone. */
  async end(name: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(name);
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end("SIGKILL");
  }
}
