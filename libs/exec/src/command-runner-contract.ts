/** Running external commands: an argv array, an absolute binary, bounds on time and output, no shell anywhere. */

export interface Command {
  /** Absolute path of the program first. */
  readonly argv: readonly [program: string, ...args: string[]];
  readonly timeoutMs: number;
  /** The complete environment; `LC_ALL=C` and a fixed PATH are all a command gets without it. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Written to its standard input. */
  readonly input?: string | Uint8Array;
  /** Kept of each of its outputs, from the end; more is dropped, never buffered. Default 1 MiB. */
  readonly outputLimitBytes?: number;
  /** File to which both outputs are appended as they come. */
  readonly logFile?: string;
  /** Exit codes that are no failure. Default `[0]`. */
  readonly okExitCodes?: readonly number[];
  /** Positions in argv whose values are secret: shown as `***` in logs and errors. */
  readonly secretArgs?: readonly number[];
  readonly signal?: AbortSignal;
}

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly truncated: boolean;
  readonly durationMs: number;
}

export interface CommandRunner {
  /**
   * Run to the end. On timeout or abort the whole process group is killed.
   * @throws CommandError naming the command and how it ended: not found, exit code, signal, timeout
   */
  run(command: Command): Promise<CommandResult>;
}
