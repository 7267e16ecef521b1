/**
 * Pipes between processes. Node's own pipes to children are socket pairs, which a program cannot open by name
 * (`/dev/stdin`), and to hand one child's on to the next, the daemon must not have read from it before; so each is a
 * fifo(7), opened and its name removed. What differs from pipe(2): to open `/dev/stdin` by name when all writers have
 * gone waits for another one.
 */
import { constants, openSync } from "node:fs";
import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { CommandError } from "@gannet/errors";
import type { CommandRunner } from "./command-runner-contract.ts";

const MKFIFO = "/usr/bin/mkfifo";
const TIMEOUT_MS = 10_000;

interface KernelPipe {
  readonly read: FileHandle;
  readonly write: FileHandle;
}

/** The caller closes both ends of each. */
export async function makePipes(runner: CommandRunner, count: number): Promise<readonly KernelPipe[]> {
  if (count === 0) return [];
  const pipes: KernelPipe[] = [];
  try {
    await withFifos(runner, count, async (files) => {
      for (const file of files) pipes.push(await openPipe(file));
    });
    return pipes;
  } catch (error) {
    for (const { read, write } of pipes) await Promise.all([read.close(), write.close()]);
    throw error;
  }
}

/** What a command prints to both of its outputs, in the order in which it was written. */
export interface MergedOutput {
  /** The caller destroys it. */
  readonly output: Socket;
  /** For the command's outputs. The output ends when the caller, too, has closed it. */
  readonly write: FileHandle;
}

/** One pipe for both outputs: of two, what came first can only be guessed. */
export async function mergeOutputs(runner: CommandRunner): Promise<MergedOutput> {
  return withFifos(runner, 1, async ([file = ""]) => {
    await using _both = await open(file, constants.O_RDWR);
    const write = await open(file, constants.O_WRONLY);
    // A socket waits in the event loop; a file's read would hold one of the few threads until the command prints.
    try {
      const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
      return { output: new Socket({ fd, readable: true, writable: false }), write };
    } catch (error) {
      await write.close();
      throw error;
    }
  });
}

async function withFifos<T>(
  runner: CommandRunner,
  count: number,
  use: (files: readonly string[]) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(path.join(tmpdir(), "gannet-pipes-")).catch((error: Error) => {
    throw new CommandError(`A pipe for a command's output cannot be made: ${error.message}`);
  });
  try {
    const files = Array.from({ length: count }, (_, index) => path.join(folder, String(index)));
    await runner.run({ argv: [MKFIFO, "-m", "600", "--", ...files], timeoutMs: TIMEOUT_MS });
    return await use(files);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** To open one end waits for the other, unless both are open already, as they are by the first of these. */
async function openPipe(file: string): Promise<KernelPipe> {
  await using _both = await open(file, constants.O_RDWR);
  const read = await open(file, constants.O_RDONLY);
  try {
    return { read, write: await open(file, constants.O_WRONLY) };
  } catch (error) {
    await read.close();
    throw error;
  }
}
