/** Programs of the site that run with the agent's rights: only whoever has these anyway may have written them. */
import { constants } from "node:fs";
import { access, lstat, realpath } from "node:fs/promises";
import path from "node:path";

/** Write permission of group and others (stat(2)). */
const WRITABLE_BY_OTHERS = 0o022;

/**
 * Why a program must not be run; undefined when it may be.
 * @param owner - user id that it must belong to
 */
export async function distrustOfProgram(file: string, owner: number): Promise<string | undefined> {
  const found = await lstat(file).catch(messageOf);
  if (typeof found === "string") return found;
  if (!found.isFile()) return "it is no regular file";
  if (found.uid !== owner) return `it belongs to user ${found.uid}, not to ${owner}`;
  if ((found.mode & WRITABLE_BY_OTHERS) !== 0) return "others than its owner may write to it";
  const executable = await access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
  return executable ? undefined : "it may not be executed";
}

/** Why what is in a folder must not be run; undefined when it may be. */
export async function distrustOfFolder(folder: string, owner: number): Promise<string | undefined> {
  const found = await lstat(folder).catch(messageOf);
  if (typeof found === "string") return found;
  if (!found.isDirectory()) return `${folder} is no folder`;
  if (found.uid !== owner) return `${folder} belongs to user ${found.uid}, not to ${owner}`;
  if ((found.mode & WRITABLE_BY_OTHERS) !== 0) return `others than its owner may write to ${folder}`;
  return undefined;
}

/** The same of a program wherever it is: links are followed, and its folder counts, too. */
export async function distrustOfProgramAt(file: string, owner: number): Promise<string | undefined> {
  const real = await realpath(file).catch(messageOf);
  if (!path.isAbsolute(real)) return real;
  return (await distrustOfProgram(real, owner)) ?? (await distrustOfFolder(path.dirname(real), owner));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
