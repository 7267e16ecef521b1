/** The places of a machine that a new cluster takes: found free before, given back when its making fails. */
import { chown, lchown, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import { below, SYSTEM_LAYOUT, SYSTEM_USER } from "@gannet/objects";
import { OwnerNames } from "../owner-names.ts";

const FILES = ["masterConfigFile", "nodeConfigFile", "adminCredentialsFile", "usersFile"] as const;
/** The packages make them, empty. */
const FOLDERS = ["caDir", "masterStateDir", "redisDir", "sentinelDir", "nodeIdentityDir"] as const;
/** Whose files the unprivileged daemons read and write. */
const FOLDERS_OF_DAEMONS: readonly (typeof FOLDERS)[number][] = ["caDir", "masterStateDir", "redisDir", "sentinelDir"];
/** There while a cluster is being made: where it is found, what it lies beside is of no use. */
const MARK = `${SYSTEM_LAYOUT.dataDir}/init-unfinished`;

export class MachinePlaces {
  readonly root: string;

  /** @param root - prefix of the system's layout */
  constructor(root: string) {
    this.root = path.resolve(root);
  }

  /** Whether the layout begins at the file system's own root. */
  get isWholeMachine(): boolean {
    return this.root === "/";
  }

  /** A path of the layout on this machine. */
  at(file: string): string {
    return below(this.root, file);
  }

  /**
   * Take the places. What an init that was killed has left is removed.
   * @throws OpPrereqError (already_exists) where something else is there
   */
  async take(): Promise<void> {
    if (await isThere(this.at(MARK))) await this.clear();
    for (const name of FILES)
      if (await isThere(this.at(SYSTEM_LAYOUT[name]))) throw taken(this.at(SYSTEM_LAYOUT[name]));
    for (const name of FOLDERS) {
      const folder = this.at(SYSTEM_LAYOUT[name]);
      if ((await readdir(folder).catch(() => [])).length > 0) throw taken(folder);
    }
    await mkdir(this.at(SYSTEM_LAYOUT.dataDir), { recursive: true, mode: 0o755 });
    await writeFile(this.at(MARK), "gannet-admin init is making a cluster, or was killed while it did\n", {
      mode: 0o644,
    });
    await mkdir(this.at(SYSTEM_LAYOUT.configurationDir), { recursive: true, mode: 0o755 });
    await mkdir(path.dirname(this.at(SYSTEM_LAYOUT.usersFile)), { recursive: true, mode: 0o750 });
    await mkdir(path.dirname(this.at(SYSTEM_LAYOUT.auditLogFile)), { recursive: true, mode: 0o750 });
    for (const name of FOLDERS) await mkdir(this.at(SYSTEM_LAYOUT[name]), { recursive: true, mode: 0o700 });
    await mkdir(this.at(SYSTEM_LAYOUT.nodeStateDir), { recursive: true, mode: 0o700 });
  }

  /** Give the daemons' user what is its own, where there is one: the packages make it. */
  async handOver(): Promise<void> {
    if (process.geteuid?.() !== 0) return;
    const names = await OwnerNames.of(this.root);
    const [uid, gid] = [names.uid(SYSTEM_USER), names.gid(SYSTEM_USER)];
    if (uid === undefined || gid === undefined) return;
    const users = this.at(SYSTEM_LAYOUT.usersFile);
    for (const file of [users, path.dirname(users), path.dirname(this.at(SYSTEM_LAYOUT.auditLogFile))])
      await chown(file, uid, gid);
    for (const name of FOLDERS_OF_DAEMONS) {
      const folder = this.at(SYSTEM_LAYOUT[name]);
      for (const entry of await readdir(folder, { recursive: true })) await lchown(path.join(folder, entry), uid, gid);
      await chown(folder, uid, gid);
    }
  }

  /** Everything is there: from now on this machine has a cluster. */
  async settle(): Promise<void> {
    await rm(this.at(MARK), { force: true });
  }

  /** As it was before. */
  async clear(): Promise<void> {
    for (const name of FILES) await rm(this.at(SYSTEM_LAYOUT[name]), { force: true });
    for (const name of FOLDERS) {
      const folder = this.at(SYSTEM_LAYOUT[name]);
      for (const entry of await readdir(folder).catch(() => []))
        await rm(path.join(folder, entry), { recursive: true, force: true });
    }
    await rm(this.at(MARK), { force: true });
  }
}

async function isThere(file: string): Promise<boolean> {
  return (await readdir(path.dirname(file)).catch((): string[] => [])).includes(path.basename(file));
}

function taken(place: string): OpPrereqError {
  return new OpPrereqError(
    `${place} is there already: this machine belongs to a cluster, or did. To begin anew, purge gannet-master and gannet-node, and install them again`,
    "already_exists",
  );
}
