/**
 * Commands that this node's administrator allows from afar: the files of one folder (spec/rpc.json,
 * `restricted_command`). Off unless the agent's configuration says otherwise.
 */
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CommandError, OpExecError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { Logger } from "@gannet/telemetry";
import { distrustOfFolder, distrustOfProgram } from "./trusted-file.ts";

/** Ganeti's place for them (spec/node-ops.json, `misc`, restricted command). */
export const GANETI_RESTRICTED_COMMANDS = "/etc/ganeti/restricted-commands";

export interface RestrictedCommandParts {
  readonly enabled: boolean;
  readonly folder: string;
  readonly runner: CommandRunner;
  readonly logger: Logger;
  /** User id that the folder and its files must belong to; root's by default. */
  readonly owner?: number;
  /** Before a refusal is answered, so that names are not found out by trying. */
  readonly refusalDelayMs?: number;
}

const REFUSAL_DELAY_MS = 5_000;
/** Below the deadline of the call. */
const TIMEOUT_MS = 50 * 60_000;
const OUTPUT_LIMIT_BYTES = 1024 * 1024;
const COMMAND_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;

export class RestrictedCommands {
  readonly #parts: RestrictedCommandParts;

  constructor(parts: RestrictedCommandParts) {
    this.#parts = parts;
  }

  /**
   * @returns what it printed on both outputs
   * @throws OpExecError: with what it printed when it fails; without any reason, and late, when it is not run
   */
  async run(command: string, signal: AbortSignal): Promise<string> {
    const { folder, runner, logger, refusalDelayMs = REFUSAL_DELAY_MS } = this.#parts;
    const refusal = await this.#refusal(command);
    if (refusal !== undefined) {
      logger.warn({ command, refusal }, "restricted command refused");
      await delay(refusalDelayMs, undefined, { signal });
      throw new OpExecError(`Executing command '${command}' failed; its node's log tells why`);
    }
    try {
      const { stdout, stderr } = await runner.run({
        argv: [path.join(folder, command)],
        timeoutMs: TIMEOUT_MS,
        outputLimitBytes: OUTPUT_LIMIT_BYTES,
        signal,
      });
      return stdout + stderr;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      throw new OpExecError(`Restricted command '${command}' failed: ${error.message}`, { cause: error });
    }
  }

  async #refusal(command: string): Promise<string | undefined> {
    const { enabled, folder, owner = 0 } = this.#parts;
    if (!enabled) return "restricted commands are not enabled in the agent's configuration";
    if (!COMMAND_NAME.test(command)) return "this cannot be a command's name";
    return (await distrustOfFolder(folder, owner)) ?? (await distrustOfProgram(path.join(folder, command), owner));
  }
}
