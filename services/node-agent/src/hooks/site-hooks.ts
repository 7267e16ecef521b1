/** The site's own scripts that run before and after operations (spec/os-iallocator-hooks.json, `hooks`). */
import { constants } from "node:fs";
import { access, readdir, stat } from "node:fs/promises";
import path from "node:path";
import { CommandError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { isErrno } from "../errno.ts";

export const GANETI_HOOKS_FOLDER = "/etc/ganeti/hooks";

/** `round`: of the watcher's, whose scripts belong to no operation and stand in `<path>` itself. */
export type HookPhase = "pre" | "post" | "round";

export interface HookResult {
  /** `<path>-<phase>.d/<script>`, of a round `<path>/<script>` */
  readonly script: string;
  /** `skip`: it is there and may not be executed. */
  readonly status: "skip" | "fail" | "success";
  /** The end of what it printed; of a failure also how it ended. */
  readonly output: string;
}

export interface HookRun {
  /** What is done: `instance-start`, `watcher`. */
  readonly path: string;
  readonly phase: HookPhase;
  /** All that a script is told; nothing else is inherited. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Others in the folders, such as editors' copies, are passed over. */
const SCRIPT_NAME = /^[A-Za-z0-9_-]+$/;
/** Of one script; an operation waits for it. */
const TIMEOUT_MS = 5 * 60_000;
const OUTPUT_LIMIT_BYTES = 64 * 1024;

export class SiteHooks {
  readonly #folder: string;
  readonly #runner: CommandRunner;

  /** @param parts - `folder` holds `<path>-<phase>.d` and `<path>` */
  constructor(parts: { readonly folder: string; readonly runner: CommandRunner }) {
    this.#folder = parts.folder;
    this.#runner = parts.runner;
  }

  /** Names of the scripts that are there, in the order in which they run. */
  async scripts({ path: what, phase }: Pick<HookRun, "path" | "phase">): Promise<readonly string[]> {
    try {
      return (await readdir(this.#folderOf(what, phase))).filter((name) => SCRIPT_NAME.test(name)).sort();
    } catch (error) {
      if (isErrno(error, "ENOENT") || isErrno(error, "ENOTDIR")) return [];
      throw error;
    }
  }

  /** All are run, one after the other, whatever becomes of those before. */
  async run(run: HookRun, signal: AbortSignal): Promise<readonly HookResult[]> {
    const results: HookResult[] = [];
    for (const name of await this.scripts(run)) results.push(await this.#runOne(run, name, signal));
    return results;
  }

  #folderOf(what: string, phase: HookPhase): string {
    return path.join(this.#folder, folderName(what, phase));
  }

  async #runOne({ path: what, phase, environment }: HookRun, name: string, signal: AbortSignal): Promise<HookResult> {
    const script = `${folderName(what, phase)}/${name}`;
    const program = path.join(this.#folderOf(what, phase), name);
    if (!(await isProgram(program))) return { script, status: "skip", output: "" };
    try {
      const { stdout, stderr } = await this.#runner.run({
        argv: [program],
        env: environment,
        timeoutMs: TIMEOUT_MS,
        outputLimitBytes: OUTPUT_LIMIT_BYTES,
        signal,
      });
      return { script, status: "success", output: `${stdout}${stderr}` };
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      signal.throwIfAborted();
      return { script, status: "fail", output: error.message };
    }
  }
}

function folderName(what: string, phase: HookPhase): string {
  return phase === "round" ? what : `${what}-${phase}.d`;
}

async function isProgram(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}
