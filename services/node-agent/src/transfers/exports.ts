/**
 * Exports of instances: a folder each below the export folder, with a file for each disk and `config.ini`, which
 * describes the instance (spec/os-iallocator-hooks.json, `export_import.layout`). What is being written lies in
 * `<instance>.new` until it is complete.
 */
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { OpExecError, OpPrereqError } from "@gannet/errors";
import { makeFolderOf, type OpenFolder, openFolderOf } from "../block-devices/allowed-path.ts";
import { replaceDurably, syncFolder } from "../durable-file.ts";
import { isErrno, undefinedWhenMissing } from "../errno.ts";

const DESCRIPTION = "config.ini";
const DESCRIPTION_LIMIT_BYTES = 1024 * 1024;
const UNFINISHED = ".new";
/** Taken out of its place, until the next one is in it. */
const REPLACED = ".old";
const INSTANCE_NAME = /^[a-z0-9](?!.*\.\.)[a-z0-9._-]{0,252}$/;
/** Of a disk: Ganeti takes its UUID. */
const FILE_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}$/;

export class Exports {
  readonly #dir: string;
  readonly #allowed: { readonly roots: readonly string[]; readonly ownFolder: string };

  /** @param stateDir - the agent's own folder, which may lie where exports may not */
  constructor(dir: string, stateDir: string) {
    this.#dir = dir;
    this.#allowed = { roots: [dir], ownFolder: stateDir };
  }

  /** A file of an export that is being made, emptied when it is there. The caller closes it. */
  async openForWriting(instanceName: string, file: string): Promise<FileHandle> {
    checkInstanceName(instanceName);
    checkFileName(file);
    await mkdir(this.#dir, { recursive: true, mode: 0o750 });
    await using folder = await makeFolderOf(path.join(this.#unfinished(instanceName), file), this.#allowed);
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    // Awaited: the folder it goes through is closed at the end of this.
    return await open(folder.entry(file), flags, 0o600);
  }

  /** @throws OpPrereqError (unknown_entity) when there is no such file */
  async openForReading(name: string, file: string): Promise<FileHandle> {
    checkFileName(file);
    const place = this.#placeOf(name);
    await using folder = await this.#open(place);
    const opened = folder === undefined ? undefined : await openEntry(folder, file);
    if (opened === undefined) throw new OpPrereqError(`The export ${place} has no file ${file}`, "unknown_entity");
    return opened;
  }

  async finalize(instanceName: string, description: string): Promise<void> {
    checkInstanceName(instanceName);
    if (Buffer.byteLength(description) > DESCRIPTION_LIMIT_BYTES)
      throw new OpPrereqError(`The description of ${instanceName}'s export is too long`, "wrong_input");
    const place = path.join(this.#dir, instanceName);
    const unfinished = this.#unfinished(instanceName);
    if (!(await isFolder(unfinished))) {
      // Done before, by a call whose answer was lost.
      if ((await this.#describe(place)) === description) return;
      throw new OpExecError(`Nothing of an export of ${instanceName} has arrived in ${unfinished}`);
    }
    await replaceDurably(path.join(unfinished, DESCRIPTION), description);
    const replaced = `${place}${REPLACED}`;
    await rm(replaced, { recursive: true, force: true });
    await rename(place, replaced).catch(undefinedWhenMissing);
    await rename(unfinished, place);
    await syncFolder(this.#dir);
    await rm(replaced, { recursive: true, force: true });
  }

  async list(): Promise<readonly string[]> {
    const names = ((await readdir(this.#dir).catch(undefinedWhenMissing)) ?? []).filter(
      (name) => !name.startsWith(".") && !name.endsWith(UNFINISHED) && !name.endsWith(REPLACED),
    );
    const described = await Promise.all(names.map((name) => isFile(path.join(this.#dir, name, DESCRIPTION))));
    return names.filter((_, index) => described[index]).sort();
  }

  async info(name: string): Promise<string> {
    const place = this.#placeOf(name);
    const description = await this.#describe(place);
    if (description === undefined)
      throw new OpPrereqError(`There is no export ${place} on this node`, "unknown_entity");
    if (!/^\[export\]\s*$/m.test(description) || !/^\[instance\]\s*$/m.test(description))
      throw new OpPrereqError(`${path.join(place, DESCRIPTION)} does not describe an export`, "wrong_state");
    return description;
  }

  async remove(name: string, what: "all" | "unfinished"): Promise<void> {
    const place = this.#placeOf(name);
    const finished = what === "all" ? [place, `${place}${REPLACED}`] : [];
    for (const each of [...finished, `${place}${UNFINISHED}`]) {
      await using parent = await this.#openParent(each);
      if (parent !== undefined) await rm(parent.entry(path.basename(each)), { recursive: true, force: true });
    }
  }

  #unfinished(instanceName: string): string {
    return path.join(this.#dir, `${instanceName}${UNFINISHED}`);
  }

  /** @param name - an instance's, or an absolute path */
  #placeOf(name: string): string {
    if (path.isAbsolute(name)) return path.normalize(name).replace(/\/$/, "");
    checkInstanceName(name);
    return path.join(this.#dir, name);
  }

  async #describe(place: string): Promise<string | undefined> {
    await using folder = await this.#open(place);
    const opened = folder === undefined ? undefined : await openEntry(folder, DESCRIPTION);
    if (opened === undefined) return undefined;
    await using file = opened;
    if ((await file.stat()).size > DESCRIPTION_LIMIT_BYTES)
      throw new OpPrereqError(`${path.join(place, DESCRIPTION)} is too long to describe an export`, "wrong_state");
    return await file.readFile("utf8");
  }

  /** @throws FileStoragePathError for a place outside the export folder */
  async #open(place: string): Promise<OpenFolder | undefined> {
    return (await isFolder(this.#dir)) ? openFolderOf(path.join(place, DESCRIPTION), this.#allowed) : undefined;
  }

  async #openParent(place: string): Promise<OpenFolder | undefined> {
    return (await isFolder(this.#dir)) ? openFolderOf(place, this.#allowed) : undefined;
  }
}

async function openEntry(folder: OpenFolder, name: string): Promise<FileHandle | undefined> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(folder.entry(name), flags).catch(undefinedWhenMissing);
  if (file === undefined || (await file.stat()).isFile()) return file;
  await file.close();
  return undefined;
}

function checkInstanceName(name: string): void {
  if (!INSTANCE_NAME.test(name) || [UNFINISHED, REPLACED].some((suffix) => name.endsWith(suffix)))
    throw new OpPrereqError(
      `${JSON.stringify(name.slice(0, 300))} is neither an instance's name nor an absolute path, or ends in ${UNFINISHED} or ${REPLACED}`,
      "wrong_input",
    );
}

function checkFileName(file: string): void {
  if (!FILE_NAME.test(file) || file === DESCRIPTION)
    throw new OpPrereqError(`${JSON.stringify(file.slice(0, 80))} is not the name of a disk's file`, "wrong_input");
}

async function isFolder(place: string): Promise<boolean> {
  return (await stat(place).catch(undefinedWhenMissing))?.isDirectory() ?? false;
}

async function isFile(place: string): Promise<boolean> {
  const found = await stat(place).catch((error: unknown) => {
    if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
    return undefined;
  });
  return found?.isFile() ?? false;
}
