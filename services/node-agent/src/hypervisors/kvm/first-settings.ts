/** What is set in a qemu that has not executed anything of its guest yet. */
import { readFile } from "node:fs/promises";
import { HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { pinProcessors } from "./cpu-pinning.ts";
import type { GuestMonitor } from "./guest-monitor.ts";
import type { LaunchPlan } from "./launch-plan.ts";

const BYTES_PER_MIB = 1024 * 1024;

/** @throws HypervisorError when a password cannot be read or something is refused, CommandError */
export async function applyFirstSettings(
  runner: CommandRunner,
  plan: LaunchPlan,
  monitor: Pick<GuestMonitor, "execute" | "process">,
): Promise<void> {
  await setPasswords(plan, monitor);
  await pinProcessors(runner, plan.pinning, monitor);
  const { startMemoryMib, maxMemoryMib } = plan.guest;
  // A guest that comes from another node brings its balloon with it.
  if (startMemoryMib < maxMemoryMib && !plan.incoming) {
    await monitor.execute({ name: "balloon", arguments: { value: startMemoryMib * BYTES_PER_MIB } });
  }
}

/** By the monitor, where no process list shows them. */
async function setPasswords({ params, vnc, spice }: LaunchPlan, monitor: Pick<GuestMonitor, "execute">): Promise<void> {
  if (vnc?.password) {
    const password = await readPassword("vnc_password_file", params.vnc_password_file);
    await monitor.execute({ name: "set_password", arguments: { protocol: "vnc", password } });
  }
  if (spice?.password) {
    const password = await readPassword("spice_password_file", params.spice_password_file);
    await monitor.execute({ name: "set_password", arguments: { protocol: "spice", password } });
  }
}

/** The first line of the file. */
async function readPassword(parameter: string, file: string): Promise<string> {
  const text = await readFile(file, "utf8").catch((error) => {
    throw new HypervisorError(`${parameter}: ${file} cannot be read`, { cause: error });
  });
  const [password = ""] = text.split(/\r?\n/, 1);
  if (password === "") throw new HypervisorError(`${parameter}: ${file} begins with no password`);
  return password;
}
