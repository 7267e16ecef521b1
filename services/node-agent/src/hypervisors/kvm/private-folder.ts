/** Folders that no other user may enter. */
import { chmod, lstat, mkdir } from "node:fs/promises";
import path from "node:path";
import { HypervisorError } from "@gannet/errors";

/**
 * Make the folder with mode 0700, and the missing ones above it.
 * @throws HypervisorError when something else has its name, or another user owns it: in a shared folder like /tmp
 *   another user can have made it first
 */
export async function makePrivateFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const stat = await lstat(folder);
  if (!stat.isDirectory()) throw new HypervisorError(`${folder} is not a folder`);
  if (stat.uid !== process.geteuid?.()) throw new HypervisorError(`The folder ${folder} belongs to another user`);
  await chmod(folder, 0o700);
}

/** Where a folder of this user alone with a short path can be, for sockets. */
export function shortPrivateFolder(): string {
  const uid = process.geteuid?.() ?? 0;
  return uid === 0 ? "/run/gannet-kvm" : path.join(process.env.XDG_RUNTIME_DIR ?? "/tmp", `gannet-${uid}`);
}
