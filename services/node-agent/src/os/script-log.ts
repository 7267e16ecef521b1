/** Logs of OS scripts: one file a run, readable by the agent only, and bounded together. */
import { constants } from "node:fs";
import { mkdir, open, readdir, rm, stat } from "node:fs/promises";
import path from "node:path";
import { OpExecError } from "@gannet/errors";
import { undefinedWhenMissing } from "../errno.ts";
import { CUT, masked } from "./masked.ts";

/** Of all logs together; the oldest go first. One run adds at most what CommandRunner lets a command log. */
const KEPT_BYTES = 256 * 1024 * 1024;

const TAIL_LINES = 20;
const TAIL_BYTES = 16 * 1024;

/** Looking at every log takes milliseconds once there are hundreds: it is done at the first run, then at each of these. */
const RUNS_A_LOOK = 16;

/** What a log is of, as Ganeti calls it. */
export type LoggedAction = "add" | "import" | "export" | "rename";

export class ScriptLogs {
  readonly #folder: string;
  #runs = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Make the empty log of one run, `<action>-<os>-<instance>-<time>.log` as Ganeti names it, and make room for it.
   * Answers its path.
   * @throws OpExecError when it cannot be made, as on a full disk
   * @param component - what of the instance the script works on, `disk0`, when several may run at once; part of the name
   */
  async create(action: LoggedAction, os: string, instance: string, component?: string): Promise<string> {
    try {
      return await this.#make([action, os.slice(0, 100), instance.slice(0, 100), component]);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new OpExecError(`No log can be made for the ${action} of ${instance} by OS ${os}: ${why}`);
    }
  }

  async #make(parts: readonly (string | undefined)[]): Promise<string> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    if (this.#runs++ % RUNS_A_LOOK === 0) await removeOldest(this.#folder);
    const time = new Date().toISOString().replaceAll(":", "_").replace("Z", "");
    const name = [...parts, time].filter((part) => part !== undefined).join("-");
    const file = path.join(this.#folder, `${name}.log`);
    await using _made = await open(file, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600);
    return file;
  }
}

/** The last lines of a log, as Ganeti shows them of a script that failed, without secrets. */
export async function lastLines(file: string, secrets: readonly string[]): Promise<string> {
  await using log = await open(file);
  const { size } = await log.stat();
  const from = Math.max(0, size - TAIL_BYTES);
  const { buffer, bytesRead } = await log.read(Buffer.alloc(size - from), 0, size - from, from);
  return lastLinesOf(buffer.toString("utf8", 0, bytesRead), secrets);
}

/** @param text - what was printed, or its end, which may begin within a secret, or within a character */
export function lastLinesOf(text: string, secrets: readonly string[]): string {
  const told = masked(`${CUT}${text.replace(/^\uFFFD+/, "")}`, secrets).slice(CUT.length);
  return told.slice(-TAIL_BYTES).trimEnd().split("\n").slice(-TAIL_LINES).join("\n");
}

async function removeOldest(folder: string): Promise<void> {
  const files = (await readdir(folder)).map((name) => path.join(folder, name));
  // One that is gone by now was removed by a run that began at the same time.
  const found = await Promise.all(files.map((file) => stat(file).catch(undefinedWhenMissing)));
  const logs = files.map((file, index) => ({
    file,
    size: found[index]?.size ?? 0,
    mtimeMs: found[index]?.mtimeMs ?? 0,
  }));
  let keptBytes = 0;
  for (const { file, size } of logs.sort((a, b) => b.mtimeMs - a.mtimeMs)) {
    keptBytes += size;
    if (keptBytes > KEPT_BYTES) await rm(file, { force: true });
  }
}
