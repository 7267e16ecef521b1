/** Logs of scripts that sites bring: one file a run, readable by the agent only, and all of a folder bounded together. */
import { constants } from "node:fs";
import { mkdir, open, readdir, rm, stat } from "node:fs/promises";
import path from "node:path";
import { undefinedWhenMissing } from "./errno.ts";

/** Of all logs together; the oldest go first. One run adds at most what CommandRunner lets a command log. */
const KEPT_BYTES = 256 * 1024 * 1024;

/** What a log counts as at least: those of scripts that print nothing must not become too many to look at. */
const LEAST_BYTES = 16 * 1024;

/** Looking at every log takes milliseconds once there are hundreds: it is done at the first run, then at each of these. */
const RUNS_A_LOOK = 16;

export class LogFolder {
  readonly #folder: string;
  #runs = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Make the empty log of one run, named by its parts and the time as Ganeti names it, and make room for it. Answers
   * its path.
   * @throws the system call's error when it cannot be made, as on a full disk
   */
  async create(parts: readonly string[]): Promise<string> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    if (this.#runs++ % RUNS_A_LOOK === 0) await removeOldest(this.#folder);
    const time = new Date().toISOString().replaceAll(":", "_").replace("Z", "");
    const file = path.join(this.#folder, `${[...parts.map((part) => part.slice(0, 100)), time].join("-")}.log`);
    await using _made = await open(file, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600);
    return file;
  }
}

async function removeOldest(folder: string): Promise<void> {
  const files = (await readdir(folder)).map((name) => path.join(folder, name));
  // One that is gone by now was removed by a run that began at the same time.
  const found = await Promise.all(files.map((file) => stat(file).catch(undefinedWhenMissing)));
  const logs = files.map((file, index) => ({
    file,
    size: Math.max(LEAST_BYTES, found[index]?.size ?? 0),
    mtimeMs: found[index]?.mtimeMs ?? 0,
  }));
  let keptBytes = 0;
  for (const { file, size } of logs.sort((a, b) => b.mtimeMs - a.mtimeMs)) {
    keptBytes += size;
    if (keptBytes > KEPT_BYTES) await rm(file, { force: true });
  }
}
