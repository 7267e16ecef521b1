/** Simulated lxc: each of its commands by its own name, with the containers of a folder kept in a file in it. */
import { existsSync, readFileSync } from "node:fs";
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
    const containers: Containers = existsSync(file) ? readJsonFile(file) : {};
    const result = work(containers);
    if (existsSync(lxcPath)) writeJsonFile(file, containers);
    return result;
  });
}

/** End a container behind everybody's back. */
export async function crashContainer(nodeFolder: string, lxcPath: string, name: string): Promise<void> {
  await change(nodeFolder, lxcPath, (containers) => delete containers[name]);
}

/** @param places - where in lxc's source, and what it says there */
function complaint(tool: string, name: string, ...places: readonly string[]): string {
  return places.map((place) => `${tool}: ${name}: ../src/lxc/${place}\n`).join("");
}

/** A container whose configuration has `lxc.environment = BROKEN=1` does not start; one that runs is no failure. */
const start = ({ nodeFolder, name, options }: Call): Promise<ToolAnswer> | ToolAnswer => {
  if (options.has("--version")) return { exitCode: 0, stdout: "5.0.2\n" };
  const file = options.get("-f") ?? "";
  const lxcPath = options.get("-P") ?? "";
  const says = (...places: readonly string[]) => complaint("lxc-start", name, ...places);
  if (!existsSync(lxcPath))
    return { exitCode: 1, stderr: says(`tools/lxc_start.c: main: 190 You lack access to ${lxcPath}`) };
  if (!existsSync(file))
    return {
      exitCode: 1,
      stderr: says(
        `parse.c: lxc_file_for_each_line_mmap: 78 No such file or directory - Failed to open file "${file}"`,
        "tools/lxc_start.c: main: 213 Failed to load rcfile",
      ),
    };
  const config = readFileSync(file, "utf8");
  const root = /^lxc\.rootfs\.path = dir:(.*)$/m.exec(config)?.[1] ?? "";
  if (!existsSync(path.join(root, "bin")) || config.includes("BROKEN"))
    return {
      exitCode: 1,
      stderr: says(
        'lxccontainer.c: wait_on_daemonized_start: 878 Received container state "ABORTING" instead of "RUNNING"',
        "tools/lxc_start.c: main: 306 The container failed to start",
        "tools/lxc_start.c: main: 309 To get more details, run the container in foreground mode",
        "tools/lxc_start.c: main: 311 Additional information can be obtained by setting the --logfile and --logpriority options",
      ),
    };
  return change(nodeFolder, lxcPath, (containers): ToolAnswer => {
    if (name in containers)
      return { exitCode: 0, stderr: says("tools/lxc_start.c: main: 256 Container is already running") };
    containers[name] = "RUNNING";
    return { exitCode: 0 };
  });
};

const stop = ({ nodeFolder, name, options }: Call): Promise<ToolAnswer> =>
  change(nodeFolder, options.get("-P") ?? "", (containers) => {
    if (!(name in containers))
      return { exitCode: 2, stderr: complaint("lxc-stop", name, `tools/lxc_stop.c: main: 168 ${name} is not running`) };
    delete containers[name];
    return { exitCode: 0 };
  });

/** Refused without the container's configuration, whatever its state. */
const freeze = ({ nodeFolder, name, options }: Call): Promise<ToolAnswer> => {
  const lxcPath = options.get("-P") ?? "";
  const unheard = "commands.c: lxc_cmd_serve_state_clients: 1579 Connection refused - Failed to serve state clients";
  const failed = `tools/lxc_freeze.c: main: 87 Failed to freeze ${lxcPath}:${name}`;
  return change(nodeFolder, lxcPath, (containers) => {
    if (!options.has("--rcfile")) return { exitCode: 1, stderr: complaint("lxc-freeze", name, failed) };
    if (!(name in containers)) {
      const places = [unheard, `freezer.c: do_freeze_thaw: 46 Failed to freeze ${name}`, unheard, failed];
      return { exitCode: 1, stderr: complaint("lxc-freeze", name, ...places) };
    }
    containers[name] = "FROZEN";
    return { exitCode: 0 };
  });
};

async function wait({ nodeFolder, name, options }: Call): Promise<ToolAnswer> {
  const deadline = performance.now() + Number(options.get("-t")) * 1000;
  for (;;) {
    const state = await change(nodeFolder, options.get("-P") ?? "", (containers) => containers[name] ?? "STOPPED");
    if (state === options.get("-s")) return { exitCode: 0 };
    if (performance.now() > deadline) {
      const late = "Resource temporarily unavailable - Failed to receive";
      return {
        exitCode: 1,
        stderr: complaint(
          "lxc-wait",
          name,
          `commands_utils.c: lxc_cmd_sock_rcv_state: 49 ${late} message`,
          `state.c: lxc_wait: 103 ${late} state from monitor`,
        ),
      };
    }
    await delay(WAIT_LOOK_MS);
  }
}

const list = ({ nodeFolder, options }: Call): Promise<ToolAnswer> =>
  change(nodeFolder, options.get("-P") ?? "", (containers) => {
    const rows = Object.entries(containers);
    if (rows.length === 0) return { exitCode: 0 };
    const table = [["NAME", "STATE"], ...rows];
    const widths = [0, 1].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
    const lines = table.map((row) => row.map((cell, column) => `${cell.padEnd(widths[column] ?? 0)} `).join(""));
    return { exitCode: 0, stdout: lines.map((line) => `${line}\n`).join("") };
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
    const [option = "", value] = (args[index] ?? "").split("=", 2);
    if (WITH_VALUE.includes(option)) index += 1;
    options.set(option, value ?? args[index] ?? "");
  }
  await runWithFaults(nodeFolder, tool, () => {
    const run = TOOLS[tool];
    if (run === undefined) throw new Error(`there is no ${tool}`);
    return run({ nodeFolder, name: options.get("-n") ?? "", options });
  });
}
