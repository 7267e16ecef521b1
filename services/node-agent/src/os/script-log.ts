/** Logs of OS scripts, and what of them is told. */
import { OpExecError } from "@gannet/errors";
import { fileTail } from "../file-tail.ts";
import { LogFolder } from "../log-folder.ts";
import { CUT, masked } from "./masked.ts";

const TAIL_LINES = 20;
const TAIL_BYTES = 16 * 1024;

/** What a log is of, as Ganeti calls it. */
export type LoggedAction = "add" | "import" | "export" | "rename";

export class ScriptLogs {
  readonly #logs: LogFolder;

  constructor(folder: string) {
    this.#logs = new LogFolder(folder);
  }

  /**
   * The empty log of one run, `<action>-<os>-<instance>-<time>.log`. Answers its path.
   * @throws OpExecError when it cannot be made, as on a full disk
   * @param component - what of the instance the script works on, `disk0`, when several may run at once; part of the name
   */
  async create(action: LoggedAction, os: string, instance: string, component?: string): Promise<string> {
    try {
      return await this.#logs.create([action, os, instance, ...(component === undefined ? [] : [component])]);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new OpExecError(`No log can be made for the ${action} of ${instance} by OS ${os}: ${why}`);
    }
  }
}

/** The last lines of a log, as Ganeti shows them of a script that failed, without secrets. */
export async function lastLines(file: string, secrets: readonly string[]): Promise<string> {
  return lastLinesOf(await fileTail(file, TAIL_BYTES), secrets);
}

/** @param text - what was printed, or its end, which may begin within a secret, or within a character */
export function lastLinesOf(text: string, secrets: readonly string[]): string {
  const told = masked(`${CUT}${text.replace(/^\uFFFD+/, "")}`, secrets).slice(CUT.length);
  return told.slice(-TAIL_BYTES).trimEnd().split("\n").slice(-TAIL_LINES).join("\n");
}
