/** The site's program for out-of-band management: power and health of machines (spec/node-ops.json, `misc`, oob). */
import { CommandError, OpExecError, OpPrereqError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { distrustOfProgramAt } from "./trusted-file.ts";

export const OOB_COMMANDS = ["health", "power-cycle", "power-off", "power-on", "power-status"] as const;

export interface OobRun {
  /** Absolute path. */
  readonly program: string;
  readonly command: (typeof OOB_COMMANDS)[number];
  /** The machine that is meant. */
  readonly nodeName: string;
  readonly timeoutMs: number;
}

/** A machine's health is some lines. */
const OUTPUT_LIMIT_BYTES = 256 * 1024;

export class OobProgram {
  readonly #runner: CommandRunner;
  readonly #owner: number;

  /** @param parts - `owner`: user id that programs must belong to; root's by default */
  constructor({ runner, owner = 0 }: { readonly runner: CommandRunner; readonly owner?: number }) {
    this.#runner = runner;
    this.#owner = owner;
  }

  /**
   * @returns what it printed
   * @throws OpPrereqError (environment_error) when it must not be run; OpExecError with what it printed when it fails
   */
  async run({ program, command, nodeName, timeoutMs }: OobRun, signal: AbortSignal): Promise<string> {
    const distrust = await distrustOfProgramAt(program, this.#owner);
    if (distrust !== undefined)
      throw new OpPrereqError(`The out-of-band program ${program} cannot be run: ${distrust}`, "environment_error");
    try {
      const argv = [program, command, nodeName] as const;
      const { stdout, truncated } = await this.#runner.run({
        argv,
        timeoutMs,
        outputLimitBytes: OUTPUT_LIMIT_BYTES,
        signal,
      });
      if (truncated) throw new OpExecError(`${program} printed more than ${OUTPUT_LIMIT_BYTES} bytes`);
      return stdout;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      throw new OpExecError(error.message, { cause: error });
    }
  }
}
