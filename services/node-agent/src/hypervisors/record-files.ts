/** One JSON file a guest, in which a driver keeps what it must know again after the agent was restarted. */
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";
import type { Logger } from "@gannet/telemetry";
import type { z } from "zod";

const SUFFIX = ".json";

/**
 * Files are replaced as a whole. They are not forced to disk: what they describe, a process, does not survive a
 * crash of the machine either.
 */
export class RecordFiles<Record> {
  readonly #folder: string;
  readonly #schema: z.ZodType<Record>;
  readonly #logger: Logger;

  constructor(folder: string, schema: z.ZodType<Record>, logger: Logger) {
    this.#folder = folder;
    this.#schema = schema;
    this.#logger = logger;
  }

  /**
   * Every record that can be read. One that cannot is set aside under another name, so that it neither stops the
   * agent nor is taken for nothing.
   */
  async readAll(): Promise<readonly Record[]> {
    const records: Record[] = [];
    for (const entry of await readdir(this.#folder).catch(() => [])) {
      const file = path.join(this.#folder, entry);
      if (entry.endsWith(".tmp")) await rm(file, { force: true });
      if (!entry.endsWith(SUFFIX)) continue;
      const record = await this.#read(file);
      if (record !== undefined) records.push(record);
    }
    return records;
  }

  async write(stem: string, record: Record): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const temporary = path.join(this.#folder, `${stem}.tmp`);
    const file = await open(temporary, "w", 0o600);
    try {
      await file.writeFile(JSON.stringify(record));
    } finally {
      await file.close();
    }
    await rename(temporary, path.join(this.#folder, `${stem}${SUFFIX}`));
  }

  async remove(stem: string): Promise<void> {
    await rm(path.join(this.#folder, `${stem}${SUFFIX}`), { force: true });
  }

  async #read(file: string): Promise<Record | undefined> {
    try {
      return this.#schema.parse(JSON.parse(await readFile(file, "utf8")));
    } catch (error) {
      this.#logger.error({ file, error }, "a guest's record cannot be read and is set aside");
      await rename(file, `${file}.broken`);
      return undefined;
    }
  }
}
