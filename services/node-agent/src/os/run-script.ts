/** Running one script of an OS definition: in its folder, with its documented environment only, bounded in time. */
import path from "node:path";
import { CommandError, OpExecError } from "@gannet/errors";
import type { CommandResult, CommandRunner } from "@gannet/exec";
import type { OsDefinition } from "./definition.ts";
import type { Environment } from "./environment.ts";
import { masked } from "./masked.ts";
import { lastLines, lastLinesOf } from "./script-log.ts";

export interface ScriptRun {
  readonly definition: OsDefinition;
  readonly script: "create" | "rename" | "verify";
  readonly args: readonly string[];
  readonly environment: Environment;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Where its output goes as it comes; without it the end of the output is kept in memory. */
  readonly logFile?: string;
  /** Values that must not appear in an error, which ends in a job's result: the script may print its parameters. */
  readonly secrets: readonly string[];
}

/** Of output that goes to no log. */
const OUTPUT_LIMIT_BYTES = 64 * 1024;

const ALL_EXIT_CODES: readonly number[] = Array.from({ length: 256 }, (_, code) => code);

/**
 * Processes that the script leaves behind are not waited for. On timeout or abort its whole process group is killed.
 * @throws OpExecError naming the script, how it ended, and its last lines
 */
export async function runScript(runner: CommandRunner, run: ScriptRun): Promise<void> {
  const file = path.join(run.definition.path, run.script);
  try {
    const result = await runner.run({
      argv: [file, ...run.args],
      cwd: run.definition.path,
      env: run.environment,
      timeoutMs: run.timeoutMs,
      signal: run.signal,
      okExitCodes: ALL_EXIT_CODES,
      mergeOutputs: true,
      ...(run.logFile === undefined
        ? { outputLimitBytes: OUTPUT_LIMIT_BYTES }
        : { outputLimitBytes: 0, logFile: run.logFile }),
    });
    if (result.exitCode !== 0) throw await failure(run, `failed with exit code ${result.exitCode}`, result);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    throw await failure(run, `did not run to its end: ${masked(error.message, run.secrets)}`);
  }
}

async function failure(run: ScriptRun, how: string, result?: CommandResult): Promise<OpExecError> {
  const { logFile, secrets } = run;
  const printed =
    logFile === undefined ? lastLinesOf(result?.stdout ?? "", secrets) : await lastLines(logFile, secrets);
  const log = logFile === undefined ? "" : ` (log: ${logFile})`;
  const end = printed === "" ? "It printed nothing." : `Its last lines:\n${printed}`;
  return new OpExecError(`The ${run.script} script of OS ${run.definition.name} ${how}${log}. ${end}`);
}
