/** A job's log as it comes: lines, and a bar for what tells how far it is. */
import type { Job } from "@gannet/rapi-client";
import type { Terminal } from "../terminal.ts";
import { timeText } from "./cell-text.ts";

export type LogEntry = Job["oplog"][number][number];

/** What tells of progress: `- device disk/0: 12.50% done, 1m 3s remaining (estimated)`. */
export interface Progress {
  /** What is being done. */
  readonly label: string;
  /** 0 to 100. */
  readonly percent: number;
  /** What else is said. */
  readonly rest: string;
}

const PERCENT = /^(.*?)\(?\b(\d{1,3}(?:\.\d+)?)\s?%\)?\s*(.*)$/s;

/** The progress that a log's text tells of; undefined where it tells of something else. */
export function progressOf(text: string): Progress | undefined {
  const [, before = "", digits = "", after = ""] = PERCENT.exec(text) ?? [];
  const percent = Number(digits);
  if (digits === "" || percent > 100) return undefined;
  const label = before
    .replace(/^[\s*-]*(?:INFO|WARNING): /, "")
    .replace(/^[\s*-]+/, "")
    .replace(/[\s:,]+$/, "");
  return { label, percent, rest: after.replace(/^[\s,]+/, "") };
}

const LONGEST_BAR = 40;
const SHORTEST_BAR = 10;

/** `disk/0 [#####.....]  50.0 % 1m remaining`, cut to the terminal's width. */
export function barText({ label, percent, rest }: Progress, columns: number): string {
  const tail = ` ${percent.toFixed(1).padStart(5)} % ${rest}`;
  const room = columns - 1 - label.length - tail.length - 3;
  const width = Math.max(SHORTEST_BAR, Math.min(LONGEST_BAR, room));
  const done = Math.round((percent / 100) * width);
  return `${label} [${"#".repeat(done)}${".".repeat(width - done)}]${tail}`.slice(0, columns - 1);
}

/** Writes log entries, each once. */
export class JobLogWriter {
  readonly #terminal: Terminal;
  readonly #prefix: string;
  #bar = false;

  /** @param prefix before each line, where several jobs write at the same time */
  constructor(terminal: Terminal, prefix = "") {
    this.#terminal = terminal;
    this.#prefix = prefix;
  }

  write([, [seconds], type, payload]: LogEntry): void {
    const text = type === "message" || typeof payload === "string" ? String(payload) : JSON.stringify(payload);
    const progress = this.#terminal.isLive ? progressOf(text) : undefined;
    if (progress !== undefined) {
      this.#terminal.overwrite(barText(progress, this.#terminal.columns));
      this.#bar = true;
      return;
    }
    this.end();
    this.#terminal.note(`${timeText(seconds).slice(11)} ${this.#prefix}${onOneLine(text)}`);
  }

  /** Take the bar away. */
  end(): void {
    if (this.#bar) this.#terminal.overwrite("");
    this.#bar = false;
  }
}

function onOneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a log must not move a terminal's cursor
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, " ").trimEnd();
}
