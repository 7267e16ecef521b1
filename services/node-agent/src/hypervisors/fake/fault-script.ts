/** Faults on order: what the fake hypervisor shall do wrong, read from a file that tests and trials write. */
import { type FSWatcher, watch } from "node:fs";
import { mkdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { HypervisorError } from "@gannet/errors";
import { z } from "zod";
import { isErrno } from "../../errno.ts";

const fault = z.strictObject({
  /** `crash` strikes guests that run when the file is written, or when the agent starts. */
  operation: z.enum([
    "validate",
    "start",
    "stop",
    "reboot",
    "crash",
    "migrationInfo",
    "acceptMigration",
    /** The delay is how long the sending takes; the error is what ends it then. */
    "migrate",
    "finishMigrationSource",
    "finishMigrationTarget",
    "setMemory",
    "checkHotplug",
    "plug",
    "unplug",
    "replug",
    "resizeDisk",
  ]),
  /** The one guest it is for; every guest without it. */
  guest: z.string().optional(),
  /** How often it strikes; always without it. Counted anew when the file changes or the agent starts. */
  times: z.int().positive().optional(),
  /** The operation takes this much longer; a crash comes this much later. */
  delayMs: z.int().nonnegative().default(0),
  /** After the delay the operation fails with this message. */
  error: z.string().optional(),
  /** A guest that was started crashes after this time. */
  crashAfterMs: z.int().nonnegative().optional(),
});

/** `{"faults": [{"operation": "start", "times": 1, "error": "no luck"}, …]}` */
const script = z.strictObject({ faults: z.array(fault) });

export type Fault = z.output<typeof fault>;
export type FaultyOperation = Fault["operation"];

export class FaultScript {
  readonly #path: string;
  #fileVersion = "";
  #left: { readonly fault: Fault; times: number }[] = [];
  #watcher: FSWatcher | undefined;

  constructor(file: string) {
    this.#path = file;
  }

  /**
   * The first fault of the file that applies, used once.
   * @throws HypervisorError when the file cannot be read as faults
   */
  async next(operation: FaultyOperation, guestName: string): Promise<Fault | undefined> {
    await this.#reload();
    const found = this.#left.find(
      ({ fault, times }) => times > 0 && fault.operation === operation && (fault.guest ?? guestName) === guestName,
    );
    if (found === undefined) return undefined;
    found.times -= 1;
    return found.fault;
  }

  /** Call back whenever the file may have changed, until `close`. */
  async watch(onChange: () => void): Promise<void> {
    const folder = path.dirname(this.#path);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    this.#watcher = watch(folder, { persistent: false }, (_, name) => {
      if (name === path.basename(this.#path)) onChange();
    });
  }

  close(): void {
    this.#watcher?.close();
  }

  async #reload(): Promise<void> {
    const fileVersion = await versionOf(this.#path);
    if (fileVersion === this.#fileVersion) return;
    const faults = fileVersion === "" ? [] : await this.#read();
    this.#fileVersion = fileVersion;
    this.#left = faults.map((fault) => ({ fault, times: fault.times ?? Number.POSITIVE_INFINITY }));
  }

  async #read(): Promise<readonly Fault[]> {
    try {
      return script.parse(JSON.parse(await readFile(this.#path, "utf8"))).faults;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new HypervisorError(`The faults in ${this.#path} cannot be read: ${reason}`, { cause: error });
    }
  }
}

/** Empty when there is no file. */
async function versionOf(file: string): Promise<string> {
  try {
    const { ino, size, mtimeNs } = await stat(file, { bigint: true });
    return `${ino}:${size}:${mtimeNs}`;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return "";
    throw error;
  }
}
