/** Files that appear together, or not at all, also when the machine loses its power in between. */
import { chmod, mkdir, mkdtemp, open, readdir, rename, rm, rmdir, writeFile } from "node:fs/promises";
import path from "node:path";

export interface NewFile {
  readonly content: string | Buffer;
  readonly mode: number;
}

/** Holds files that are to be moved into the folder that it is in. Its appearance decides: from then on they count. */
const COMMITTED = ".next";
const DRAFT = ".new-";

/**
 * Put files into a folder in the place of those of the same names, all or none: after a crash the next
 * {@link finishReplacement} goes on where this was stopped. The folder is made with mode 0700 where it is missing.
 */
export async function replaceFiles(dir: string, files: Readonly<Record<string, NewFile>>): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await finishReplacement(dir);
  for (const name of await readdir(dir))
    if (name.startsWith(DRAFT)) await rm(path.join(dir, name), { recursive: true, force: true });
  const draft = await mkdtemp(path.join(dir, DRAFT));
  try {
    for (const [name, { content, mode }] of Object.entries(files)) {
      const file = path.join(draft, name);
      await writeFile(file, content, { mode: 0o600, flag: "wx" });
      await seal(file, mode);
    }
    await sync(draft);
    await rename(draft, path.join(dir, COMMITTED));
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw error;
  }
  await sync(dir);
  await finishReplacement(dir);
}

/** Carry out what a {@link replaceFiles} that was killed had decided. */
export async function finishReplacement(dir: string): Promise<void> {
  const committed = path.join(dir, COMMITTED);
  const names = await readdir(committed).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw error;
  });
  if (names === undefined) return;
  // Whoever reads the folder may finish it, also two at once.
  for (const name of names) await rename(path.join(committed, name), path.join(dir, name)).catch(ignoreMissing);
  await sync(dir);
  await rmdir(committed).catch(ignoreMissing);
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}

/** Set the file's mode and make it durable, so that a rename never exposes an empty file after a power loss. */
async function seal(file: string, mode: number): Promise<void> {
  await chmod(file, mode);
  await sync(file);
}

/** Make a file's content, or a folder's entries, durable. */
async function sync(fileOrFolder: string): Promise<void> {
  const handle = await open(fileOrFolder);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
