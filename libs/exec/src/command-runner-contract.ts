/** Running external commands: an argv array, an absolute binary, bounds on time and output, no shell anywhere. */

export interface Command {
  /** Absolute path of the program first. */
  readonly argv: readonly [program: string, ...args: string[]];
  readonly timeoutMs: number;
  /** Nothing is inherited: a command gets `LC_ALL=C`, a fixed PATH, and these, which may replace both. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default `/`. */
  readonly cwd?: string;
  /** Written to its standard input, which is empty without it. */
  readonly input?: string | Uint8Array;
  /** Both outputs are one, the result's `stdout`, in the order in which they were written (a shell's `2>&1`). */
  readonly mergeOutputs?: boolean;
  /** Kept of each of its outputs, from the end; more is dropped, never buffered. Default 1 MiB. */
  readonly outputLimitBytes?: number;
  /** File to which what it prints is appended as it comes, made with mode 0600; at most 16 MiB a command. */
  readonly logFile?: string;
  /**
   * It goes on when the daemon ends, and the daemon's next run leaves it alone: for what must not be broken off. It
   * prints to this file by itself, without a bound, because a pipe would break with the daemon; made with mode 0600.
   */
  readonly outlives?: { readonly logFile: string };
  /** Exit codes that are no failure. Default `[0]`. */
  readonly okExitCodes?: readonly number[];
  /** Positions in argv whose values are secret: shown as `***` in logs and errors. */
  readonly secretArgs?: readonly number[];
  readonly signal?: AbortSignal;
  /**
   * After a timeout or abort it is killed, but its end is not waited for: a system call that hangs may put it off for
   * ever.
   */
  readonly leaveWhenKilled?: boolean;
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
   * Run to the end, in a process group of its own. On timeout or abort the whole group gets SIGTERM, then SIGKILL
   * after a grace, and is gone before this returns, unless it is one to be left.
   * @throws CommandError naming the command, how it ended (not found, exit code, signal, timeout, aborted) and the
   *   end of what it printed
   */
  run(command: Command): Promise<CommandResult>;
}
