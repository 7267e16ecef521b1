/** The users file, read again whenever it changes, so that rights change without a restart. */
import { type FSWatcher, watch } from "node:fs";
import { open } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Logger } from "@gannet/telemetry";
import { parseUsers, UsersFileError, UsersTable } from "./users-table.ts";

/** Far above any real file; a bound so that a wrong path cannot fill the memory. */
const MAX_BYTES = 4 * 1024 * 1024;
/** Network file systems and replaced directories send no events; then a change takes this long to be seen. */
const CHECK_INTERVAL_MS = 2000;
/** An editor that writes the file in place empties it first: what it is in the middle of is not looked at. */
const SETTLE_MS = 50;

export class UsersFile {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #listeners = new Set<() => void>();
  #table = new UsersTable();
  /** Tells one version of the file from another; undefined when there is none. */
  #version: string | undefined;
  #failure: string | undefined;
  #reading: Promise<void> | undefined;
  #again = false;
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #settling: NodeJS.Timeout | undefined;

  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
  }

  /** The users of the last version that could be read. */
  get table(): UsersTable {
    return this.#table;
  }

  /** Read the file and go on watching it. A file that is missing or broken means no users until it is mended. */
  async start(): Promise<void> {
    await this.refresh();
    this.#timer = setInterval(() => void this.refresh(), CHECK_INTERVAL_MS).unref();
    try {
      // The directory, not the file: editors and deployment tools replace the file by renaming another over it.
      this.#watcher = watch(dirname(this.#path), { persistent: false }, (_event, name) => {
        if (name === null || name === basename(this.#path)) this.#refreshSoon();
      });
      this.#watcher.on("error", (error) => this.#logger.warn({ err: error }, "the users file is only checked by time"));
    } catch (error) {
      this.#logger.warn({ err: error }, "the users file is only checked by time");
    }
  }

  stop(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#settling);
    this.#watcher?.close();
  }

  /** Called after each change of the users. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** Look whether the file changed, and take it over if it did. Never throws. */
  async refresh(): Promise<void> {
    if (this.#reading !== undefined) {
      this.#again = true;
      return this.#reading;
    }
    this.#reading = this.#readUntilQuiet();
    await this.#reading;
  }

  #refreshSoon(): void {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => void this.refresh(), SETTLE_MS).unref();
  }

  async #readUntilQuiet(): Promise<void> {
    do {
      this.#again = false;
      await this.#read();
    } while (this.#again);
    this.#reading = undefined;
  }

  async #read(): Promise<void> {
    try {
      await using file = await open(this.#path, "r");
      const stat = await file.stat({ bigint: true });
      const version = `${stat.ino}/${stat.size}/${stat.mtimeNs}`;
      if (version === this.#version) return;
      if (!stat.isFile() || stat.size > MAX_BYTES) throw new UsersFileError(`is no file of at most ${MAX_BYTES} bytes`);
      this.#version = version;
      const table = parseUsers(await file.readFile("utf8"));
      if ((stat.mode & 0o077n) !== 0n)
        this.#logger.warn({ file: this.#path }, "others than its owner have rights on the users file; chmod 600 it");
      this.#take(table);
    } catch (error) {
      this.#keep(error);
    }
  }

  #take(table: UsersTable): void {
    this.#table = table;
    this.#failure = undefined;
    this.#logger.info({ file: this.#path, users: table.size }, "users read");
    for (const listener of this.#listeners) listener();
  }

  #keep(error: unknown): void {
    if (!(error instanceof UsersFileError)) this.#version = undefined;
    const reason =
      error instanceof UsersFileError
        ? error.message
        : `cannot be read: ${(error as NodeJS.ErrnoException).code ?? "unknown"}`;
    if (reason === this.#failure) return;
    this.#failure = reason;
    this.#logger.error({ file: this.#path, users: this.#table.size }, `the users stay as they were: ${reason}`);
  }
}
