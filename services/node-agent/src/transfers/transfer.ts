/** One transfer that runs: its programs, watched until they have ended. */
import { EventEmitter } from "node:events";
import { readFile } from "node:fs/promises";
import { CommandError, GannetError } from "@gannet/errors";
import type { PipelineRunner, PipelineStage } from "@gannet/exec";
import type { Logger } from "@gannet/telemetry";
import { CUT, type LineLog, masked } from "../os/index.ts";
import { isDdRecordCount, parseDdBytes } from "./dd.ts";
import { ProgressMeter } from "./progress.ts";
import { parseSocatLine } from "./socat.ts";
import type { Program } from "./stages.ts";
import type { TransferState } from "./transfers.ts";

export interface TransferParts {
  readonly name: string;
  readonly stages: (transfer: Transfer) => readonly PipelineStage[];
  /** Open files that the programs read and write. */
  readonly input?: number;
  readonly output?: number;
  readonly connectTimeoutSeconds: number;
  /** Null when unknown; asked at each look. */
  readonly expectedMib: () => Promise<number | null>;
  /** Values that must not appear in what is told. */
  readonly secrets: readonly string[];
  /** For what its script says, if it has one; closed by `cleanUp`. */
  readonly log?: LineLog;
  readonly runner: PipelineRunner;
  readonly logger: Logger;
  /** What its success takes besides that of its programs. */
  readonly complete?: (signal: AbortSignal) => Promise<void>;
  /** Let go of what was held for it; called once, when its programs have ended. */
  readonly cleanUp: () => Promise<void>;
}

/** Nothing is transferred for longer; a bound for what everybody has forgotten. */
const LONGEST_MS = 7 * 24 * 60 * 60 * 1000;
/** Between questions to dd how far it is. */
const LOOK_MS = 1_000;
const RECENT_LINES = 20;
/** A line so long may have lost its beginning (libs/exec). */
const LONG_LINE_CHARS = 4096;
/** As signals are counted in a process's masks (proc_pid_status(5)): bit n-1. */
const SIGUSR1_BIT = 1n << 9n;

export class Transfer {
  readonly name: string;
  /** Emits `change`, at each. */
  readonly changes = new EventEmitter();
  /** Resolves, never rejects, when its programs have ended and nothing is held for it. */
  readonly ended: Promise<void>;
  readonly #parts: TransferParts;
  readonly #abort = new AbortController();
  readonly #meter = new ProgressMeter();
  readonly #recentOutput: string[] = [];
  #listenPort = 0;
  #connected = false;
  #expectedMib: number | null = null;
  #problem = "";
  #endedAtMs: number | undefined;
  #ddPid: number | undefined;

  constructor(parts: TransferParts) {
    this.#parts = parts;
    this.name = parts.name;
    // Each follower listens to each of its transfers.
    this.changes.setMaxListeners(0);
    this.#meter.note(0, performance.now());
    this.ended = this.#run();
  }

  get state(): TransferState {
    return {
      name: this.name,
      listenPort: this.#listenPort,
      connected: this.#connected,
      ...this.#meter.progress(this.#expectedMib),
      over: this.#endedAtMs !== undefined,
      problem: this.#problem,
      recentOutput: [...this.#recentOutput],
    };
  }

  /** By the clock of performance.now(); undefined while it runs. */
  get endedAtMs(): number | undefined {
    return this.#endedAtMs;
  }

  /** End it, and wait until it has ended. The reason is its problem, unless it is over already. */
  async end(reason: string): Promise<void> {
    this.#stop(reason);
    await this.ended;
  }

  /** For {@link TransferParts.stages}. */
  noteDdStart(pid: number): void {
    this.#ddPid = pid;
  }

  noteLine(program: Program, line: string): void {
    if (program === "script") this.#parts.log?.write(line);
    const changed = program === "socat" ? this.#noteSocat(line) : this.#noteOther(program, line);
    if (changed) this.changes.emit("change");
  }

  async #run(): Promise<void> {
    const { runner, logger, name, connectTimeoutSeconds, input, output } = this.#parts;
    const looks = setInterval(() => void this.#look(), LOOK_MS);
    const connecting = setTimeout(() => {
      if (!this.#connected) this.#stop(`Both ends have not found each other within ${connectTimeoutSeconds} s`);
    }, connectTimeoutSeconds * 1000);
    try {
      await this.#lookForSize();
      await runner.runPipeline({
        stages: this.#parts.stages(this),
        ...(input === undefined ? {} : { input }),
        ...(output === undefined ? {} : { output }),
        timeoutMs: LONGEST_MS,
        signal: this.#abort.signal,
      });
      if (!this.#connected) this.#problem ||= "Nothing was connected";
      else await this.#parts.complete?.(this.#abort.signal);
    } catch (error) {
      if (!(error instanceof GannetError) && !this.#abort.signal.aborted)
        logger.error({ transfer: name, err: error }, "a transfer failed by a defect");
      this.#problem ||= this.#told(error);
    } finally {
      clearInterval(looks);
      clearTimeout(connecting);
      await this.#lookForSize();
      await this.#parts.cleanUp().catch((error: unknown) => {
        logger.warn({ transfer: name, error: String(error) }, "what was held for a transfer cannot be removed");
      });
      this.#endedAtMs = performance.now();
      logger.info({ transfer: name, problem: this.#problem, ...this.#meter.progress(null) }, "transfer over");
      this.changes.emit("change");
    }
  }

  #stop(reason: string): void {
    if (this.#endedAtMs !== undefined) return;
    this.#problem ||= reason;
    this.#abort.abort();
  }

  #noteSocat(line: string): boolean {
    const news = parseSocatLine(line);
    switch (news.kind) {
      case "listening":
        // After a refused connection it listens again, at the same place.
        this.#listenPort ||= news.port;
        return true;
      case "connected":
        this.#connected = true;
        return true;
      case "notice":
        return false;
      case "problem":
        return this.#noteRecent("socat", news.text);
    }
  }

  #noteOther(program: Program, line: string): boolean {
    const bytes = program === "dd" ? parseDdBytes(line) : undefined;
    if (bytes !== undefined) {
      this.#meter.note(bytes, performance.now());
      return true;
    }
    if (program === "dd" && isDdRecordCount(line)) return false;
    return this.#noteRecent(program, line);
  }

  #noteRecent(program: Program, text: string): boolean {
    // Programs that are ended here say so.
    if (this.#abort.signal.aborted) return false;
    const cut = text.length >= LONG_LINE_CHARS ? CUT : "";
    this.#recentOutput.push(this.#masked(`${program}: ${cut}${text}`));
    if (this.#recentOutput.length > RECENT_LINES) this.#recentOutput.shift();
    return true;
  }

  #told(error: unknown): string {
    const { log } = this.#parts;
    const message = this.#masked(error instanceof Error ? error.message : String(error));
    return log === undefined || !(error instanceof CommandError) ? message : `${message} (log: ${log.path})`;
  }

  #masked(text: string): string {
    return masked(text, this.#parts.secrets);
  }

  async #lookForSize(): Promise<void> {
    this.#expectedMib = await this.#parts.expectedMib();
  }

  async #look(): Promise<void> {
    await this.#lookForSize();
    if (this.#ddPid !== undefined) await askDd(this.#ddPid);
  }
}

/**
 * dd answers SIGUSR1 with a line, once it is ready for it; before, and any other program, it would kill. What has the
 * process id when dd has ended is hardly a dd of this agent's, and if so, it is asked in vain.
 */
async function askDd(pid: number): Promise<void> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)$`, "m").exec(status)?.[1];
  const caught = BigInt(`0x${field("SigCgt") ?? "0"}`);
  if (field("Name") !== "dd" || field("PPid") !== String(process.pid) || (caught & SIGUSR1_BIT) === 0n) return;
  try {
    process.kill(pid, "SIGUSR1");
  } catch {
    // It has just ended.
  }
}
