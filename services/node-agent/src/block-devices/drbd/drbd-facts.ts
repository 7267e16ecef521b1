/** What this node's kernel has of DRBD, read from its files alone. */
import { readdir, readFile } from "node:fs/promises";
import { BlockDeviceError } from "@gannet/errors";
import { isErrno } from "../../errno.ts";
import type { DrbdFacts } from "../../storage/node-storage.ts";
import type { StorageTools } from "../storage-tools.ts";
import type { DrbdVersion } from "./kernel-state.ts";
import { parseProcDrbd, parseVersion } from "./proc-drbd.ts";

type DrbdFiles = Pick<StorageTools, "drbdStatusFile" | "drbdHelperFile" | "deviceFolder">;

export function createDrbdFacts(parts: { readonly tools: DrbdFiles }): (signal: AbortSignal) => Promise<DrbdFacts> {
  const { tools } = parts;
  return async (signal) => {
    signal.throwIfAborted();
    const status = await readDrbdStatus(tools);
    const version = parseVersion(status);
    return {
      version: version.text,
      minors: await minorsInUse(tools, version, status),
      usermodeHelper: await readUsermodeHelper(tools),
    };
  };
}

/** @throws BlockDeviceError when the kernel has no DRBD */
export async function readDrbdStatus({ drbdStatusFile }: DrbdFiles): Promise<string> {
  return readFile(drbdStatusFile, "utf8").catch((error: unknown) => {
    if (isErrno(error, "ENOENT"))
      throw new BlockDeviceError(
        `There is no DRBD on this node: ${drbdStatusFile} does not exist; load the kernel module drbd`,
      );
    throw new BlockDeviceError(`The state of DRBD cannot be read: ${String(error)}`, { cause: error });
  });
}

/** @throws BlockDeviceError when the kernel has no DRBD */
export async function readUsermodeHelper({ drbdHelperFile }: DrbdFiles): Promise<string> {
  const text = await readFile(drbdHelperFile, "utf8").catch((error: unknown) => {
    throw new BlockDeviceError(`DRBD's usermode helper cannot be read: ${String(error)}`, { cause: error });
  });
  return text.trim();
}

/** 9 no longer lists its devices in /proc/drbd; each has a node, which goes when it goes. */
export async function minorsInUse(
  { deviceFolder }: DrbdFiles,
  version: DrbdVersion,
  status: string,
): Promise<readonly number[]> {
  if (version.major < 9) return parseProcDrbd(status).map(({ minor }) => minor);
  const names = await readdir(deviceFolder);
  return names
    .map((name) => /^drbd(\d+)$/.exec(name)?.[1])
    .filter((minor) => minor !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}
