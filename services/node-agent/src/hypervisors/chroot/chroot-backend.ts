/**
 * A guest as a folder that its own script starts processes in (spec/node-ops.json, `hv.chroot`). It runs while its
 * system is mounted; what runs in it is what uses that file system.
 */
import { access, readFile, rm, writeFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { GuestConsole, GuestSpec, HypervisorFacts, StartOptions } from "@gannet/driver-contract";
import { CommandError, HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { Container, ContainerBackend } from "../container/container-backend.ts";
import { isMounted, mountPoints, systemDisk } from "../container/root-mount.ts";

const CHROOT = "/usr/sbin/chroot";
const FUSER = "/bin/fuser";
const START_TIMEOUT_MS = 5 * 60 * 1000;
const FUSER_TIMEOUT_MS = 30_000;
/** Between SIGTERM and SIGKILL. */
const TERM_GRACE_MS = 2_000;
const KILL_GRACE_MS = 10_000;
const LOOK_MS = 100;

export class ChrootBackend implements ContainerBackend {
  readonly name = "chroot";
  readonly #runner: CommandRunner;

  constructor(runner: CommandRunner) {
    this.#runner = runner;
  }

  async describe(): Promise<HypervisorFacts> {
    for (const program of [CHROOT, FUSER])
      await access(program).catch(() => {
        throw new HypervisorError(`${program} is not there, without which chroot cannot be used`);
      });
    return { name: this.name, version: "1", accelerated: true };
  }

  async validate(_guest: GuestSpec): Promise<void> {
    // Its table says it all; the script is in the guest's own system.
  }

  /** A paused guest has its system mounted, and nothing runs in it. */
  async start(container: Container, { paused }: StartOptions, signal: AbortSignal): Promise<void> {
    systemDisk(container.guest);
    if (paused) await writeFile(pausedMark(container), "", { mode: 0o600 });
    else await this.#script(container, "start", START_TIMEOUT_MS, signal);
  }

  async ask(container: Container, timeoutMs: number, signal: AbortSignal): Promise<void> {
    await this.#script(container, "stop", timeoutMs, signal);
  }

  async kill(container: Container): Promise<void> {
    await rm(pausedMark(container), { force: true });
    const { root } = container.place;
    for (const [name, graceMs] of [
      ["TERM", TERM_GRACE_MS],
      ["KILL", KILL_GRACE_MS],
    ] as const) {
      if (!(await this.#isUsed(root))) return;
      await this.#fuser(["-k", `-${name}`, "-s"], root);
      await this.#untilUnused(root, graceMs);
    }
    if (await this.#isUsed(root))
      throw new HypervisorError(`Processes of ${container.guest.name} cannot be ended; see fuser -v -m ${root}`);
  }

  async statuses(containers: readonly Container[]): Promise<ReadonlyMap<string, "running" | "paused">> {
    const mounted = mountPoints(await readFile("/proc/self/mountinfo", "utf8"));
    const live = containers.filter(({ place }) => mounted.has(place.root));
    return new Map(
      await Promise.all(
        live.map(async (container): Promise<[string, "running" | "paused"]> => {
          const paused = await isThere(pausedMark(container));
          return [container.guest.name, paused ? "paused" : "running"];
        }),
      ),
    );
  }

  /** It runs while its system is mounted, and does not take that away itself. */
  async end(): Promise<"crashed"> {
    return "crashed";
  }

  /** Nobody keeps the account of its processes. */
  async cpuSeconds(): Promise<number> {
    return 0;
  }

  console({ place }: Container): GuestConsole {
    return { kind: "ssh", command: [CHROOT, place.root, "/bin/sh"] };
  }

  async #script(
    { guest, place }: Container,
    verb: "start" | "stop",
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    const argv = [CHROOT, place.root, String(guest.hvparams.init_script), verb] as const;
    try {
      await this.#runner.run({ argv, timeoutMs: Math.max(1, timeoutMs), signal });
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      throw new HypervisorError(`The script of ${guest.name} could not ${verb} it: ${error.message}`, { cause: error });
    }
  }

  async #untilUnused(root: string, withinMs: number): Promise<void> {
    const deadline = performance.now() + withinMs;
    while (performance.now() < deadline && (await this.#isUsed(root))) await delay(LOOK_MS);
  }

  async #isUsed(root: string): Promise<boolean> {
    return (await isMounted(root)) && (await this.#fuser(["-s"], root)) === 0;
  }

  /**
   * `-M` is what keeps it from taking a folder that is not mounted for the file system it lies on, and from ending
   * everything on the node. It ends with 1 when nothing was found.
   */
  async #fuser(options: readonly string[], root: string): Promise<number> {
    try {
      const argv = [FUSER, "-M", ...options, "-m", root] as const;
      return (await this.#runner.run({ argv, timeoutMs: FUSER_TIMEOUT_MS, okExitCodes: [0, 1] })).exitCode;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      throw new HypervisorError(`What uses ${root} cannot be told: ${error.message}`, { cause: error });
    }
  }
}

/** There while nothing was started in the guest's system. */
function pausedMark({ place }: Container): string {
  return place.configFile;
}

function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
