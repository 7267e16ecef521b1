/**
 * Saving and restoring of guests under Xen, by the driver itself on a node of the lab: no call of an agent asks for it.
 * Run there as one file; prints the name of each check that has passed.
 */
import { mkdir, readdir } from "node:fs/promises";
import path from "node:path";
import { SAVING_CHECKS, type SavingSubject } from "@gannet/driver-contract/conformance";
import { createCommandRunner } from "@gannet/exec";
import { createLogger } from "@gannet/telemetry";
import { XenHypervisor } from "../../../services/node-agent/src/hypervisors/xen/xen-hypervisor.ts";
import { bareGuest, XEN_HVM_GUESTS } from "./guest-kinds.ts";

const FOLDER = "/run/saving";

const logger = await createLogger({ name: "saving", level: "warn", format: "json" });
const recordFolder = path.join(FOLDER, "commands");
await mkdir(recordFolder, { recursive: true });
const runner = createCommandRunner({ logger, recordFolder });
const stateDir = path.join(FOLDER, "state");

async function files(): Promise<readonly string[]> {
  const entries = await readdir(stateDir, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => path.join(entry.parentPath, entry.name));
}

async function domains(): Promise<readonly string[]> {
  const { stdout } = await runner.run({ argv: ["/usr/sbin/xl", "list"], timeoutMs: 20_000 });
  return stdout.trimEnd().split("\n").slice(2);
}

const subject: SavingSubject = {
  open: async () => new XenHypervisor("xen-hvm", { stateDir, runner, logger, options: {} }),
  // One that need not agree to be saved: its devices are emulated.
  guest: (name) => bareGuest(name, XEN_HVM_GUESTS),
  leftovers: async () => [...(await files()), ...(await domains())],
};

for (const { name, run } of SAVING_CHECKS) {
  await run(subject);
  console.log(name);
}
