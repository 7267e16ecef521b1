/** Simulated lxc: each of its commands by its own name, with the containers of a folder kept in a file in it. */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { runWithFaults, type ToolAnswer } from "../faults.ts";
import { readJsonFile, withNodeLock, writeJsonFile } from "../node-lock.ts";

type Containers = Record<string, "RUNNING" | "FROZEN">;

interface Call {
  readonly nodeFolder: string;
  readonly name: string;
  readonly options: ReadonlyMap<string, string>;
}

/** Options that take a value. */
const WITH_VALUE = ["-n", "-P", "-f", "-o", "-l", "-s", "-t", "--fancy-format"];
const WAIT_LOOK_MS = 20;

function change<Result>(
  nodeFolder: string,
  lxcPath: string,
  work: (containers: Containers) => Result,
): Promise<Result> {
  const file = path.join(lxcPath, "containers.json");
  return withNodeLock(nodeFolder, "lxc", () => {
    mkdirSync(lxcPath, { recursive: true });
    const containers: Containers = existsSync(file) ? readJsonFile(file) : {};
    const result = work(containers);
    writeJsonFile(file, containers);
    return result;
  });
}

/** End a container behind everybody's back. */
export async function crashContainer(nodeFolder: string, lxcPath: string, name: string): Promise<void> {
  await change(nodeFolder, lxcPath, (containers) => delete containers[name]);
}

/** A container whose configuration has `lxc.environment = BROKEN=1` does not start. */
const start = ({ nodeFolder, name, options }: Call): Promise<ToolAnswer> | ToolAnswer => {
  if (options.has("--version")) return { exitCode: 0, stdout: "5.0.2\n" };
  const config = readFileSync(options.get("-f") ?? "", "utf8");
  const root = /^lxc\.rootfs\.path = dir:(.*)$/m.exec(config)?.[1] ?? "";
  if (!existsSync(path.join(root, "bin")) || config.includes("BROKEN"))
    return { exitCode: 1, stderr: `lxc-start: ${name}: The container failed to start\n` };
  return change(nodeFolder, options.get("-P") ?? "", (containers): ToolAnswer => {
    if (name in containers) return { exitCode: 1, stderr: `lxc-start: ${name}: Container is already running\n` };
    containers[name] = "RUNNING";
    return { exitCode: 0 };
  });
};

const stop = ({ nodeFolder, name, options }: Call): Promise<ToolAnswer> =>
  change(nodeFolder, options.get("-P") ?? "", (containers) => {
    if (!(name in containers)) return { exitCode: 2, stderr: `lxc-stop: ${name}: ${name} is not running\n` };
    delete containers[name];
    return { exitCode: 0 };
  });

const freeze = ({ nodeFolder, name, options }: Call): Promise<ToolAnswer> =>
  change(nodeFolder, options.get("-P") ?? "", (containers) => {
    containers[name] = "FROZEN";
    return { exitCode: 0 };
  });

async function wait({ nodeFolder, name, options }: Call): Promise<ToolAnswer> {
  const deadline = performance.now() + Number(options.get("-t")) * 1000;
  for (;;) {
    const state = await change(nodeFolder, options.get("-P") ?? "", (containers) => containers[name] ?? "STOPPED");
    if (state === options.get("-s")) return { exitCode: 0 };
    if (performance.now() > deadline) return { exitCode: 1 };
    await delay(WAIT_LOOK_MS);
  }
}

const list = ({ nodeFolder, options }: Call): Promise<ToolAnswer> =>
  change(nodeFolder, options.get("-P") ?? "", (containers) => {
    const rows = Object.entries(containers).map(([name, state]) => `${name} ${state}`);
    return { exitCode: 0, stdout: rows.length === 0 ? "" : ["NAME STATE", ...rows, ""].join("\n") };
  });

const TOOLS: Readonly<Record<string, (call: Call) => Promise<ToolAnswer> | ToolAnswer>> = {
  "lxc-freeze": freeze,
  "lxc-ls": list,
  "lxc-start": start,
  "lxc-stop": stop,
  "lxc-wait": wait,
};

/** The body of each tool's program. */
export async function runLxcTool(tool: string): Promise<void> {
  const [nodeFolder = "", ...args] = process.argv.slice(2);
  const options = new Map<string, string>();
  for (let index = 0; index < args.length; index += 1) {
    const option = args[index] ?? "";
    if (WITH_VALUE.includes(option)) index += 1;
    options.set(option, args[index] ?? "");
  }
  await runWithFaults(nodeFolder, tool, () => {
    const run = TOOLS[tool];
    if (run === undefined) throw new Error(`there is no ${tool}`);
    return run({ nodeFolder, name: options.get("-n") ?? "", options });
  });
}
