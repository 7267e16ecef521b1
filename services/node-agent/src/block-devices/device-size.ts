/** The size of a block device, as the kernel has it (spec/node-ops.json, `storage.generic`). */
import path from "node:path";
import { BlockDeviceError, CommandError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { StorageTools } from "./storage-tools.ts";

/** Below the deadline of calls that only ask. */
const TIMEOUT_MS = 30_000;

/**
 * @param purpose - the beginning of an error's message
 * @throws BlockDeviceError when it is no block device, or the answer is not understood
 */
export async function deviceSizeBytes(
  parts: { readonly runner: CommandRunner; readonly tools: StorageTools },
  device: string,
  purpose: string,
  signal: AbortSignal,
): Promise<number> {
  try {
    const { stdout } = await parts.runner.run({
      argv: [path.join(parts.tools.binFolder, "blockdev"), "--getsize64", device],
      timeoutMs: TIMEOUT_MS,
      signal,
    });
    const bytes = Number(stdout.trim());
    if (/^[0-9]+\n?$/.test(stdout) && Number.isSafeInteger(bytes)) return bytes;
    throw new BlockDeviceError(`${purpose}: blockdev answered no size of ${device}: ${stdout.trim().slice(0, 200)}`);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof CommandError)) throw error;
    throw new BlockDeviceError(`${purpose}: ${error.message}`, { cause: error });
  }
}
