/** What the program writes to and asks through. */
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { Interrupted } from "./exit-codes.ts";

export interface Terminal {
  /** What was asked for: to standard output, with a line's end. */
  readonly out: (text: string) => void;
  /** What goes on beside it: to standard error. */
  readonly note: (text: string) => void;
  /** Replaces the last line of notes that is not finished; empty: takes it away. Only where {@link isLive}. */
  readonly overwrite: (text: string) => void;
  /** Somebody looks at what is noted as it happens. */
  readonly isLive: boolean;
  /** Somebody can answer. */
  readonly isInteractive: boolean;
  readonly columns: number;
  readonly ask: (question: string) => Promise<string>;
  /** The answer is not shown. */
  readonly askSecret: (question: string) => Promise<string>;
}

const DEFAULT_COLUMNS = 80;

/** The terminal that this process was started from. */
export function processTerminal(): Terminal {
  const { stdin, stdout, stderr } = process;
  return {
    out: (text) => void stdout.write(`${text}\n`),
    note: (text) => void stderr.write(`${text}\n`),
    overwrite: (text) => void stderr.write(`\r\u001b[K${text}`),
    isLive: stderr.isTTY === true,
    isInteractive: stdin.isTTY === true && stderr.isTTY === true,
    columns: stderr.columns ?? DEFAULT_COLUMNS,
    ask: (question) => asked(question, stderr),
    askSecret: async (question) => {
      stderr.write(question);
      const answer = await asked("", new Writable({ write: (_chunk, _encoding, done) => done() }));
      stderr.write("\n");
      return answer;
    },
  };
}

async function asked(question: string, output: NodeJS.WritableStream): Promise<string> {
  const lines = createInterface({ input: process.stdin, output, terminal: true });
  const gone = new AbortController();
  // Ctrl-C, and the end of what is typed: no answer will come.
  for (const event of ["SIGINT", "close"] as const) lines.once(event, () => gone.abort());
  try {
    return await lines.question(question, { signal: gone.signal });
  } catch (error) {
    if (gone.signal.aborted) throw new Interrupted("Nothing was done", { cause: error });
    throw error;
  } finally {
    lines.close();
  }
}
