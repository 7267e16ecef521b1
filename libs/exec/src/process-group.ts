/** Process groups: whether one still has members, and ending all of them. */
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

/** Doubled at each look: a look that finds members reads all of /proc. */
const FIRST_LOOK_MS = 5;
const LONGEST_LOOK_MS = 200;
/** A killed process that sits in an uninterruptible system call (dead NFS, dead disk) is not waited for longer. */
const AFTER_KILL_MS = 10_000;

/**
 * SIGTERM to every member, SIGKILL to those that are left after `graceMs`. Resolves when the group is empty, or
 * when its members could not be killed in time.
 */
export async function endProcessGroup(groupId: number, graceMs: number): Promise<void> {
  signalGroup(groupId, "SIGTERM");
  // A stopped process does not see SIGTERM until it is continued.
  signalGroup(groupId, "SIGCONT");
  if (await emptyWithin(groupId, graceMs)) return;
  signalGroup(groupId, "SIGKILL");
  await emptyWithin(groupId, AFTER_KILL_MS);
}

async function emptyWithin(groupId: number, limitMs: number): Promise<boolean> {
  const endsAt = performance.now() + limitMs;
  for (let lookMs = FIRST_LOOK_MS; await hasMembers(groupId); lookMs = Math.min(lookMs * 2, LONGEST_LOOK_MS)) {
    const leftMs = endsAt - performance.now();
    if (leftMs <= 0) return false;
    await delay(Math.min(lookMs, leftMs));
  }
  return true;
}

/** Whether a member still runs. Zombies, which an init that does not reap leaves behind, do not count. */
async function hasMembers(groupId: number): Promise<boolean> {
  if (!signalGroup(groupId, 0)) return false;
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = await readProcessStat(Number(entry));
    if (stat !== undefined && stat.groupId === groupId && stat.state !== "Z" && stat.state !== "X") return true;
  }
  return false;
}

/** False when the group has no member left. */
function signalGroup(groupId: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-groupId, signal);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

export interface ProcessStat {
  /** One letter, `Z` for a zombie (proc_pid_stat(5)). */
  readonly state: string;
  readonly groupId: number;
  /** Clock ticks between the kernel's start and the process's: with the pid, the identity of a process. */
  readonly startTicks: string;
}

/** Undefined when there is no such process. */
export async function readProcessStat(pid: number): Promise<ProcessStat | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  return text === undefined ? undefined : parseProcessStat(text);
}

/** The second field is the program's name in parentheses and may itself hold spaces and parentheses. */
export function parseProcessStat(text: string): ProcessStat | undefined {
  const fields = text
    .slice(text.lastIndexOf(")") + 1)
    .trim()
    .split(/\s+/);
  const [state, , groupId] = fields;
  const startTicks = fields[19];
  if (state === undefined || groupId === undefined || startTicks === undefined) return undefined;
  return { state, groupId: Number(groupId), startTicks };
}
