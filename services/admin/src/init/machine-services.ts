/** Starting and stopping the daemons of a master's machine. */
import { existsSync } from "node:fs";
import { OpPrereqError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";

export interface MachineServices {
  /** All of them, now and at each start of the machine. */
  start(): Promise<void>;
  /** Succeeds when they do not run. */
  stop(): Promise<void>;
}

const SYSTEMCTL = "/usr/bin/systemctl";
/** Exists where systemd is the machine's first process (sd_booted(3)). */
const SYSTEMD_MARK = "/run/systemd/system";
const UNITS = [
  "gannet-redis.service",
  "gannet-sentinel.service",
  "gannet-node.service",
  "gannet-master.service",
] as const;
/** Each unit has its own limit, which systemd keeps. */
const TIMEOUT_MS = 6 * 60_000;

/** systemd's, of this machine; undefined where another program looks after daemons. */
export function systemServices(runner: CommandRunner): MachineServices | undefined {
  if (!existsSync(SYSTEMD_MARK)) return undefined;
  const systemctl = async (...args: readonly string[]) => {
    const argv = [SYSTEMCTL, ...args, ...UNITS] as const;
    await runner.run({ argv, timeoutMs: TIMEOUT_MS }).catch((cause: Error) => {
      throw new OpPrereqError(`${cause.message}; see journalctl -u 'gannet-*'`, "environment_error", { cause });
    });
  };
  return { start: () => systemctl("enable", "--now"), stop: () => systemctl("stop") };
}
