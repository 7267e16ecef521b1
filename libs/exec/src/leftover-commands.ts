/**
 * Commands of a daemon that was killed go on without it. Each running command has a file in a record folder, so
 * that the next run of the daemon can end what is left before it works on the same things again. Processes that
 * made themselves a session of their own (a guest's qemu) are not members of the command's group and go on.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import type { Logger } from "@gannet/telemetry";
import { bootId } from "./boot-id.ts";
import { endProcessGroup, parseProcessStat, readProcessStat } from "./process-group.ts";

/** How long a leftover command may take to end by itself after SIGTERM. */
const GRACE_MS = 2_000;

/**
 * End the process group of every command recorded below `folder` by an earlier run, and forget the records. A
 * record of another boot, or whose process id has since been given to another process, is only forgotten.
 */
export async function endLeftoverCommands(folder: string, logger: Logger): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const thisBoot = bootId();
  for (const name of await readdir(folder)) {
    const file = path.join(folder, name);
    const record = parseRecord(name);
    if (record !== undefined && record.bootId === thisBoot && (await mayBeItsGroup(record))) {
      const command = await readFile(file, "utf8");
      logger.warn({ groupId: record.groupId, command }, "ending a command left by an earlier run");
      await endProcessGroup(record.groupId, GRACE_MS);
    }
    await rm(file, { force: true });
  }
}

/** A process id stays taken while a group of that id has members, so a group without its leader is the command's. */
async function mayBeItsGroup({ groupId, startTicks }: CommandRecord): Promise<boolean> {
  const leader = await readProcessStat(groupId);
  return leader === undefined || leader.startTicks === startTicks;
}

interface CommandRecord {
  readonly groupId: number;
  readonly startTicks: string;
  readonly bootId: string;
}

/** Of a record's name, `<process group>.<start ticks>.<boot id>`. */
function parseRecord(name: string): CommandRecord | undefined {
  const [, groupId, startTicks, bootId] = /^(\d+)\.(\d+)\.([0-9a-f-]+)$/.exec(name) ?? [];
  if (groupId === undefined || startTicks === undefined || bootId === undefined) return undefined;
  return { groupId: Number(groupId), startTicks, bootId };
}

/**
 * Note a command that was just started; the answer forgets it. Synchronous, so that only a daemon killed within
 * the milliseconds of a start leaves a command without a note. What counts is in the file's name, which a full disk
 * still takes: a node whose disk is full can stop guests and undo what it began.
 */
export function recordCommand(folder: string, pid: number, command: string): () => void {
  const stat = parseProcessStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
  const file = path.join(folder, `${pid}.${stat?.startTicks ?? "0"}.${bootId()}`);
  try {
    writeFileSync(file, command, { mode: 0o600 });
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  }
  return () => rmSync(file, { force: true });
}

/** The file was made, and nothing could be written to it. */
function isDiskFull(error: unknown): boolean {
  const { code, syscall } = error as NodeJS.ErrnoException;
  return (code === "ENOSPC" || code === "EDQUOT") && syscall === "write";
}
