/**
 * Who changed what, when and from where: a file of JSON lines that is only ever appended to. Lines are kept while they
 * cannot be written (the disk is full), as many as memory allows, and written when they can be.
 */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { ConfigurationError, Unavailable } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";

/** One line of the file. Never a secret, and nothing of a request's body. */
export interface AuditEntry {
  /** As the client named himself where the login was refused. */
  readonly user: string | null;
  /** Id of the API token that stood for the user. */
  readonly token?: string;
  readonly address: string;
  readonly method: string;
  readonly path: string;
  readonly opcodes?: readonly string[];
  readonly job?: number;
  /** What the request made or removed, where its path does not say it. */
  readonly subject?: string;
  /** Of the answer; null when the client went away before. */
  readonly status: number | null;
}

export interface AuditLogOptions {
  /** Made with mode 0600 when it is not there. */
  readonly file: string;
  /** While lines cannot be written: go on without, saying so in the log, or refuse all that would be recorded. */
  readonly whenUnwritable: "continue" | "refuse";
  readonly logger: Logger;
}

const FLAGS = constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY | constants.O_NOFOLLOW;
/** Some megabytes; more are counted and lost. */
const BACKLOG_LINES = 20_000;
const RETRY_MS = 1_000;

export class AuditLog {
  readonly #options: AuditLogOptions;
  #file: FileHandle | undefined;
  #lines: Buffer[] = [];
  #lost = 0;
  #failure: string | undefined;
  #writing: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #reopening = false;

  private constructor(options: AuditLogOptions, file: FileHandle) {
    this.#options = options;
    this.#file = file;
  }

  /** @throws ConfigurationError when the file cannot be opened */
  static async open(options: AuditLogOptions): Promise<AuditLog> {
    const file = await open(options.file, FLAGS, 0o600).catch((cause: NodeJS.ErrnoException) => {
      throw new ConfigurationError(`The audit log ${options.file} cannot be opened: ${cause.code}`, { cause });
    });
    return new AuditLog(options, file);
  }

  /** Soon on disk. Never throws, and nobody waits for it. */
  record(entry: AuditEntry): void {
    if (this.#lines.length >= BACKLOG_LINES) {
      this.#lost += 1;
      return;
    }
    this.#lines.push(Buffer.from(`${JSON.stringify({ time: new Date().toISOString(), ...entry })}\n`));
    this.#write();
  }

  /**
   * Before something that will be recorded is done.
   * @throws Unavailable when nothing can be recorded, and the cluster's administrator wants nothing done then
   */
  async admit(): Promise<void> {
    if (this.#failure === undefined || this.#options.whenUnwritable === "continue") return;
    this.#write();
    await this.#writing;
    if (this.#failure !== undefined)
      throw new Unavailable(`Nothing is changed while the audit log cannot be written: ${this.#failure}`);
  }

  /** Go on in the file of this name, which logrotate has made anew. */
  async reopen(): Promise<void> {
    this.#reopening = true;
    this.#write();
    await this.#writing;
  }

  /** What can be written is written. */
  async close(): Promise<void> {
    clearTimeout(this.#retry);
    this.#write();
    await this.#writing;
    clearTimeout(this.#retry);
    await this.#file?.close();
    this.#file = undefined;
  }

  #write(): void {
    if (this.#writing !== undefined || (this.#lines.length === 0 && !this.#reopening)) return;
    this.#writing = this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    clearTimeout(this.#retry);
    try {
      while (this.#lines.length > 0 || this.#reopening) {
        const file = await this.#current();
        const text = Buffer.concat(this.#lines);
        const count = this.#lines.length;
        if (text.length === 0) continue;
        const { bytesWritten } = await file.write(text);
        // On a disk that fills up part of a line may be written: the rest of it follows.
        const rest = text.subarray(bytesWritten);
        this.#lines.splice(0, count, ...(rest.length > 0 ? [rest] : []));
        this.#recovered();
      }
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#writing = undefined;
    }
  }

  async #current(): Promise<FileHandle> {
    if (this.#reopening || this.#file === undefined) {
      const old = this.#file;
      this.#file = await open(this.#options.file, FLAGS, 0o600);
      this.#reopening = false;
      await old?.close();
    }
    return this.#file;
  }

  #recovered(): void {
    if (this.#failure === undefined && this.#lost === 0) return;
    this.#options.logger.warn({ lost: this.#lost }, "the audit log is written again");
    this.#failure = undefined;
    this.#lost = 0;
  }

  #failed(error: unknown): void {
    const reason = (error as NodeJS.ErrnoException).code ?? "unknown";
    const { file, logger, whenUnwritable } = this.#options;
    if (reason !== this.#failure)
      logger.error(
        { err: error, file, waiting: this.#lines.length, lost: this.#lost },
        whenUnwritable === "refuse"
          ? "the audit log cannot be written: changes are refused"
          : "the audit log cannot be written: changes go on, and are recorded later if memory lasts",
      );
    this.#failure = reason;
    this.#retry = setTimeout(() => this.#write(), RETRY_MS).unref();
  }
}
