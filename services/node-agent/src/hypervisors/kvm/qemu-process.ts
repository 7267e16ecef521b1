/** The qemu process of a guest: started, found again, and ended. */
import { open, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { CommandError, HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import {
  identifyProcess,
  type ProcessIdentity,
  processArguments,
  processLives,
  signalProcess,
} from "../process-identity.ts";
import { qemuArgv } from "./argv.ts";
import type { GuestScopes } from "./isolation/guest-scopes.ts";
import type { LaunchPlan } from "./launch-plan.ts";

/** Until qemu has gone to the background. Touching all memory of a large guest first (mem_path) takes this long. */
const LAUNCH_TIMEOUT_MS = 120_000;
/** A process that SIGKILL does not end sits in the kernel, waiting for a device that does not answer. */
const AFTER_KILL_MS = 10_000;
/**
 * A SIGTERM can be lost on a qemu (7.2, now and then in stops right after a start); another one is no harm to one
 * that is just ending.
 */
const ASK_AGAIN_MS = 1_000;
/** An end is noticed no later than this share of the time that it took. */
const LOOK_SHARE = 1 / 5;
const FIRST_LOOK_MS = 10;
const LONGEST_LOOK_MS = 200;
const LOG_TAIL_BYTES = 2_000;

/** @throws HypervisorError with what qemu said, when it does not come up */
export async function launchQemu(
  runner: CommandRunner,
  plan: LaunchPlan,
  scopes: Pick<GuestScopes, "wrap">,
  signal: AbortSignal,
): Promise<ProcessIdentity> {
  try {
    await runner.run({ argv: scopes.wrap(plan.paths.stem, qemuArgv(plan)), timeoutMs: LAUNCH_TIMEOUT_MS, signal });
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    const said = await logTail(plan.paths.logFile);
    const reason = said === "" ? error.message : said;
    throw new HypervisorError(`Instance ${plan.guest.name}: qemu did not start: ${reason}`, { cause: error });
  }
  const process = await findQemu(plan.paths.pidFile);
  if (process !== undefined) return process;
  const said = await logTail(plan.paths.logFile);
  throw new HypervisorError(`Instance ${plan.guest.name}: qemu ended at once${said === "" ? "" : `: ${said}`}`);
}

/**
 * The qemu that was started with this pid file. The file alone proves nothing: qemu leaves it behind when it is
 * killed, and its pid may have been given to another process.
 */
export async function findQemu(pidFile: string): Promise<ProcessIdentity | undefined> {
  return findDaemon(pidFile, pidFile);
}

/** @param argument one of its command line that no other process has */
export async function findDaemon(pidFile: string, argument: string): Promise<ProcessIdentity | undefined> {
  const pid = Number(await readFile(pidFile, "utf8").catch(() => ""));
  if (!Number.isSafeInteger(pid) || pid <= 1) return undefined;
  const identity = await identifyProcess(pid);
  return (await processArguments(pid)).includes(argument) ? identity : undefined;
}

/** Of the user that a qemu runs as. @throws HypervisorError when it is gone */
export async function qemuUid({ pid }: ProcessIdentity): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const uid = /^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1];
  if (uid === undefined) throw new HypervisorError(`The qemu process ${pid} is gone`);
  return Number(uid);
}

/**
 * SIGTERM, on which qemu writes back its caches and ends, then SIGKILL.
 * @throws HypervisorError when the process outlives even that
 */
export async function endProcess(identity: ProcessIdentity, graceMs: number): Promise<void> {
  const deadline = performance.now() + graceMs;
  for (;;) {
    await signalProcess(identity, "SIGTERM");
    const leftMs = deadline - performance.now();
    if (await endsWithin(identity, Math.min(leftMs, ASK_AGAIN_MS))) return;
    if (leftMs <= ASK_AGAIN_MS) break;
  }
  await signalProcess(identity, "SIGKILL");
  if (await endsWithin(identity, AFTER_KILL_MS)) return;
  throw new HypervisorError(`Process ${identity.pid} does not end after SIGKILL; a device it uses does not answer`);
}

/** Whether the process has ended when `limitMs` have passed; an abort ends the waiting with the answer of then. */
export async function endsWithin(identity: ProcessIdentity, limitMs: number, signal?: AbortSignal): Promise<boolean> {
  const startedAt = performance.now();
  while (await processLives(identity)) {
    const waitedMs = performance.now() - startedAt;
    if (waitedMs >= limitMs || signal?.aborted) return false;
    const lookMs = Math.min(Math.max(FIRST_LOOK_MS, waitedMs * LOOK_SHARE), LONGEST_LOOK_MS);
    const pauseMs = Math.min(lookMs, limitMs - waitedMs);
    await delay(pauseMs, undefined, signal === undefined ? {} : { signal }).catch(() => {});
  }
  return true;
}

/** The last lines of a guest's log; empty when there is none. */
export async function logTail(logFile: string): Promise<string> {
  const file = await open(logFile, "r").catch(() => undefined);
  if (file === undefined) return "";
  try {
    const { size } = await file.stat();
    const length = Math.min(size, LOG_TAIL_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.toString("utf8", 0, bytesRead).trim();
  } finally {
    await file.close();
  }
}
