/**
 * Which disk a file belongs to, noted beside it in a symbolic link `.<name>.owner` whose target is the disk's UUID.
 *
 * A link because symlink(2) makes name and content in one exclusive step, so that a crash never leaves half a mark;
 * it needs no data block, and works on every filesystem that can hold disks (extended attributes do not exist on NFS
 * before 4.2, and Node cannot set them).
 */
import { readlink, symlink, unlink } from "node:fs/promises";
import { isErrno } from "../../errno.ts";
import type { OpenFolder } from "../allowed-path.ts";

/** The UUID of the disk that the file `name` belongs to; undefined when nothing is noted. */
export async function readOwner(folder: OpenFolder, name: string): Promise<string | undefined> {
  try {
    return await readlink(folder.entry(markOf(name)));
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    if (isErrno(error, "EINVAL")) return "unknown";
    throw error;
  }
}

/** Note the owner of `name`, unless one is noted already. Answers the owner that is noted now. */
export async function claim(folder: OpenFolder, name: string, uuid: string): Promise<string> {
  try {
    await symlink(uuid, folder.entry(markOf(name)));
    return uuid;
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
    return (await readOwner(folder, name)) ?? "unknown";
  }
}

export async function release(folder: OpenFolder, name: string): Promise<void> {
  await unlink(folder.entry(markOf(name))).catch((error: unknown) => {
    if (!isErrno(error, "ENOENT")) throw error;
  });
}

function markOf(name: string): string {
  return `.${name}.owner`;
}
