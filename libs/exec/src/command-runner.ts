/** The {@link CommandRunner} of every daemon, on execa. */
import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { CommandError } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";
import { execa } from "execa";
import { BASE_ENVIRONMENT } from "./base-environment.ts";
import { type CommandEnd, failureMessage, refuse, startFailure } from "./command-end.ts";
import { formatCommand } from "./command-line.ts";
import type { Command, CommandResult, CommandRunner } from "./command-runner-contract.ts";
import { mergeOutputs } from "./kernel-pipes.ts";
import { recordCommand } from "./leftover-commands.ts";
import { type LogFile, openLog, openLogFile } from "./log-file.ts";
import { OutputTail } from "./output-tail.ts";
import { runPipeline } from "./pipeline.ts";
import type { PipelineRunner } from "./pipeline-contract.ts";
import { Places } from "./places.ts";
import { endProcessGroup } from "./process-group.ts";

/** How one command went, for measurements. */
export interface CommandRun {
  /** As in its argv: an absolute path. */
  readonly program: string;
  readonly durationMs: number;
  /** `refused`: it was never started. */
  readonly outcome: "ok" | "failed" | "timeout" | "aborted" | "refused";
}

export interface CommandRunnerOptions {
  readonly logger: Logger;
  /** Told of each command that ended; those of pipelines, which last as long as what they carry, excepted. */
  readonly onCommandEnd?: (run: CommandRun) => void;
  /**
   * At most so many commands at once, the rest wait in order; their time limit begins when they start. Those that may
   * take longer than ten minutes are not counted: they carry a disk's contents or a guest, or are a site's script,
   * and there are as many as there is work of that kind. Nor are pipelines. Without it there is no bound.
   */
  readonly maxParallel?: number;
  /** Between SIGTERM and SIGKILL of a command that ran too long or was aborted. Default 2 seconds. */
  readonly killGraceMs?: number;
  /**
   * An existing folder in which running commands are recorded, for `endLeftoverCommands` of the next run. Without
   * it a command may outlive a daemon that is killed.
   */
  readonly recordFolder?: string;
}

/** And what all commands of one runner share. */
type RunOptions = CommandRunnerOptions & { readonly places?: Places | undefined };

const OUTCOMES = {
  exit: "failed",
  signal: "failed",
  "not started": "refused",
  timeout: "timeout",
  aborted: "aborted",
} as const satisfies Record<CommandEnd["kind"], CommandRun["outcome"]>;
/** Made once: an error of its own for each command, with its stack, took as long as the rest of the waiting. */
const SETTLED = new Error("the command has ended");
const LONGEST_COUNTED_MS = 10 * 60_000;
const DEFAULT_KILL_GRACE_MS = 2_000;
const DEFAULT_OUTPUT_LIMIT_BYTES = 1024 * 1024;
/** A process left in the background may hold the outputs open: they are read this long after the program's end. */
const DRAIN_MS = 2_000;

export function createCommandRunner(options: CommandRunnerOptions): CommandRunner & PipelineRunner {
  const { logger, recordFolder, killGraceMs = DEFAULT_KILL_GRACE_MS, maxParallel } = options;
  const places = maxParallel === undefined ? undefined : new Places(maxParallel);
  const runner: CommandRunner = { run: (command) => run(command, { ...options, places }) };
  return {
    ...runner,
    runPipeline: (pipeline) => runPipeline(pipeline, { runner, logger, recordFolder, killGraceMs }),
  };
}

async function run(command: Command, options: RunOptions): Promise<CommandResult> {
  const refusal = refuse(command);
  const release = refusal === undefined ? await placeFor(command, options) : () => {};
  const startedAt = performance.now();
  const outputs = {
    stdout: new OutputTail(command.outputLimitBytes ?? DEFAULT_OUTPUT_LIMIT_BYTES),
    stderr: new OutputTail(command.outputLimitBytes ?? DEFAULT_OUTPUT_LIMIT_BYTES),
  };
  const end: CommandEnd =
    refusal === undefined
      ? await runToEnd(command, options, outputs, release).finally(release)
      : { kind: "not started", reason: refusal };
  const durationMs = Math.round(performance.now() - startedAt);
  const stdout = outputs.stdout.text();
  const stderr = outputs.stderr.text();
  options.logger.debug({ command: formatCommand(command), end, durationMs }, "command ended");
  const isOk = end.kind === "exit" && (command.okExitCodes ?? [0]).includes(end.exitCode);
  options.onCommandEnd?.({ program: command.argv[0], durationMs, outcome: isOk ? "ok" : OUTCOMES[end.kind] });
  if (end.kind === "exit" && isOk) {
    const truncated = outputs.stdout.truncated || outputs.stderr.truncated;
    return { exitCode: end.exitCode, stdout, stderr, truncated, durationMs };
  }
  throw new CommandError(failureMessage(command, end, stderr.trim() === "" ? stdout : stderr));
}

/** What gives the place back. Without one, as after an abort, the command is not started. */
async function placeFor({ timeoutMs, signal }: Command, { places }: RunOptions): Promise<() => void> {
  if (places === undefined || timeoutMs > LONGEST_COUNTED_MS) return () => {};
  return places.take(signal).catch(() => () => {});
}

async function runToEnd(
  command: Command,
  options: RunOptions,
  outputs: { readonly stdout: OutputTail; readonly stderr: OutputTail },
  release: () => void,
): Promise<CommandEnd> {
  if (command.signal?.aborted) return { kind: "aborted" };
  await using stack = new AsyncDisposableStack();
  const logFile = command.logFile === undefined ? undefined : await openLogFile(command.logFile, options.logger);
  stack.defer(async () => logFile?.close());
  if (command.outlives !== undefined)
    return await runWithOwnLog(
      command,
      { logFile: command.outlives.logFile, output: outputs.stdout },
      options,
      release,
    );
  const merged = command.mergeOutputs
    ? await mergeOutputs({ run: (inner) => run(inner, { ...options, places: undefined }) })
    : undefined;
  stack.defer(async () => merged?.write.close());
  stack.defer(() => void merged?.output.destroy());
  const child = spawn(command, merged?.write.fd ?? "pipe");
  if (child.pid === undefined) return { kind: "not started", reason: startFailure(command, (await child).code) };
  stack.defer(await recordOrKill(child.pid, command, options));
  const printed = [
    [merged?.output ?? child.stdout, outputs.stdout],
    [child.stderr, outputs.stderr],
  ] as const;
  const closed = merged?.write.close();
  const read = Promise.all([closed, ...printed.map(([output, tail]) => collect(output, tail, logFile))]);
  const end = await exitOrStop(child, child.pid, command, options, release);
  const isLeft = command.leaveWhenKilled && isKilled(end);
  await Promise.race([read, delay(isLeft ? 0 : DRAIN_MS, undefined, { ref: false })]);
  for (const [output] of printed) output?.destroy();
  await read;
  return end;
}

/** It is not recorded, so that the daemon's next run does not end it; what it printed is read from its own file. */
async function runWithOwnLog(
  command: Command,
  { logFile, output }: { readonly logFile: string; readonly output: OutputTail },
  options: RunOptions,
  release: () => void,
): Promise<CommandEnd> {
  await using file = await openLog(logFile);
  const { size } = await file.stat();
  const child = spawn(command, file.fd);
  if (child.pid === undefined) return { kind: "not started", reason: startFailure(command, (await child).code) };
  const end = await exitOrStop(child, child.pid, command, options, release);
  const printed = createReadStream("", { fd: file.fd, start: size, autoClose: false });
  for await (const chunk of printed as AsyncIterable<Uint8Array>) output.push(chunk);
  return end;
}

function spawn(command: Command, outputsTo: number | "pipe") {
  const [program, ...args] = command.argv;
  // execa takes any descriptor; its types know those from 3 to 9.
  const outputs = outputsTo as 3 | "pipe";
  return execa(program, args, {
    cwd: command.cwd ?? "/",
    env: { ...BASE_ENVIRONMENT, ...command.env },
    extendEnv: false,
    detached: true,
    cleanup: false,
    ...(command.input === undefined ? { stdin: "ignore" } : { input: command.input }),
    stdout: outputs,
    stderr: outputs,
    encoding: "buffer",
    buffer: false,
    reject: false,
  });
}

/** A command that cannot be recorded must not run: nobody would find it again. */
async function recordOrKill(
  pid: number,
  command: Command,
  { recordFolder }: CommandRunnerOptions,
): Promise<() => void> {
  if (recordFolder === undefined) return () => {};
  try {
    return recordCommand(recordFolder, pid, formatCommand(command));
  } catch (error) {
    await endProcessGroup(pid, 0);
    throw new CommandError(`Command ${formatCommand(command)} was killed, it cannot be recorded: ${String(error)}`);
  }
}

async function collect(output: Readable | null, tail: OutputTail, logFile: LogFile | undefined): Promise<void> {
  if (output === null) return;
  try {
    for await (const chunk of output as AsyncIterable<Uint8Array>) {
      tail.push(chunk);
      await logFile?.append(chunk);
    }
  } catch {
    // The output was closed before its end, because something still held it open; what was read is kept.
  }
}

/** Wait for the program's end; on timeout or abort end its whole process group first. */
async function exitOrStop(
  child: ReturnType<typeof spawn>,
  pid: number,
  command: Command,
  { killGraceMs = DEFAULT_KILL_GRACE_MS }: RunOptions,
  release: () => void,
): Promise<CommandEnd> {
  const exited = new Promise<CommandEnd>((resolve) => {
    child.nodeChildProcess.once("exit", (exitCode, signal) =>
      resolve(signal === null ? { kind: "exit", exitCode: exitCode ?? 0 } : { kind: "signal", signal }),
    );
  });
  const settled = new AbortController();
  const stop = Promise.race([timeoutOf(command, settled.signal), abortOf(command, settled.signal)]);
  try {
    const first = await Promise.race([exited, stop]);
    // One that the kernel does not let end (state D) must not keep others from running.
    release();
    const killed = isKilled(first) ? endProcessGroup(pid, killGraceMs) : undefined;
    if (!command.leaveWhenKilled) await killed;
    return first;
  } finally {
    settled.abort(SETTLED);
  }
}

function isKilled({ kind }: CommandEnd): boolean {
  return kind === "timeout" || kind === "aborted";
}

async function timeoutOf(command: Command, settled: AbortSignal): Promise<CommandEnd> {
  await delay(command.timeoutMs, undefined, { signal: settled }).catch(() => {});
  return { kind: "timeout" };
}

async function abortOf(command: Command, settled: AbortSignal): Promise<CommandEnd> {
  await new Promise<void>((resolve) => {
    if (command.signal?.aborted) resolve();
    command.signal?.addEventListener("abort", () => resolve(), { once: true, signal: settled });
  });
  return { kind: "aborted" };
}
