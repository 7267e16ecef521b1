/**
 * Exports of instances: a folder each below the export folder, with a file for each disk and `config.ini`, which
 * describes the instance (spec/os-iallocator-hooks.json, `export_import.layout`). What is being written lies in
 * `<instance>.new` until it is complete. What it replaces is out of its place for a moment then, under a hidden name
 * that nobody else gives; if the agent is killed in that moment, whoever looks next puts it back.
 */
import { constants } from "node:fs";
import { type FileHandle, lstat, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { OpExecError, OpPrereqError } from "@gannet/errors";
import { makeFolderOf, type OpenFolder, openFolderOf } from "../block-devices/allowed-path.ts";
import { replaceDurably, syncFolder } from "../durable-file.ts";
import { isErrno, undefinedWhenMissing } from "../errno.ts";
import { SerialByKey } from "../serial-by-key.ts";

const DESCRIPTION = "config.ini";
const DESCRIPTION_LIMIT_BYTES = 1024 * 1024;
const UNFINISHED = ".new";
/** Taken out of its place, until the next one is in it: `.<instance>.replaced`. */
const REPLACED = /^\.(.+)\.replaced$/;
/** An export folder may be shared by nodes, of which another may put back what this one has just taken away. */
const REPLACE_ATTEMPTS = 5;
const INSTANCE_NAME = /^[a-z0-9](?!.*\.\.)[a-z0-9._-]{0,252}$/;
/** Of a disk: Ganeti takes its UUID. */
const FILE_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}$/;

export class Exports {
  readonly #dir: string;
  /** What is put back must not be what is being replaced. */
  readonly #turns = new SerialByKey();
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
    const place = await this.#settled(this.#placeOf(name));
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
    await this.#turns.run(place, async () => {
      await this.#settle(place);
      const unfinished = this.#unfinished(instanceName);
      if (!(await isFolder(unfinished))) {
        // Done before, by a call whose answer was lost.
        if ((await this.#describe(place)) === description) return;
        throw new OpExecError(`Nothing of an export of ${instanceName} has arrived in ${unfinished}`);
      }
      await replaceDurably(path.join(unfinished, DESCRIPTION), description);
      await replaceFolder(place, unfinished);
      await syncFolder(this.#dir);
      await rm(replacedOf(place), { recursive: true, force: true });
    });
  }

  async list(): Promise<readonly string[]> {
    const entries = (await readdir(this.#dir).catch(undefinedWhenMissing)) ?? [];
    const replaced = entries.map((name) => REPLACED.exec(name)?.[1]).filter((name) => name !== undefined);
    // One that cannot be put back says so when it is asked for.
    await Promise.allSettled(
      replaced.filter((name) => INSTANCE_NAME.test(name)).map((name) => this.#settled(path.join(this.#dir, name))),
    );
    const names = [...new Set([...entries, ...replaced])].filter(
      (name) => !name.startsWith(".") && !name.endsWith(UNFINISHED),
    );
    const described = await Promise.all(names.map((name) => isFile(path.join(this.#dir, name, DESCRIPTION))));
    return names.filter((_, index) => described[index]).sort();
  }

  async info(name: string): Promise<string> {
    const place = await this.#settled(this.#placeOf(name));
    const description = await this.#describe(place);
    if (description === undefined)
      throw new OpPrereqError(`There is no export ${place} on this node`, "unknown_entity");
    if (!/^\[export\]\s*$/m.test(description) || !/^\[instance\]\s*$/m.test(description))
      throw new OpPrereqError(`${path.join(place, DESCRIPTION)} does not describe an export`, "wrong_state");
    return description;
  }

  async remove(name: string, what: "all" | "unfinished"): Promise<void> {
    const place = this.#placeOf(name);
    await this.#turns.run(place, async () => {
      await this.#settle(place);
      await using parent = await this.#openParent(place);
      if (parent === undefined) return;
      const entry = parent.entry(path.basename(place));
      for (const each of [...(what === "all" ? [entry] : []), `${entry}${UNFINISHED}`])
        await rm(each, { recursive: true, force: true });
    });
  }

  /** Waits for who is at it. Answers the place. */
  async #settled(place: string): Promise<string> {
    await this.#turns.run(place, () => this.#settle(place));
    return place;
  }

  /** What a finalize that was killed has replaced goes back to its place, or goes when the newer is there. */
  async #settle(place: string): Promise<void> {
    await using parent = await this.#openParent(place);
    if (parent === undefined) return;
    const [entry, replaced] = [place, replacedOf(place)].map((each) => parent.entry(path.basename(each)));
    if (entry === undefined || replaced === undefined || !(await isThere(replaced))) return;
    if (await isThere(entry)) await rm(replaced, { recursive: true, force: true });
    else await rename(replaced, entry).catch(undefinedWhenMissing);
    await parent.sync();
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
  if (!INSTANCE_NAME.test(name) || name.endsWith(UNFINISHED))
    throw new OpPrereqError(
      `${JSON.stringify(name.slice(0, 300))} is neither an instance's name nor an absolute path, or ends in ${UNFINISHED}`,
      "wrong_input",
    );
}

function checkFileName(file: string): void {
  if (!FILE_NAME.test(file) || file === DESCRIPTION)
    throw new OpPrereqError(`${JSON.stringify(file.slice(0, 80))} is not the name of a disk's file`, "wrong_input");
}

function replacedOf(place: string): string {
  return path.join(path.dirname(place), `.${path.basename(place)}.replaced`);
}

async function replaceFolder(place: string, by: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    await rm(replacedOf(place), { recursive: true, force: true });
    await rename(place, replacedOf(place)).catch(undefinedWhenMissing);
    try {
      return await rename(by, place);
    } catch (error) {
      if (attempt === REPLACE_ATTEMPTS || !isErrno(error, "ENOTEMPTY", "EEXIST")) throw error;
    }
  }
}

async function isThere(entry: string): Promise<boolean> {
  return (await lstat(entry).catch(undefinedWhenMissing)) !== undefined;
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
