/** The log of a script that is part of something larger, which hands on what the script says line by line. */
import { createWriteStream, type WriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import type { Logger } from "@gannet/telemetry";

/** As of commands (libs/exec): what one script may add; the rest is dropped with a note. */
const LIMIT_BYTES = 16 * 1024 * 1024;

export class LineLog {
  readonly path: string;
  readonly #stream: WriteStream;
  #leftBytes = LIMIT_BYTES;

  /**
   * @param path - appended to
   * @param logger - told when the file cannot be written, which ends the writing: it must not fail the script
   */
  constructor(path: string, logger: Logger) {
    this.path = path;
    this.#stream = createWriteStream(path, { flags: "a", mode: 0o600 });
    this.#stream.on("error", (error) => {
      this.#leftBytes = 0;
      logger.warn({ path, error }, "a script's log cannot be written");
    });
  }

  /** @param line - without its end */
  write(line: string): void {
    if (this.#leftBytes === 0) return;
    const part = Buffer.from(`${line}\n`).subarray(0, this.#leftBytes);
    this.#leftBytes -= part.length;
    this.#stream.write(part);
    if (this.#leftBytes === 0) this.#stream.write(`\n[output beyond ${LIMIT_BYTES} bytes is not kept]\n`);
  }

  /** Resolves, never rejects, when all lines are in the file. Lines that come later are dropped. */
  async close(): Promise<void> {
    this.#leftBytes = 0;
    this.#stream.end();
    await finished(this.#stream).catch(() => {});
  }
}
