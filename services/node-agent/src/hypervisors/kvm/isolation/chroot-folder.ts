/** The empty folder that becomes a guest's root. */
import { chmod, mkdir, rename, rmdir } from "node:fs/promises";
import path from "node:path";

/** A qemu that has become another user must find its own way there, to the certificate of a migration. */
const MODE = 0o711;

export async function makeChroot(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await chmod(folder, MODE);
}

/**
 * What a guest has managed to leave there is moved to the quarantine, for somebody to look at, and its new place is
 * answered. Succeeds when there is no folder.
 */
export async function removeChroot(folder: string, quarantine: string): Promise<string | undefined> {
  try {
    await rmdir(folder);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    if (code !== "ENOTEMPTY") throw error;
  }
  const kept = path.join(quarantine, `${path.basename(folder)}-${Date.now()}`);
  await rename(folder, kept);
  return kept;
}
