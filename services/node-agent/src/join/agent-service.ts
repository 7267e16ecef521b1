/** The agent as systemd's service. */
import { existsSync } from "node:fs";
import type { CommandRunner } from "@gannet/exec";

const SYSTEMCTL = "/usr/bin/systemctl";
/** Exists while systemd is the machine's init (sd_booted(3)). */
const SYSTEMD_RUNS = "/run/systemd/system";
const UNIT = "gannet-node.service";
/** Guests of an earlier run are found again before it is ready. */
const START_MS = 320_000;

/** Have it run with what is on disk now, also after the next boot. @returns false where no systemd runs */
export async function startAgentService(runner: CommandRunner): Promise<boolean> {
  if (!existsSync(SYSTEMD_RUNS)) return false;
  await runner.run({ argv: [SYSTEMCTL, "enable", UNIT], timeoutMs: START_MS });
  await runner.run({ argv: [SYSTEMCTL, "restart", UNIT], timeoutMs: START_MS });
  return true;
}
