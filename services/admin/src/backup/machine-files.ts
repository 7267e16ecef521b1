/** The files of a master's machine that a backup holds: configuration, keys, users. Not what Redis keeps on disk. */
import type { Stats } from "node:fs";
import { lstat, open, readdir, readlink } from "node:fs/promises";
import path from "node:path";
import { below, SYSTEM_LAYOUT } from "@gannet/objects";
import type { OwnerNames } from "../owner-names.ts";
import { type ArchiveEntry, entryHead } from "./archive.ts";

/** Each is put back as a whole. */
export const BACKED_UP_TREES = [
  SYSTEM_LAYOUT.configurationDir,
  SYSTEM_LAYOUT.caDir,
  SYSTEM_LAYOUT.masterStateDir,
  SYSTEM_LAYOUT.redisDir,
  SYSTEM_LAYOUT.sentinelDir,
  SYSTEM_LAYOUT.nodeIdentityDir,
] as const;

/** Redis' data come from Redis itself; how far the master has seen them is noted anew after a restore. */
const LEFT_OUT: readonly RegExp[] = [/^appendonlydir$/, /\.(rdb|aof)$/, /^temp-/, /^watermark\.json/];

const READ_BYTES = 256 * 1024;

/** The archive's entries with their content. What vanishes meanwhile is left out. */
export async function* machineFiles(root: string, owners: OwnerNames): AsyncGenerator<Buffer> {
  for (const tree of BACKED_UP_TREES) yield* treeEntries(root, tree, owners);
}

async function* treeEntries(root: string, name: string, owners: OwnerNames): AsyncGenerator<Buffer> {
  const file = below(root, name);
  const stats = await lstat(file).catch(undefinedWhenGone);
  if (stats === undefined) return;
  const owned = {
    path: name,
    mode: stats.mode & 0o7777,
    user: owners.userName(stats.uid),
    group: owners.groupName(stats.gid),
  };
  if (stats.isFile()) yield* fileEntry(file, owned);
  if (stats.isSymbolicLink()) yield entryHead({ kind: "link", ...owned, size: 0, target: await readlink(file) });
  if (!stats.isDirectory()) return;
  yield entryHead({ kind: "folder", ...owned, size: 0 });
  for (const child of (await readdir(file)).sort())
    if (!LEFT_OUT.some((pattern) => pattern.test(child))) yield* treeEntries(root, path.join(name, child), owners);
}

/** As long as it is when it is opened: a log may grow meanwhile. */
async function* fileEntry(
  file: string,
  owned: Omit<Extract<ArchiveEntry, { kind: "file" }>, "kind" | "size">,
): AsyncGenerator<Buffer> {
  const handle = await open(file, "r").catch(undefinedWhenGone);
  if (handle === undefined) return;
  try {
    const { size }: Stats = await handle.stat();
    yield entryHead({ kind: "file", ...owned, size });
    for (let at = 0; at < size; ) {
      const part = Buffer.alloc(Math.min(READ_BYTES, size - at));
      const { bytesRead } = await handle.read(part, 0, part.length, at);
      // It was cut short meanwhile: the entry keeps its length.
      yield bytesRead === 0 ? part : part.subarray(0, bytesRead);
      at += bytesRead === 0 ? part.length : bytesRead;
    }
  } finally {
    await handle.close();
  }
}

function undefinedWhenGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}
