/** A node for a test: a state folder of its own, and a look at what is left on it. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { GuestSpec } from "@gannet/driver-contract";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import type { HypervisorOptions, HypervisorParts } from "../../src/hypervisors/index.ts";

export interface TestNode {
  readonly parts: HypervisorParts;
  /** Files below the state folder, except those that belong to no guest. */
  files(): Promise<readonly string[]>;
  /** Command lines of processes that were given a path below the state folder. */
  processes(): Promise<readonly { readonly pid: number; readonly command: string }[]>;
  /** End what still runs, and remove the folder. */
  remove(): Promise<void>;
}

/** Written by drivers for themselves, not for a guest. */
const OWN_FILES = ["acceleration-test.bin", "faults.json"];

export async function makeTestNode(options: HypervisorOptions): Promise<TestNode> {
  const logger = silentLogger();
  const stateDir = await mkdtemp(path.join(tmpdir(), "gannet-hv-"));
  async function processes() {
    const found: { pid: number; command: string }[] = [];
    for (const entry of await readdir("/proc")) {
      if (!/^\d+$/.test(entry)) continue;
      const command = await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => "");
      if (command.includes(`${stateDir}/`)) found.push({ pid: Number(entry), command: command.replaceAll("\0", " ") });
    }
    return found;
  }
  return {
    parts: { stateDir, runner: createCommandRunner({ logger }), logger, options },
    processes,
    async files() {
      const entries = await readdir(stateDir, { recursive: true, withFileTypes: true });
      return entries
        .filter((entry) => !entry.isDirectory() && !OWN_FILES.includes(entry.name))
        .map((entry) => path.join(entry.parentPath, entry.name));
    },
    async remove() {
      for (const { pid } of await processes()) killWhenThere(pid);
      await rm(stateDir, { recursive: true, force: true });
    },
  };
}

function killWhenThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Less than the longest test may take, so that what did not come true is told. */
const EVENTUALLY_MS = 120_000;

/** Look until there is something to see. @throws Error with what `seen` tells, when there is nothing for two minutes */
export async function eventually<Result>(
  look: () => Promise<Result | undefined | false>,
  seen: () => unknown = () => look,
): Promise<Result> {
  const deadline = performance.now() + EVENTUALLY_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`never came true: ${String(seen())}`);
    await delay(20);
  }
}

/** A UUID that the text always gives. */
export function uuidOf(text: string): string {
  const hex = Buffer.from(text).toString("hex").padEnd(32, "0").slice(-32);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** No disk, no NIC. */
export function bareGuest(
  name: string,
  hypervisor: GuestSpec["hypervisor"],
  hvparams: GuestSpec["hvparams"],
): GuestSpec {
  return {
    name,
    uuid: uuidOf(name),
    hypervisor,
    maxMemoryMib: 32,
    startMemoryMib: 32,
    vcpus: 2,
    disks: [],
    nics: [],
    hvparams,
    networkPort: null,
  };
}

/** From qemu's point of view a display, so 5900 or above. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
