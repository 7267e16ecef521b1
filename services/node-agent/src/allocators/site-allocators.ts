/** Allocators that the site has installed: programs that read a cluster from a file and print where to place what. */
import { constants } from "node:fs";
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { CommandError, OpExecError, OpPrereqError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";

/** spec/os-iallocator-hooks.json, `iallocator.search_path`. */
export const GANETI_ALLOCATOR_SEARCH_PATH: readonly string[] = [
  "/usr/local/lib/ganeti/iallocators",
  "/usr/lib/ganeti/iallocators",
];

export interface SiteAllocatorParts {
  /** The first folder that has a program of the name is taken. */
  readonly searchPath: readonly string[];
  /** The agent's own; inputs are files in it while they are read. */
  readonly stateDir: string;
  readonly runner: CommandRunner;
}

export interface AllocatorRun {
  readonly name: string;
  readonly input: string;
  readonly arguments: readonly string[];
}

/** Below the deadline of the call. */
const TIMEOUT_MS = 10 * 60_000;
const OUTPUT_LIMIT_BYTES = 16 * 1024 * 1024;
/** No path, and nothing that a program could take for an option. */
const PROGRAM_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.+-]*$/;
const OPTION = /^--[a-z]/;

export class SiteAllocators {
  readonly #parts: SiteAllocatorParts;

  constructor(parts: SiteAllocatorParts) {
    this.#parts = parts;
  }

  /**
   * @returns what it printed
   * @throws OpPrereqError (wrong_input, unknown_entity) when there is no such program here; OpExecError with all that it
   *   printed when it fails
   */
  async run(run: AllocatorRun, signal: AbortSignal): Promise<string> {
    const program = await this.#find(run.name);
    const strange = run.arguments.find((argument) => !OPTION.test(argument));
    if (strange !== undefined)
      throw new OpPrereqError(`'${strange}' is no option of an allocator: they begin with --`, "wrong_input");
    const folder = await mkdtemp(path.join(this.#parts.stateDir, "allocator-"));
    try {
      const file = path.join(folder, "input.json");
      await writeFile(file, run.input, { mode: 0o600 });
      const { stdout, truncated } = await this.#parts.runner.run({
        argv: [program, file, ...run.arguments],
        timeoutMs: TIMEOUT_MS,
        outputLimitBytes: OUTPUT_LIMIT_BYTES,
        signal,
      });
      if (truncated) throw new OpExecError(`Allocator ${run.name} printed more than ${OUTPUT_LIMIT_BYTES} bytes`);
      return stdout;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      throw new OpExecError(`Allocator ${run.name} failed: ${error.message}`, { cause: error });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** @throws OpPrereqError (wrong_input, unknown_entity) when there is no such program here */
  async require(name: string): Promise<void> {
    await this.#find(name);
  }

  async #find(name: string): Promise<string> {
    if (!PROGRAM_NAME.test(name)) throw new OpPrereqError(`'${name}' cannot be an allocator's name`, "wrong_input");
    for (const folder of this.#parts.searchPath) {
      const program = path.join(folder, name);
      if (await isExecutable(program)) return program;
    }
    throw new OpPrereqError(
      `There is no allocator ${name} on the master node; it would be a program in ${this.#parts.searchPath.join(" or ")}`,
      "unknown_entity",
    );
  }
}

function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}
