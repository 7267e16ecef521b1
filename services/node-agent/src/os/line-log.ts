/** The log of a script that is part of something larger, which hands on what the script says line by line. */
import { type LogFile, openLogFile } from "@gannet/exec";
import type { Logger } from "@gannet/telemetry";

export class LineLog {
  readonly path: string;
  readonly #file: LogFile;
  #written: Promise<void> = Promise.resolve();
  #isClosed = false;

  private constructor(path: string, file: LogFile) {
    this.path = path;
    this.#file = file;
  }

  /**
   * @param path - appended to, bounded as commands' logs are (libs/exec)
   * @param logger - told when it cannot be written later, which ends the writing: it must not fail the script
   * @throws CommandError when it cannot be opened
   */
  static async open(path: string, logger: Logger): Promise<LineLog> {
    return new LineLog(path, await openLogFile(path, logger));
  }

  /** @param line - without its end */
  write(line: string): void {
    if (this.#isClosed) return;
    this.#written = this.#written.then(() => this.#file.append(Buffer.from(`${line}\n`)));
  }

  /** Resolves when all lines are in the file. Lines that come later are dropped. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#written;
    await this.#file.close();
  }
}
