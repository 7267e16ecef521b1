/** A backup's content beside the place where it is to be: nothing of the machine changes before all of it is there. */
import { chmod, chown, lstat, mkdir, open, readdir, rename, rm, rmdir, symlink } from "node:fs/promises";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import { below } from "@gannet/objects";
import type { ArchiveEntry } from "../backup/archive.ts";
import { BACKED_UP_TREES } from "../backup/machine-files.ts";
import type { OwnerNames } from "../owner-names.ts";

type Owned = Extract<ArchiveEntry, { kind: "folder" | "file" | "link" }>;

/** One moment's name, for all that belongs to one restore. */
export function restoreName(now: Date): string {
  return now.toISOString().replaceAll(/[-:]|\.\d+/g, "");
}

export class Stage {
  readonly #root: string;
  readonly #owners: OwnerNames;
  readonly #name: string;
  readonly #trees = new Set<string>();
  /** Modes and owners are given last: a folder may be one that is not to be written to. */
  readonly #owned: Owned[] = [];

  constructor(root: string, owners: OwnerNames, name: string) {
    this.#root = root;
    this.#owners = owners;
    this.#name = name;
  }

  /** Where a path of the system is until it is put in place. */
  at(name: string): string {
    const tree = treeOf(name);
    return path.join(below(this.#root, `${tree}.restoring-${this.#name}`), path.relative(tree, name));
  }

  /** This tree is put in place, too, whatever the backup has of it. */
  include(tree: (typeof BACKED_UP_TREES)[number]): void {
    this.#trees.add(tree);
  }

  async add(entry: Owned, content: AsyncIterable<Buffer>): Promise<void> {
    const file = this.at(entry.path);
    this.#trees.add(treeOf(entry.path));
    this.#owned.push(entry);
    await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
    if (entry.kind === "folder") await mkdir(file, { recursive: true, mode: 0o700 });
    if (entry.kind !== "file") return;
    await using handle = await open(file, "wx", 0o600);
    for await (const part of content) await handle.writeFile(part);
    await handle.sync();
  }

  /** Links are made when no file follows, so that nothing is ever written through one. */
  async finish(): Promise<void> {
    for (const entry of this.#owned)
      if (entry.kind === "link") await symlink(entry.target, this.at(entry.path));
      else await this.#own(this.at(entry.path), entry);
  }

  /** As the folder of that path, with all below it. */
  async ownAs(name: string, like: string): Promise<void> {
    const owned = this.#owned.find((entry) => entry.path === like);
    if (owned === undefined) return;
    const file = this.at(name);
    await this.#chown(file, owned);
    for (const child of await readdir(file, { recursive: true })) await this.#chown(path.join(file, child), owned);
  }

  /**
   * Put everything in place. What is there is kept beside it, and comes back when something fails.
   * @returns where what was there is kept
   */
  async install(): Promise<readonly string[]> {
    const kept: string[] = [];
    const undo: (() => Promise<void>)[] = [];
    try {
      for (const tree of this.#trees) {
        const target = below(this.#root, tree);
        const aside = `${target}.before-${this.#name}`;
        if (await isThere(target)) {
          const isEmpty = await rmdir(target).then(
            () => true,
            () => false,
          );
          if (!isEmpty) {
            await rename(target, aside);
            undo.push(() => rename(aside, target));
            kept.push(aside);
          }
        }
        await rename(this.at(tree), target);
        undo.push(() => rm(target, { recursive: true, force: true }));
      }
    } catch (cause) {
      for (const step of undo.reverse()) await step();
      throw new OpPrereqError(
        `The restored files could not be put in place, and all is as before: ${(cause as Error).message}`,
        "environment_error",
        { cause },
      );
    }
    return kept;
  }

  /** Whatever is not in place is removed. */
  async discard(): Promise<void> {
    for (const tree of BACKED_UP_TREES) await rm(this.at(tree), { recursive: true, force: true });
  }

  async #own(file: string, entry: Owned): Promise<void> {
    await this.#chown(file, entry);
    await chmod(file, entry.mode);
  }

  async #chown(file: string, { user, group }: Owned): Promise<void> {
    // Only root can give files away; anybody else keeps them, as in a test.
    if (process.getuid?.() !== 0) return;
    const [uid, gid] = [this.#owners.uid(user), this.#owners.gid(group)];
    if (uid === undefined || gid === undefined)
      throw new OpPrereqError(
        `There is no user ${user} or no group ${group} on this machine: install gannet-master first`,
        "environment_error",
      );
    await chown(file, uid, gid);
  }
}

function treeOf(name: string): string {
  const tree = BACKED_UP_TREES.find((known) => name === known || name.startsWith(`${known}/`));
  if (tree === undefined)
    throw new OpPrereqError(`The backup holds ${name}, which belongs to no part of it`, "wrong_input");
  return tree;
}

async function isThere(file: string): Promise<boolean> {
  return await lstat(file).then(
    () => true,
    () => false,
  );
}
