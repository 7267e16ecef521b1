/** The real agent as a process of its own, with the fake hypervisor and files as disks. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import type { AgentConfigurationFile } from "../../src/configuration.ts";
import { NODE, type TestCluster } from "../agent-fixture.ts";

const MAIN = path.resolve(import.meta.dirname, "../../src/main.ts");

export interface AgentFolders {
  readonly stateDir: string;
  readonly fileStorage: string;
  readonly osSearchPath: string;
}

export async function agentFolders(cluster: TestCluster, name: string): Promise<AgentFolders> {
  const stateDir = path.join(cluster.root, name);
  const folders = { stateDir, fileStorage: path.join(stateDir, "files"), osSearchPath: path.join(stateDir, "os") };
  for (const folder of Object.values(folders)) await mkdir(folder, { recursive: true, mode: 0o700 });
  return folders;
}

export function configurationOf(cluster: TestCluster, folders: AgentFolders): AgentConfigurationFile {
  return {
    nodeName: NODE,
    listen: { host: "127.0.0.1", port: 0 },
    stateDir: folders.stateDir,
    pkiDir: cluster.nodePkiDir,
    hypervisors: ["fake"],
    fileStorageRoots: [folders.fileStorage],
    osSearchPath: [folders.osSearchPath],
  };
}

export class AgentProcess {
  readonly #child: ChildProcess;
  /** The log lines so far. */
  readonly lines: Record<string, unknown>[] = [];
  stderr = "";
  readonly exited: Promise<readonly [code: number | null, signal: string | null]>;

  constructor(configurationFile: string | undefined) {
    const args = configurationFile === undefined ? [] : ["--config", configurationFile];
    this.#child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    this.exited = once(this.#child, "close") as Promise<[number | null, string | null]>;
    if (this.#child.stdout === null || this.#child.stderr === null) throw new Error("no pipes");
    createInterface(this.#child.stdout).on("line", (line) => this.lines.push(JSON.parse(line)));
    this.#child.stderr.on("data", (chunk) => {
      this.stderr += String(chunk);
    });
  }

  /** The port, once it takes calls. @throws Error with what it printed when it ends instead */
  async ready(): Promise<number> {
    let ended: string | undefined;
    void this.exited.then((how) => {
      ended = how.join(" ");
    });
    for (;;) {
      const line = this.lines.find(({ msg }) => msg === "agent ready");
      if (line !== undefined) return Number(line.port);
      if (ended !== undefined)
        throw new Error(`the agent ended (${ended}): ${this.stderr}${JSON.stringify(this.lines)}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** However it is by now. */
  async end(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill("SIGKILL");
    await this.exited;
  }
}

let written = 0;
export async function startAgentProcess(
  cluster: TestCluster,
  configuration: Readonly<Record<string, unknown>> | AgentConfigurationFile | string,
): Promise<AgentProcess> {
  written += 1;
  const file = path.join(cluster.root, `agent-${written}.json`);
  await writeFile(file, typeof configuration === "string" ? configuration : JSON.stringify(configuration));
  return new AgentProcess(file);
}

/** An OS definition of API version 20 whose create script is the given one. */
export async function writeOs(folders: AgentFolders, name: string, create: string): Promise<void> {
  const folder = path.join(folders.osSearchPath, name);
  await mkdir(folder);
  await writeFile(path.join(folder, "ganeti_api_version"), "20\n");
  await writeFile(path.join(folder, "parameters.list"), "");
  for (const script of ["create", "import", "export", "rename", "verify"])
    await writeFile(path.join(folder, script), script === "create" ? create : "#!/bin/sh\nexit 0\n", { mode: 0o755 });
}
