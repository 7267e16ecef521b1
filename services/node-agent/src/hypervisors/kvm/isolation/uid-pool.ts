/**
 * Lends each guest a user of the cluster's `uid_pool` for as long as its qemu runs. What is lent is a file called by
 * the id, in a folder that all agents of this machine share; it holds the path of the borrower's record. Files are
 * made exclusively, so no two guests ever have the same user.
 */
import { mkdir, open, readdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import type { GuestSpec } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { NodeUser } from "../launch-plan.ts";
import { usersWithIds } from "./node-users.ts";

/** A pool of more ids is asked about in parts. */
const IDS_AT_ONCE = 200;

export class UidPool {
  readonly #runner: CommandRunner;
  readonly #folder: string;

  /** @param folder gone after a boot of the machine, like the guests */
  constructor(parts: { readonly runner: CommandRunner; readonly folder: string }) {
    this.#runner = parts.runner;
    this.#folder = parts.folder;
  }

  /** @throws HypervisorError when no id of the pool is a user of this node */
  async check(ranges: GuestSpec["uidPool"]): Promise<void> {
    for await (const _ of this.#usersOf(ranges)) return;
    throw new HypervisorError(
      "security_model pool: the cluster's uid_pool has no user of this node; set it, and make its users here",
    );
  }

  /**
   * A user that neither another guest nor any process of this machine has: never root.
   * @param borrower the path of the guest's record
   * @throws HypervisorError when there is none left
   */
  async borrow(ranges: GuestSpec["uidPool"], borrower: string): Promise<NodeUser> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const used = await usedIds();
    for await (const user of this.#usersOf(ranges)) {
      if (!used.has(user.uid) && (await this.#take(user.uid, borrower))) return user;
    }
    throw new HypervisorError(
      `security_model pool: every user of the cluster's uid_pool is in use on this node (see ${this.#folder})`,
    );
  }

  /** Give back what the guest has borrowed. Succeeds when that is nothing. */
  async giveBack(borrower: string): Promise<void> {
    for (const entry of await readdir(this.#folder).catch(() => [])) {
      const file = path.join(this.#folder, entry);
      const holder = await readFile(file, "utf8").catch(() => undefined);
      if (holder === borrower) await rm(file, { force: true });
    }
  }

  async #take(uid: number, borrower: string): Promise<boolean> {
    const file = path.join(this.#folder, String(uid));
    try {
      const handle = await open(file, "wx", 0o600);
      await handle.writeFile(borrower).finally(() => handle.close());
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw new HypervisorError(`${file} cannot be written`, { cause: error });
    }
  }

  async *#usersOf(ranges: GuestSpec["uidPool"]): AsyncGenerator<NodeUser> {
    for (const [first, last] of ranges ?? []) {
      for (let start = first; start <= last; start += IDS_AT_ONCE) {
        const count = Math.min(IDS_AT_ONCE, last - start + 1);
        yield* await usersWithIds(
          this.#runner,
          Array.from({ length: count }, (_, offset) => start + offset),
        );
      }
    }
  }
}

/** Of every process on this machine: real, effective, saved and file system user (proc_pid_status(5)). */
async function usedIds(): Promise<ReadonlySet<number>> {
  const used = new Set<number>();
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const status = await readFile(`/proc/${entry}/status`, "utf8").catch(() => "");
    // A zombie does nothing as its user any more.
    if (/^State:\s*Z/m.test(status)) continue;
    const ids = /^Uid:\s*(.*)$/m.exec(status)?.[1] ?? "";
    for (const id of ids.split(/\s+/)) if (id !== "") used.add(Number(id));
  }
  return used;
}
