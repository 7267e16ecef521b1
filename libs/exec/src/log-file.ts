/** A file that receives a command's output as it comes. */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { CommandError } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";

/** What one command may add; the rest is dropped with a note, so that a runaway script does not fill the disk. */
const LIMIT_BYTES = 16 * 1024 * 1024;

export interface LogFile {
  append(chunk: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opened for appending, made with mode 0600. A write that fails later is logged and ends the writing: it must not
 * fail the command.
 * @throws CommandError when it cannot be opened
 */
export async function openLogFile(path: string, logger: Logger): Promise<LogFile> {
  const file = await openLog(path);
  let leftBytes = LIMIT_BYTES;

  async function write(chunk: Uint8Array | string): Promise<void> {
    try {
      await file.appendFile(chunk);
    } catch (error) {
      leftBytes = 0;
      logger.warn({ path, error }, "a command's log file cannot be written");
    }
  }

  return {
    append: async (chunk) => {
      if (leftBytes === 0) return;
      const part = chunk.subarray(0, leftBytes);
      leftBytes -= part.length;
      await write(part);
      if (leftBytes === 0) await write(`\n[output beyond ${LIMIT_BYTES} bytes is not kept]\n`);
    },
    close: () => file.close(),
  };
}

/** For reading and appending, made with mode 0600. @throws CommandError when it cannot be opened */
export async function openLog(path: string): Promise<FileHandle> {
  const flags = constants.O_APPEND | constants.O_CREAT | constants.O_RDWR | constants.O_NOFOLLOW;
  return open(path, flags, 0o600).catch((error: Error) => {
    throw new CommandError(`Log file ${path} cannot be written: ${error.message}`);
  });
}
