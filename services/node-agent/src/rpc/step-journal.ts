/** The answers of finished steps, on disk, so that a step that is asked for again is not done again. */
import { type FileHandle, open, readFile } from "node:fs/promises";
import { OpExecError, type WireError } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";
import { z } from "zod";
import { replaceDurably } from "../durable-file.ts";
import { undefinedWhenMissing } from "../errno.ts";

/** What a step was answered with: the serialized reply, or the error. */
export type StepAnswer = { readonly reply: Buffer } | { readonly error: WireError };

export interface StepJournalLimits {
  /** Older answers are forgotten; a step that is repeated after that is done again, which drivers allow. */
  readonly maxAgeMs: number;
  readonly maxAnswers: number;
}

/** A master repeats a step within minutes, or after its own restart. 20,000 answers take some 5 MB of memory. */
const LIMITS: StepJournalLimits = { maxAgeMs: 7 * 24 * 60 * 60 * 1000, maxAnswers: 20_000 };
/** The file is rewritten when more than this many of its lines, and more than half of them, are forgotten. */
const COMPACT_AFTER_LINES = 1_000;

const line = z.object({
  step: z.string(),
  /** Milliseconds since 1970. */
  at: z.number(),
  /** The kernel's name for the boot in which it was answered; agents of old did not note it. */
  boot: z.string().optional(),
  /** Base64. */
  reply: z.string().optional(),
  error: z.object({ kind: z.string(), message: z.string(), code: z.string().optional() }).optional(),
});

interface Entry {
  readonly at: number;
  readonly text: string;
}

/**
 * One JSON line an answer, appended and forced to disk before the answer goes out; answers that finish together
 * share one write. Only the last line can be torn by a crash, and its answer has not gone out.
 */
export class StepJournal {
  readonly #file: string;
  readonly #boot: string;
  readonly #limits: StepJournalLimits;
  /** By step, oldest first. */
  readonly #entries: Map<string, Entry>;
  #handle: FileHandle;
  #lines: number;
  #pending: { readonly step: string; readonly entry: Entry; readonly written: PromiseWithResolvers<void> }[] = [];
  #writing: Promise<void> | undefined;

  private constructor(parts: {
    file: string;
    boot: string;
    limits: StepJournalLimits;
    entries: Map<string, Entry>;
    handle: FileHandle;
  }) {
    this.#file = parts.file;
    this.#boot = parts.boot;
    this.#limits = parts.limits;
    this.#entries = parts.entries;
    this.#handle = parts.handle;
    this.#lines = parts.entries.size;
  }

  /** @param boot - the present one's name */
  static async open(
    file: string,
    { boot, logger }: { readonly boot: string; readonly logger: Logger },
    limits: StepJournalLimits = LIMITS,
  ): Promise<StepJournal> {
    const entries = readEntries((await readFile(file, "utf8").catch(undefinedWhenMissing)) ?? "", file, logger);
    forget(entries, limits);
    await replaceDurably(file, textOf(entries));
    return new StepJournal({ file, boot, limits, entries, handle: await open(file, "a", 0o600) });
  }

  /**
   * Undefined for a step that never finished here, or too long ago.
   * @param of - whether an answer of a former boot counts
   */
  answer(step: string, of: "any boot" | "this boot" = "any boot"): StepAnswer | undefined {
    const entry = this.#entries.get(step);
    if (entry === undefined) return undefined;
    const { reply, error, boot = this.#boot } = line.parse(JSON.parse(entry.text));
    if (of === "this boot" && boot !== this.#boot) return undefined;
    if (reply !== undefined) return { reply: Buffer.from(reply, "base64") };
    return error === undefined ? undefined : { error: wireError(error) };
  }

  /** Resolves when the answer is on disk. @throws OpExecError when it cannot be written, as on a full disk */
  async record(step: string, answer: StepAnswer): Promise<void> {
    const at = Date.now();
    const content = "reply" in answer ? { reply: answer.reply.toString("base64") } : { error: answer.error };
    const text = JSON.stringify({ step, at, boot: this.#boot, ...content });
    const written = Promise.withResolvers<void>();
    this.#pending.push({ step, entry: { at, text }, written });
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
    });
    await written.promise;
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#handle.close();
  }

  async #writeAll(): Promise<void> {
    while (this.#pending.length > 0) {
      const batch = this.#pending.splice(0);
      try {
        await this.#compactWhenLong();
        await this.#append(batch.map(({ entry }) => `${entry.text}\n`).join(""));
        this.#lines += batch.length;
        // Before the next batch, which may write the file anew from what is known here.
        for (const { step, entry } of batch) this.#keep(step, entry);
        for (const { written } of batch) written.resolve();
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        const failure = new OpExecError(`The answer of a step cannot be kept in ${this.#file} on this node: ${why}`);
        for (const { written } of batch) written.reject(failure);
      }
    }
  }

  #keep(step: string, entry: Entry): void {
    this.#entries.delete(step);
    this.#entries.set(step, entry);
    forget(this.#entries, this.#limits);
  }

  /** A write that fails half-way is cut off again, or it would spoil the line after it. */
  async #append(text: string): Promise<void> {
    const { size } = await this.#handle.stat();
    try {
      await this.#handle.appendFile(text);
      await this.#handle.datasync();
    } catch (error) {
      await this.#handle.truncate(size).catch(() => {});
      throw error;
    }
  }

  async #compactWhenLong(): Promise<void> {
    const forgotten = this.#lines - this.#entries.size;
    if (forgotten < COMPACT_AFTER_LINES || forgotten < this.#lines / 2) return;
    await replaceDurably(this.#file, textOf(this.#entries));
    const replaced = await open(this.#file, "a", 0o600);
    await this.#handle.close();
    this.#handle = replaced;
    this.#lines = this.#entries.size;
  }
}

function readEntries(text: string, file: string, logger: Logger): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  const lines = text.split("\n").filter((candidate) => candidate !== "");
  for (const candidate of lines) {
    const parsed = parseLine(candidate);
    if (parsed === undefined) logger.warn({ file }, "a line of the step journal cannot be read and is left out");
    else {
      entries.delete(parsed.step);
      entries.set(parsed.step, { at: parsed.at, text: candidate });
    }
  }
  return entries;
}

function parseLine(text: string): z.infer<typeof line> | undefined {
  try {
    return line.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** The oldest go first. */
function forget(entries: Map<string, Entry>, limits: StepJournalLimits): void {
  const oldest = Date.now() - limits.maxAgeMs;
  for (const [step, { at }] of entries) {
    if (entries.size <= limits.maxAnswers && at >= oldest) return;
    entries.delete(step);
  }
}

function textOf(entries: ReadonlyMap<string, Entry>): string {
  return [...entries.values()].map(({ text }) => `${text}\n`).join("");
}

function wireError(error: NonNullable<z.infer<typeof line>["error"]>): WireError {
  return error.code === undefined
    ? { kind: error.kind, message: error.message }
    : { kind: error.kind, message: error.message, code: error.code };
}
