/** Small files that must be whole and on disk before anything that depends on them happens. */
import { open, rename } from "node:fs/promises";
import path from "node:path";

/** Whose a file is, and who may do what with it. */
export interface FileOwnership {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * Replace a file's content at once: after a crash it has the old content or the new, never a part. Only its owner, this
 * process, may read it unless `ownership` says otherwise.
 */
export async function replaceDurably(file: string, content: string, ownership?: FileOwnership): Promise<void> {
  const next = `${file}.next`;
  const handle = await open(next, "w", 0o600);
  try {
    if (ownership !== undefined) {
      await handle.chown(ownership.uid, ownership.gid);
      await handle.chmod(ownership.mode);
    }
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(next, file);
  await syncFolder(path.dirname(file));
}

/** Put a folder's entries on disk: what was made or renamed in it. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
