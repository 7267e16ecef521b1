/** Commands whose outputs are the next ones' inputs, as a shell's `|` connects them, without a shell. */

export interface PipelineStage {
  /** Absolute path of the program first. */
  readonly argv: readonly [program: string, ...args: string[]];
  /** As of a {@link Command}: nothing is inherited. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default `/`. */
  readonly cwd?: string;
  /** An open file of the caller's, which the program has under the number 3. */
  readonly extraDescriptor?: number;
  /** Put in front of what it prints; short enough for an empty pipe to take at once (4096 bytes, pipe(7)). */
  readonly lead?: string;
  /**
   * Run to its end on the same input before the stage itself starts, which it does not when `accept` throws on what
   * was printed. It must read no further than what is its own.
   */
  readonly preface?: {
    readonly argv: readonly [program: string, ...args: string[]];
    readonly accept: (printed: string) => void;
  };
  /** With its process id, when the program runs. */
  readonly onStart?: (pid: number) => void;
  /** Each line of its standard error, as it comes. */
  readonly onLine?: (line: string) => void;
}

export interface Pipeline {
  readonly stages: readonly PipelineStage[];
  /** An open file of the caller's which the first stage reads; nothing without it. */
  readonly input?: number;
  /** An open file of the caller's which the last stage writes; what it prints is dropped without it. */
  readonly output?: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface PipelineRunner {
  /**
   * Run all stages side by side until each has ended. The first that fails, a timeout and an abort end the rest, with
   * all their children, before this returns.
   * @throws CommandError naming each stage that failed, the first one first, how it ended and the end of what it
   *   printed; what a preface's `accept` throws
   */
  runPipeline(pipeline: Pipeline): Promise<void>;
}
