/** Starts the process beside the agent (`fence-process.ts`), so that it outlives the agent and its service. */
import { closeSync, openSync } from "node:fs";
import { type CommandRunner, isHeld } from "@gannet/exec";
import type { Logger } from "@gannet/telemetry";
import type { GuestScopes } from "../hypervisors/kvm/isolation/guest-scopes.ts";
import { WATCHMAN } from "./fence-process.ts";

/** From util-linux: a process of a session of its own, whose parent ends at once. */
const SETSID = "/usr/bin/setsid";
const START_TIMEOUT_MS = 10_000;
const ALIVE_TIMEOUT_MS = 1_000;
/** No guest's: their stems are host names, or begin with one of these. */
const SCOPE = "~~self-fence";

export interface WatchmanParts {
  readonly stateDir: string;
  readonly configFile: string;
  readonly runner: CommandRunner;
  readonly scopes: GuestScopes;
  readonly logger: Logger;
}

/** What answers whether the process runs, and starts it where it does not: the next answer tells what came of that. */
export function createWatchman({
  stateDir,
  configFile,
  runner,
  scopes,
  logger,
}: WatchmanParts): () => Promise<boolean> {
  let isStarting = false;
  const start = async (): Promise<void> => {
    const program = [
      process.execPath,
      ...process.execArgv,
      process.argv[1] ?? "",
      "--self-fence",
      "--config",
      configFile,
    ];
    try {
      await runner.run({ argv: scopes.wrap(SCOPE, [SETSID, "--fork", ...program]), timeoutMs: START_TIMEOUT_MS });
    } catch (error) {
      logger.error({ err: error }, "the process that watches over the self-fence cannot be started");
    } finally {
      isStarting = false;
    }
  };
  return async () => {
    const isThere = await isHeld(stateDir, WATCHMAN, ALIVE_TIMEOUT_MS);
    if (isThere || isStarting) return isThere;
    isStarting = true;
    void start();
    return false;
  };
}

/**
 * Let go of the outputs that were inherited: they are pipes of an agent that may end before this process. To be called
 * before anything is written.
 */
export function detachOutputs(logFile: string): void {
  for (const fd of [1, 2]) closeSync(fd);
  for (let fd = 0; fd < 2; fd += 1) openSync(logFile, "a", 0o600);
}
