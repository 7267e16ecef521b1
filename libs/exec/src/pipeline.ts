/** The {@link PipelineRunner} of every daemon. */
import { type ChildProcess, spawn } from "node:child_process";
import type { FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { setTimeout as delay } from "node:timers/promises";
import { CommandError } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";
import { BASE_ENVIRONMENT } from "./base-environment.ts";
import { type CommandEnd, failureMessage, refuse, startFailure } from "./command-end.ts";
import { formatCommand } from "./command-line.ts";
import type { CommandRunner } from "./command-runner-contract.ts";
import { makePipes } from "./kernel-pipes.ts";
import { recordCommand } from "./leftover-commands.ts";
import { OutputTail } from "./output-tail.ts";
import type { Pipeline, PipelineStage } from "./pipeline-contract.ts";
import { endProcessGroup } from "./process-group.ts";

export interface PipelineOptions {
  readonly runner: CommandRunner;
  readonly logger: Logger;
  readonly recordFolder: string | undefined;
  readonly killGraceMs: number;
}

/** Of each stage's standard error. */
const TAIL_BYTES = 16 * 1024;
/** Of what a preface prints. */
const PREFACE_BYTES = 64 * 1024;
const LINE_LIMIT_CHARS = 4096;
/** After the first failure, for the rest to end by themselves: their words may tell more than that they were killed. */
const FAILURE_GRACE_MS = 300;
/** As of commands (command-runner.ts). */
const DRAIN_MS = 2_000;

export async function runPipeline(pipeline: Pipeline, options: PipelineOptions): Promise<void> {
  for (const { argv, env = {} } of pipeline.stages) {
    const reason = refuse({ argv, env });
    if (reason !== undefined)
      throw new CommandError(
        failureMessage({ argv, timeoutMs: pipeline.timeoutMs }, { kind: "not started", reason }, ""),
      );
  }
  await new PipelineRun(pipeline, options).toEnd();
}

/** A program of a pipeline that runs. */
interface Part {
  readonly argv: PipelineStage["argv"];
  readonly pid: number;
  readonly child: ChildProcess;
  readonly tail: OutputTail;
  readonly ended: Promise<CommandEnd>;
  readonly forget: () => void;
}

interface Files {
  readonly input: number | undefined;
  readonly output: number | "pipe" | undefined;
}

type Stop = "failed" | "timeout" | "aborted";

class PipelineRun {
  readonly #pipeline: Pipeline;
  readonly #options: PipelineOptions;
  readonly #failures: { readonly command: Pick<Part, "argv" | "tail">; readonly end: CommandEnd }[] = [];
  /** Thrown by a preface's `accept`. */
  readonly #refusals: unknown[] = [];
  /** Aborted once; its reason is a {@link Stop}. */
  readonly #stop = new AbortController();

  constructor(pipeline: Pipeline, options: PipelineOptions) {
    this.#pipeline = pipeline;
    this.#options = options;
  }

  async toEnd(): Promise<void> {
    const { stages, signal, timeoutMs, input, output } = this.#pipeline;
    const pipes = await makePipes(this.#options.runner, stages.length - 1);
    const timer = setTimeout(() => this.#end("timeout"), timeoutMs);
    const abort = () => this.#end("aborted");
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    try {
      await Promise.all(
        stages.map((stage, index) => {
          const [before, after] = [pipes[index - 1]?.read, pipes[index]?.write];
          return this.#runStage(stage, before, after, {
            input: before === undefined ? input : before.fd,
            output: after === undefined ? output : after.fd,
          });
        }),
      );
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    }
    this.#throwOutcome();
  }

  /** Never rejects: what goes wrong is noted, and stops the others. */
  async #runStage(
    stage: PipelineStage,
    before: FileHandle | undefined,
    after: FileHandle | undefined,
    files: Files,
  ): Promise<void> {
    // A neighbour sees the end of its input, or that nobody reads, only when the daemon has not the pipe open either.
    const letGo = async () => {
      await before?.close();
      await after?.close();
    };
    try {
      if (!(await this.#mayStart(stage, files.input)) || this.#stop.signal.aborted) return await letGo();
      if (stage.lead !== undefined) await after?.write(stage.lead);
      const part = await this.#start(stage, files);
      await letGo();
      if (part !== undefined) await this.#finish(part);
    } catch (error) {
      this.#refusals.push(error);
      this.#end("failed");
      await letGo();
    }
  }

  async #mayStart({ preface, onLine }: PipelineStage, input: number | undefined): Promise<boolean> {
    if (preface === undefined) return true;
    const part = await this.#start({ argv: preface.argv, ...(onLine && { onLine }) }, { input, output: "pipe" });
    if (part === undefined) return false;
    const printed = new OutputTail(PREFACE_BYTES);
    part.child.stdout?.on("data", (chunk: Buffer) => printed.push(chunk));
    if (!isSuccess(await this.#finish(part))) return false;
    preface.accept(printed.text());
    return true;
  }

  /** Undefined when it could not be started, which is noted as its failure. */
  async #start(stage: PipelineStage, { input, output }: Files): Promise<Part | undefined> {
    const { argv, cwd = "/", env, extraDescriptor } = stage;
    const [program, ...args] = argv;
    const tail = new OutputTail(TAIL_BYTES);
    try {
      const child = spawn(program, args, {
        cwd,
        env: { ...BASE_ENVIRONMENT, ...env },
        detached: true,
        stdio: [
          input ?? "ignore",
          output ?? "ignore",
          "pipe",
          ...(extraDescriptor === undefined ? [] : [extraDescriptor]),
        ],
      });
      const { pid } = child;
      if (pid === undefined) throw await new Promise((resolve) => child.once("error", resolve));
      // Of signals that cannot be sent.
      child.on("error", () => {});
      const ended = new Promise<CommandEnd>((resolve) => {
        child.once("exit", (exitCode, signal) =>
          resolve(signal === null ? { kind: "exit", exitCode: exitCode ?? 0 } : { kind: "signal", signal }),
        );
      });
      const forget = await this.#recordOrKill(stage, pid);
      if (child.stderr !== null) void readLines(child.stderr, tail, stage.onLine);
      stage.onStart?.(pid);
      return { argv, pid, child, tail, ended, forget };
    } catch (error) {
      if (error instanceof CommandError) throw error;
      const reason = startFailure(stage, (error as NodeJS.ErrnoException).code);
      this.#fail({ argv, tail }, { kind: "not started", reason });
      return undefined;
    }
  }

  /** As of commands: one that cannot be recorded must not run. */
  async #recordOrKill(stage: PipelineStage, pid: number): Promise<() => void> {
    const { recordFolder } = this.#options;
    if (recordFolder === undefined) return () => {};
    try {
      return recordCommand(recordFolder, pid, formatCommand(stage));
    } catch (error) {
      await endProcessGroup(pid, 0);
      throw new CommandError(`Command ${formatCommand(stage)} was killed, it cannot be recorded: ${String(error)}`);
    }
  }

  async #finish(part: Part): Promise<CommandEnd> {
    const settled = new AbortController();
    try {
      const stopped = untilAborted(AbortSignal.any([this.#stop.signal, settled.signal]));
      const end = (await Promise.race([part.ended, stopped])) ?? (await this.#stopPart(part));
      if (!isSuccess(end)) this.#fail(part, end);
      await drained(part.child);
      this.#options.logger.debug({ command: formatCommand(part), end }, "stage of a pipeline ended");
      return end;
    } finally {
      settled.abort();
      part.forget();
    }
  }

  /** After a failure elsewhere it may end by itself; after an abort or a timeout it is ended at once. */
  async #stopPart({ ended, pid }: Part): Promise<CommandEnd> {
    if ((this.#stop.signal.reason as Stop) === "failed") {
      const byItself = await Promise.race([ended, delay(FAILURE_GRACE_MS, undefined, { ref: false })]);
      if (byItself !== undefined) return byItself;
    }
    await endProcessGroup(pid, this.#options.killGraceMs);
    return { kind: "aborted" };
  }

  #fail(command: Pick<Part, "argv" | "tail">, end: CommandEnd): void {
    this.#failures.push({ command, end });
    this.#end("failed");
  }

  #end(reason: Stop): void {
    this.#stop.abort(reason);
  }

  #throwOutcome(): void {
    const { signal } = this.#stop;
    if (!signal.aborted) return;
    const reason = signal.reason as Stop;
    const [first] = this.#pipeline.stages;
    if (reason !== "failed" && first !== undefined) throw new CommandError(this.#message(first, { kind: reason }, ""));
    // One that lost its reader or was ended here is not why the others failed.
    const own = this.#failures.filter(({ end }) => end.kind !== "aborted" && !isBrokenPipe(end));
    const refusal = this.#refusals[0];
    if (refusal !== undefined) throw refusal;
    const told = own.length > 0 ? own : this.#failures;
    throw new CommandError(
      told.map(({ command, end }) => this.#message(command, end, command.tail.text())).join("; and then: "),
    );
  }

  #message({ argv }: Pick<Part, "argv">, end: CommandEnd, printed: string): string {
    return failureMessage({ argv, timeoutMs: this.#pipeline.timeoutMs }, end, printed);
  }
}

function isSuccess(end: CommandEnd): boolean {
  return end.kind === "exit" && end.exitCode === 0;
}

function isBrokenPipe(end: CommandEnd): boolean {
  return end.kind === "signal" && end.signal === "SIGPIPE";
}

async function untilAborted(signal: AbortSignal): Promise<undefined> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** What it printed until its end has been read, or something still holds it open. */
async function drained({ stderr, stdout }: ChildProcess): Promise<void> {
  for (const output of [stdout, stderr]) {
    if (output === null || output.closed) continue;
    const closed = new Promise<void>((resolve) => output.once("close", () => resolve()));
    await Promise.race([closed, delay(DRAIN_MS, undefined, { ref: false })]);
    output.destroy();
  }
}

async function readLines(output: Readable, tail: OutputTail, onLine?: (line: string) => void): Promise<void> {
  let rest = "";
  // A character may be cut in two by the end of a chunk.
  const decoder = new StringDecoder("utf8");
  try {
    for await (const chunk of output as AsyncIterable<Buffer>) {
      tail.push(chunk);
      const lines = `${rest}${decoder.write(chunk)}`.split(/[\r\n]+/);
      rest = (lines.pop() ?? "").slice(-LINE_LIMIT_CHARS);
      for (const line of lines) if (line !== "") onLine?.(line);
    }
    rest += decoder.end();
    if (rest !== "") onLine?.(rest);
  } catch {
    // Closed before its end, because something still held it open; what was read is kept.
  }
}
