/**
 * Commands of a daemon that was killed go on without it. Each running command has a file in a record folder, so
 * that the next run of the daemon can end what is left before it works on the same things again. Processes that
 * made themselves a session of their own (a guest's qemu) are not members of the command's group and go on.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import type { Logger } from "@gannet/telemetry";
import { endProcessGroup, parseProcessStat, readProcessStat } from "./process-group.ts";

/** How long a leftover command may take to end by itself after SIGTERM. */
const GRACE_MS = 2_000;

/**
 * End the process group of every command recorded below `folder` by an earlier run, and forget the records. A
 * record of another boot, or whose process id has since been given to another process, is only forgotten.
 */
export async function endLeftoverCommands(folder: string, logger: Logger): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const bootId = readBootId();
  for (const file of await readdir(folder)) {
    const record = parseRecord(await readFile(path.join(folder, file), "utf8"));
    const groupId = Number(file);
    if (record !== undefined && record.bootId === bootId && (await mayBeItsGroup(groupId, record))) {
      logger.warn({ groupId, command: record.command }, "ending a command left by an earlier run");
      await endProcessGroup(groupId, GRACE_MS);
    }
    await rm(path.join(folder, file), { force: true });
  }
}

/** A process id stays taken while a group of that id has members, so a group without its leader is the command's. */
async function mayBeItsGroup(groupId: number, record: CommandRecord): Promise<boolean> {
  const leader = await readProcessStat(groupId);
  return leader === undefined || leader.startTicks === record.startTicks;
}

interface CommandRecord {
  readonly bootId: string;
  readonly startTicks: string;
  readonly command: string;
}

/** One line: boot id, start ticks, the masked command line. Undefined for a record cut short by a crash. */
function parseRecord(text: string): CommandRecord | undefined {
  const match = /^(\S+) (\d+) (.*)\n$/s.exec(text);
  const [, bootId, startTicks, command] = match ?? [];
  if (bootId === undefined || startTicks === undefined || command === undefined) return undefined;
  return { bootId, startTicks, command };
}

/**
 * Note a command that was just started; the answer forgets it. Synchronous, so that only a daemon killed within
 * the milliseconds of a start leaves a command without a note.
 */
export function recordCommand(folder: string, pid: number, command: string): () => void {
  const file = path.join(folder, String(pid));
  const stat = parseProcessStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
  writeFileSync(file, `${readBootId()} ${stat?.startTicks ?? "0"} ${command}\n`, { mode: 0o600 });
  return () => rmSync(file, { force: true });
}

let ownBootId: string | undefined;

/** It stays the same for as long as this process lives. */
function readBootId(): string {
  ownBootId ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return ownBootId;
}
