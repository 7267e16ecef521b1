/** What this agent has begun to do, step by step: the evidence by which tests see that nothing was done twice. */
import { type FileHandle, open } from "node:fs/promises";
import type { Step } from "@gannet/rpc";

/** One line of the file. */
export interface Execution {
  readonly job: number;
  readonly opcode: number;
  readonly step: string;
  readonly method: string;
  readonly epoch: number;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/**
 * A JSON line for each execution, written before it begins; a step that is answered from the journal has none. The
 * lines outlive the agent's process, not a power loss, and the file only grows: it is for tests.
 */
export class ExecutionLog {
  readonly #handle: FileHandle;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  static async open(file: string): Promise<ExecutionLog> {
    return new ExecutionLog(await open(file, "a", 0o600));
  }

  async begun({ jobId: job, opcodeIndex: opcode, step, epoch }: Step, method: string): Promise<void> {
    const line: Execution = { job, opcode, step, method, epoch, at: Date.now() };
    await this.#handle.appendFile(`${JSON.stringify(line)}\n`);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}
