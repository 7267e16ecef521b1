/**
 * Pipes between processes. Node's own pipes to children are socket pairs, which a program cannot open by name
 * (`/dev/stdin`), and to hand one child's on to the next, the daemon must not have read from it before; so each is a
 * fifo(7), opened and its name removed. What differs from pipe(2): to open `/dev/stdin` by name when all writers have
 * gone waits for another one.
 */
import { constants } from "node:fs";
import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
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
  const folder = await mkdtemp(path.join(tmpdir(), "gannet-pipes-"));
  const pipes: KernelPipe[] = [];
  try {
    const files = Array.from({ length: count }, (_, index) => path.join(folder, String(index)));
    await runner.run({ argv: [MKFIFO, "-m", "600", "--", ...files], timeoutMs: TIMEOUT_MS });
    for (const file of files) pipes.push(await openPipe(file));
    return pipes;
  } catch (error) {
    for (const { read, write } of pipes) await Promise.all([read.close(), write.close()]);
    throw error;
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
