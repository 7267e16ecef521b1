/** Which process a guest is: a pid alone may be another one's tomorrow. */
import { readdir, readFile } from "node:fs/promises";
import { bootId } from "@gannet/exec";
import { z } from "zod";

/** The pid, when the process was started, and in which life of the machine: together unique. */
export const processIdentity = z.object({
  pid: z.int().positive(),
  /** Clock ticks from the kernel's start to the process's (proc_pid_stat(5), field 22). */
  startTicks: z.int().nonnegative(),
  /** /proc/sys/kernel/random/boot_id */
  bootId: z.string(),
});
export type ProcessIdentity = z.infer<typeof processIdentity>;

export interface ProcessTimes {
  readonly uptimeSeconds: number;
  readonly cpuSeconds: number;
}

/** USER_HZ, the unit of all times in /proc/<pid>/stat: 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface ProcessStat {
  /** One letter, `Z` for a zombie. */
  readonly state: string;
  readonly startTicks: number;
  /** Time in user and kernel mode, all threads together. */
  readonly cpuTicks: number;
}

/** The second field is the program's name in parentheses and may itself hold spaces and parentheses. */
export function parseProcessStat(text: string): ProcessStat | undefined {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, userTicks, systemTicks, startTicks] = [fields[0], fields[11], fields[12], fields[19]];
  if (state === undefined || startTicks === undefined) return undefined;
  return { state, startTicks: Number(startTicks), cpuTicks: Number(userTicks) + Number(systemTicks) };
}

/** Undefined when no such process runs; a zombie holds nothing any more and counts as gone. */
export async function identifyProcess(pid: number): Promise<ProcessIdentity | undefined> {
  const stat = await readStat(pid);
  if (stat === undefined) return undefined;
  return { pid, startTicks: stat.startTicks, bootId: bootId() };
}

export async function processLives(identity: ProcessIdentity): Promise<boolean> {
  return (await statOf(identity)) !== undefined;
}

/** Undefined when the process is gone. */
export async function processTimes(identity: ProcessIdentity): Promise<ProcessTimes | undefined> {
  const stat = await statOf(identity);
  if (stat === undefined) return undefined;
  const [machineUptime = "0"] = (await readFile("/proc/uptime", "utf8")).split(" ");
  return {
    uptimeSeconds: Math.max(0, Number(machineUptime) - stat.startTicks / TICKS_PER_SECOND),
    cpuSeconds: stat.cpuTicks / TICKS_PER_SECOND,
  };
}

/** The arguments a process was started with; empty when it is gone. */
export async function processArguments(pid: number): Promise<readonly string[]> {
  const text = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return text.split("\0");
}

/** Of all that run, those whose arguments are so. */
export async function findProcesses(
  matches: (args: readonly string[]) => boolean,
): Promise<readonly ProcessIdentity[]> {
  const pids = (await readdir("/proc")).filter((entry) => /^\d+$/.test(entry)).map(Number);
  const found = await Promise.all(
    pids.map(async (pid) => (matches(await processArguments(pid)) ? identifyProcess(pid) : undefined)),
  );
  return found.filter((each) => each !== undefined);
}

/** A process that is gone is no error. The answer is whether there was one to send the signal to. */
export async function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): Promise<boolean> {
  if (!(await processLives(identity))) return false;
  try {
    return process.kill(identity.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

async function statOf(identity: ProcessIdentity): Promise<ProcessStat | undefined> {
  const stat = await readStat(identity.pid);
  if (stat === undefined || stat.startTicks !== identity.startTicks) return undefined;
  return identity.bootId === bootId() ? stat : undefined;
}

async function readStat(pid: number): Promise<ProcessStat | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  const stat = text === undefined ? undefined : parseProcessStat(text);
  return stat === undefined || stat.state === "Z" || stat.state === "X" ? undefined : stat;
}
