/** Guests as containers of lxc, by its commands (spec/node-ops.json, `hv.lxc`). */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { GuestConsole, GuestSpec, HypervisorFacts, StartOptions } from "@gannet/driver-contract";
import { CommandError, HypervisorError } from "@gannet/errors";
import type { Command, CommandResult } from "@gannet/exec";
import { undefinedWhenMissing } from "../../errno.ts";
import type { Container, ContainerBackend } from "../container/container-backend.ts";
import type { HypervisorParts } from "../hypervisor-parts.ts";
import { containerCpuSeconds, countsSwap, readCgroups } from "./cgroups.ts";
import { containerEnd } from "./container-end.ts";
import { parseContainerList } from "./container-list.ts";
import { lxcConfig, wordsOf } from "./lxc-config.ts";
import { SYSTEM_LXC } from "./lxc-options.ts";

/** Older ones know other names of settings. */
const OLDEST_VERSION = { major: 2, minor: 1 } as const;
const TIMEOUT_MS = 30_000;
/** Beyond the time that a command was told to wait. */
const SLACK_MS = 5_000;
const MS_PER_SECOND = 1000;

export class LxcBackend implements ContainerBackend {
  readonly name = "lxc";
  readonly #runner: HypervisorParts["runner"];
  readonly #binFolder: string;
  /** Where lxc notes its containers: this agent's are its own. */
  readonly #lxcPath: string;

  constructor({ stateDir, runner, options }: HypervisorParts) {
    this.#runner = runner;
    this.#binFolder = (options.lxc ?? SYSTEM_LXC).binFolder;
    this.#lxcPath = path.join(stateDir, "lxc-hypervisor", "containers");
  }

  async describe(signal: AbortSignal): Promise<HypervisorFacts> {
    const { stdout } = await this.#run("tell its version", "lxc-start", ["--version"], { signal });
    const [version = "", major = "", minor = ""] = /^(\d+)\.(\d+)\S*/.exec(stdout.trim()) ?? [];
    if (version === "")
      throw new HypervisorError(`lxc's version cannot be read: ${JSON.stringify(stdout.slice(0, 200))}`);
    const isOld = Number(major) < OLDEST_VERSION.major || (major === "2" && Number(minor) < OLDEST_VERSION.minor);
    if (isOld) throw new HypervisorError(`lxc is ${version}; 2.1 is the oldest that can be used`);
    return { name: this.name, version, accelerated: true };
  }

  async validate(guest: GuestSpec): Promise<void> {
    const place = { root: "/", configFile: "/", logFile: "/" };
    const { version, controllers } = await readCgroups();
    lxcConfig({ container: { guest, place }, cgroups: version, swapCounted: false });
    const missing = wordsOf(guest, "extra_cgroups").filter((controller) => !controllers.includes(controller));
    if (missing.length > 0)
      throw new HypervisorError(`Instance ${guest.name}: extra_cgroups: this node has no ${missing.join(", ")}`);
  }

  async start(container: Container, { paused }: StartOptions, signal: AbortSignal): Promise<void> {
    const { guest, place } = container;
    const { version } = await readCgroups();
    const config = lxcConfig({ container, cgroups: version, swapCounted: await countsSwap() });
    // lxc-start makes no such folder, and refuses to start without it.
    await mkdir(this.#lxcPath, { recursive: true, mode: 0o700 });
    await rm(place.configFile, { force: true });
    await writeFile(place.configFile, config, { mode: 0o600, flag: "wx" });
    const log = ["-o", place.logFile, "-l", "INFO"];
    await this.#guest("start", "lxc-start", guest.name, [...log, "-f", place.configFile, "-d"], { signal });
    const seconds = Number(guest.hvparams.startup_timeout);
    await this.#guest("wait for", "lxc-wait", guest.name, ["-s", "RUNNING", "-t", String(seconds)], {
      timeoutMs: seconds * MS_PER_SECOND + SLACK_MS,
      signal,
    });
    // Without its configuration lxc-freeze refuses, and says nothing of it (lxc 5.0.2).
    if (paused) await this.#guest("pause", "lxc-freeze", guest.name, [`--rcfile=${place.configFile}`], { signal });
  }

  async ask({ guest }: Container, timeoutMs: number, signal: AbortSignal): Promise<void> {
    const seconds = Math.max(1, Math.ceil(timeoutMs / MS_PER_SECOND));
    await this.#guest("stop", "lxc-stop", guest.name, ["--nokill", "-t", String(seconds)], {
      timeoutMs: seconds * MS_PER_SECOND + SLACK_MS,
      signal,
    });
  }

  async kill(container: Container): Promise<void> {
    const { guest, place } = container;
    const isThere = async () => (await this.statuses([container])).has(guest.name);
    if (await isThere()) {
      await this.#guest("kill", "lxc-stop", guest.name, ["--kill"]);
      if (await isThere()) throw new HypervisorError(`lxc said that it killed ${guest.name}, but it still runs`);
    }
    await rm(`${place.logFile}.console`, { force: true });
  }

  async statuses(containers: readonly Container[]): Promise<ReadonlyMap<string, "running" | "paused">> {
    if (containers.length === 0) return new Map();
    const args = ["-P", this.#lxcPath, "--active", "--fancy", "--fancy-format", "NAME,STATE"];
    const { stdout } = await this.#run("list its containers", "lxc-ls", args);
    const listed = parseContainerList(stdout);
    const wanted = new Set(containers.map(({ guest }) => guest.name));
    return new Map([...listed].filter(([name]) => wanted.has(name)));
  }

  /** Of one whose log is gone nothing is known. */
  async end({ place }: Container): Promise<"shutdown" | "crashed"> {
    return containerEnd((await readFile(place.logFile, "utf8").catch(undefinedWhenMissing)) ?? "");
  }

  cpuSeconds(guestName: string): Promise<number> {
    return containerCpuSeconds(guestName);
  }

  console({ guest }: Container): GuestConsole {
    const command = [path.join(this.#binFolder, "lxc-console"), "-n", guest.name, "-P", this.#lxcPath];
    return { kind: "ssh", command };
  }

  /** A command on one container. */
  #guest(
    verb: string,
    tool: string,
    guestName: string,
    args: readonly string[],
    options?: Partial<Command>,
  ): Promise<CommandResult> {
    return this.#run(`${verb} ${guestName}`, tool, ["-n", guestName, "-P", this.#lxcPath, ...args], options);
  }

  async #run(
    purpose: string,
    tool: string,
    args: readonly string[],
    options: Partial<Command> = {},
  ): Promise<CommandResult> {
    try {
      const argv = [path.join(this.#binFolder, tool), ...args] as const;
      return await this.#runner.run({ timeoutMs: TIMEOUT_MS, ...options, argv });
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      throw new HypervisorError(`lxc could not ${purpose}: ${error.message}`, { cause: error });
    }
  }
}
