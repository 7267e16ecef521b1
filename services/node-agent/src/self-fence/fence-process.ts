/**
 * The process beside the agent that stops this node's guests when the agent does not: because it is dead, stands still or
 * cannot. It has no part in anything else, and ends when there is nothing left to see to.
 */
import { type FileHandle, open, readFile, writeFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { ConfigurationError } from "@gannet/errors";
import { bootId, holdFolder, isHeld } from "@gannet/exec";
import type { Logger } from "@gannet/telemetry";
import { AGENT_VERSION } from "../agent-version.ts";
import { bootClockMs, type FenceFile, type FenceState } from "./fence-file.ts";
import { type GuestDrivers, stopAllGuests } from "./stop-all-guests.ts";

/** The role in which it holds the state folder (`holdFolder` of @gannet/exec), by which the agent knows that it runs. */
export const WATCHMAN = "self-fence";

export interface FenceProcessParts {
  readonly stateDir: string;
  readonly file: FenceFile;
  /** Of this node; made only when they are needed, because an agent that lives has its own. */
  readonly drivers: () => GuestDrivers;
  readonly stopWithinMs: number;
  /** The agent's configuration file, by which its process is known. */
  readonly configFile: string;
  /** Restarts the machine when `b` is written to it; undefined where that must not be. */
  readonly trigger: string | undefined;
  /** Restarts the machine when nothing is written to it for a while (Documentation/watchdog/watchdog-api.rst). */
  readonly watchdogDevice: string | undefined;
  readonly logger: Logger;
}

const LOOK_MS = 500;
/** Parts of the time there is: when the agent has had its, and when only a restart of the machine is left. */
const TAKE_OVER_AFTER = 1 / 4;
const RESTART_AFTER = 3 / 4;
const ALIVE_TIMEOUT_MS = 1_000;

/** Until there is nothing to see to any more. */
export async function runFenceProcess(parts: FenceProcessParts): Promise<void> {
  const { stateDir, logger } = parts;
  let release: () => void;
  try {
    release = await holdFolder(stateDir, WATCHMAN);
  } catch (error) {
    if (error instanceof ConfigurationError) return;
    throw error;
  }
  const watchdog = parts.watchdogDevice === undefined ? undefined : await open(parts.watchdogDevice, "w");
  logger.info({ pid: process.pid }, "the self-fence is watched");
  await watch(parts, watchdog);
  // The magic character tells the device that this is no accident.
  await watchdog?.write("V");
  await watchdog?.close();
  release();
}

async function watch(parts: FenceProcessParts, watchdog: FileHandle | undefined): Promise<void> {
  for (;;) {
    const state = await parts.file.read();
    if (state === undefined || state.bootId !== bootId() || state.agentVersion !== AGENT_VERSION) return;
    const lateMs = bootClockMs() - state.deadlineMs;
    const isFenced = state.fencedMs === state.deadlineMs;
    const isHopeless = !isFenced && lateMs > parts.stopWithinMs * RESTART_AFTER;
    if (isHopeless) await restartMachine(parts);
    else await watchdog?.write("\0");
    if (!isFenced && lateMs > parts.stopWithinMs * TAKE_OVER_AFTER) await takeOver(parts, state);
    // Without an agent nothing is started any more.
    if (isFenced && !(await isHeld(parts.stateDir, "agent", ALIVE_TIMEOUT_MS))) return;
    await delay(LOOK_MS);
  }
}

/** The agent had its time: end it, and stop the guests in its place. */
async function takeOver(parts: FenceProcessParts, state: FenceState): Promise<void> {
  const { stateDir, logger } = parts;
  await killAgent(parts, state.agentPid);
  let release: () => void;
  try {
    release = await holdFolder(stateDir, "agent");
  } catch (error) {
    logger.error({ err: error }, "the agent cannot be ended; trying again");
    return;
  }
  try {
    const drivers = parts.drivers();
    for (const driver of drivers.hypervisors) await driver.recover();
    const signal = AbortSignal.timeout(parts.stopWithinMs);
    const isEmpty = await stopAllGuests(drivers, { logger, signal });
    for (const driver of drivers.hypervisors) await driver.close();
    const now = await parts.file.read();
    if (isEmpty && now?.deadlineMs === state.deadlineMs) await parts.file.write({ ...now, fencedMs: state.deadlineMs });
  } catch (error) {
    logger.error({ err: error }, "guests could not be stopped; trying again");
  } finally {
    release();
  }
}

/** An agent that is alive and has not done it stands still. Its number may be another process' by now. */
async function killAgent({ configFile, logger }: FenceProcessParts, pid: number): Promise<void> {
  const argv = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
  if (!argv.includes(configFile) || pid === process.pid) return;
  logger.warn({ pid }, "the agent did not stop its guests: it is killed");
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has just ended.
  }
}

async function restartMachine({ trigger, logger }: FenceProcessParts): Promise<void> {
  logger.fatal({ trigger }, "guests could not be stopped in time: this machine is restarted");
  if (trigger === undefined) return;
  await writeFile(trigger, "b").catch((error: unknown) => logger.error({ err: error }, "it could not be restarted"));
}
