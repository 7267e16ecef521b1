/**
 * Where file-based disks may lie: strictly below an allowed root, wherever symbolic links lead, and never in a
 * folder of the system. A path comes from the master and is not trusted here.
 */
import { constants } from "node:fs";
import { type FileHandle, lstat, mkdir, open, realpath, rmdir } from "node:fs/promises";
import path from "node:path";
import { FileStoragePathError } from "@gannet/errors";
import { isErrno, undefinedWhenMissing } from "../errno.ts";

export interface AllowedRoots {
  /** Absolute paths of existing folders (Ganeti keeps them in /etc/ganeti/file-storage-paths). */
  readonly roots: readonly string[];
  /**
   * The agent's state folder. Roots below it hold nothing but the agent's own files, so the list of forbidden
   * folders does not concern them: a one-machine cluster lives in a checkout, often below /home.
   */
  readonly ownFolder?: string;
}

/** Never used for file storage, themselves or anything below (spec/node-ops.json, `storage.file`). */
export const FORBIDDEN_FOLDERS: readonly string[] = [
  "/boot",
  "/dev",
  "/etc",
  "/home",
  "/proc",
  "/root",
  "/sys",
  ...["", "/usr", "/usr/local"].flatMap((prefix) =>
    ["bin", "lib", "lib32", "lib64", "sbin"].map((name) => `${prefix}/${name}`),
  ),
];

const PATH_LIMIT_BYTES = 4095;
const NAME_LIMIT_BYTES = 255;

/**
 * The root that a path lies below, by its text alone.
 * @throws FileStoragePathError for a path that is relative, not normalised, too long, outside every root, or in a
 *   forbidden folder
 */
export function rootOf(target: string, allowed: AllowedRoots): string {
  const fault = textFault(target);
  if (fault !== undefined) throw new FileStoragePathError(`File storage path ${quote(target)} ${fault}`);
  const root = allowed.roots.find((candidate) => isBelow(target, candidate));
  if (root === undefined)
    throw new FileStoragePathError(
      `File storage path ${quote(target)} is not below an allowed folder of this node (${allowed.roots.join(", ") || "none"})`,
    );
  refuseForbidden([root, target], target, allowed.ownFolder);
  return root;
}

/** A folder held open, so that what was checked is what is used: no link can be swapped in behind its path. */
export class OpenFolder implements AsyncDisposable {
  /** Without symbolic links. */
  readonly path: string;
  readonly #realRoot: string;
  readonly #made: readonly string[];
  readonly #handle: FileHandle;

  constructor(parts: { path: string; realRoot: string; made: readonly string[]; handle: FileHandle }) {
    this.path = parts.path;
    this.#realRoot = parts.realRoot;
    this.#made = parts.made;
    this.#handle = parts.handle;
  }

  /** A path of this entry that goes through the open folder: what openat(2) does, which Node does not offer. */
  entry(name: string): string {
    return entryOf(this.#handle, name);
  }

  /** Put the folder's entries on disk. */
  async sync(): Promise<void> {
    await this.#handle.sync();
  }

  /** Remove this folder, and those that were made to reach it, as far as they are empty. A root stays. */
  async removeWhenEmpty(): Promise<void> {
    if (this.path !== this.#realRoot) await removeEmptyFolders([...new Set([...this.#made, this.path])]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

/**
 * Open the folder of `target`; undefined when it does not exist. Symbolic links on the way are followed when they
 * stay below an allowed root.
 * @throws FileStoragePathError when the folder lies elsewhere, or its root does not exist on this node
 */
export async function openFolderOf(target: string, allowed: AllowedRoots): Promise<OpenFolder | undefined> {
  return walk(await locate(target, allowed), "as they are").catch(undefinedWhenMissing);
}

/**
 * As {@link openFolderOf}, but missing folders are made, with mode 0750 as Ganeti's.
 * @throws FileStoragePathError as there
 */
export async function makeFolderOf(target: string, allowed: AllowedRoots): Promise<OpenFolder> {
  return walk(await locate(target, allowed), "make missing");
}

/** Where the folder of `target` really is. */
interface Location {
  readonly target: string;
  readonly realRoot: string;
  readonly folder: string;
}

async function locate(target: string, allowed: AllowedRoots): Promise<Location> {
  const root = rootOf(target, allowed);
  if ((await realpathWhenThere(root)) === undefined)
    throw new FileStoragePathError(`The file storage folder ${root} does not exist on this node`);
  const folder = await resolveFolder(path.dirname(target));
  return { target, folder, realRoot: await realRootOf(folder, target, allowed) };
}

/** From the root down, each folder opened through the one above it; a symbolic link met now was swapped in. */
async function walk(location: Location, folders: "as they are" | "make missing"): Promise<OpenFolder> {
  const made: string[] = [];
  let reached = location.realRoot;
  let handle = await openFolder(reached);
  try {
    for (const name of path.relative(location.realRoot, location.folder).split("/").filter(Boolean)) {
      reached = path.join(reached, name);
      const parent = handle;
      if (folders === "make missing" && (await makeFolder(parent, name))) made.push(reached);
      handle = await openFolder(entryOf(parent, name));
      await parent.close();
    }
    return new OpenFolder({ path: location.folder, realRoot: location.realRoot, made, handle });
  } catch (error) {
    await handle.close();
    await removeEmptyFolders(made);
    if (!isErrno(error, "ENOTDIR", "ELOOP")) throw error;
    throw new FileStoragePathError(`File storage path ${quote(location.target)}: ${reached} is not a folder`, {
      cause: error,
    });
  }
}

/** Innermost (last) first; whatever is not empty stays. */
async function removeEmptyFolders(folders: readonly string[]): Promise<void> {
  for (const folder of folders.toReversed()) await rmdir(folder).catch(() => {});
}

/** The real path of the deepest part that exists, then the rest as it is. */
async function resolveFolder(folder: string): Promise<string> {
  const real = await realpathWhenThere(folder);
  if (real !== undefined) return real;
  return path.join(await resolveFolder(path.dirname(folder)), path.basename(folder));
}

async function realRootOf(folder: string, target: string, allowed: AllowedRoots): Promise<string> {
  const ownFolder = allowed.ownFolder === undefined ? undefined : await realpathWhenThere(allowed.ownFolder);
  for (const root of allowed.roots) {
    const realRoot = await realpathWhenThere(root);
    if (realRoot === undefined || !(folder === realRoot || isBelow(folder, realRoot))) continue;
    refuseForbidden([realRoot, folder], target, ownFolder);
    return realRoot;
  }
  throw new FileStoragePathError(
    `File storage path ${quote(target)} leads to ${folder}, outside every allowed folder of this node`,
  );
}

function openFolder(folder: string): Promise<FileHandle> {
  return open(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
}

/** False when it is there already. */
async function makeFolder(parent: FileHandle, name: string): Promise<boolean> {
  try {
    await mkdir(entryOf(parent, name), { mode: 0o750 });
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false;
    throw error;
  }
  await parent.sync();
  return true;
}

function entryOf(folder: FileHandle, name: string): string {
  return `/proc/self/fd/${folder.fd}/${name}`;
}

/** Undefined when the path, or a part of it, is not there. A dangling link is there and leads nowhere. */
async function realpathWhenThere(target: string): Promise<string | undefined> {
  try {
    return await realpath(target);
  } catch (error) {
    if (isErrno(error, "ELOOP")) throw new FileStoragePathError(`${quote(target)} is a loop of symbolic links`);
    if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
    const entry = await lstat(target).catch(() => undefined);
    if (entry?.isSymbolicLink())
      throw new FileStoragePathError(`${quote(target)} is a symbolic link that leads nowhere`);
    return undefined;
  }
}

function textFault(target: string): string | undefined {
  if (!path.isAbsolute(target)) return "is not absolute";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(target)) return "holds control characters";
  if (path.normalize(target) !== target || target.endsWith("/")) return "is not normalised";
  if (Buffer.byteLength(target) > PATH_LIMIT_BYTES) return `is longer than ${PATH_LIMIT_BYTES} bytes`;
  if (target.split("/").some((name) => Buffer.byteLength(name) > NAME_LIMIT_BYTES))
    return `has a part longer than ${NAME_LIMIT_BYTES} bytes`;
  return undefined;
}

function refuseForbidden(folders: readonly string[], target: string, ownFolder: string | undefined): void {
  const found = folders.find((folder) => isForbidden(folder, ownFolder));
  if (found !== undefined)
    throw new FileStoragePathError(
      `File storage path ${quote(target)} leads to ${found}, where file storage is never allowed`,
    );
}

/** Whether a folder is never used for file storage, whatever the node's administrator allows. */
export function isForbidden(folder: string, ownFolder: string | undefined): boolean {
  if (ownFolder !== undefined && isBelow(folder, ownFolder)) return false;
  return folder === "/" || FORBIDDEN_FOLDERS.some((bad) => folder === bad || isBelow(folder, bad));
}

function isBelow(target: string, folder: string): boolean {
  return target.startsWith(folder.endsWith("/") ? folder : `${folder}/`) && target !== folder;
}

/** For messages: control characters visible, the length bounded. */
function quote(target: string): string {
  return JSON.stringify(target.length > 200 ? `${target.slice(0, 200)}…` : target);
}
