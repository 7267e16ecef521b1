/** The hosts file of this node, in which the cluster may keep the names of its nodes. */
import { readFile, realpath, stat } from "node:fs/promises";
import { OpExecError } from "@gannet/errors";
import { type FileOwnership, replaceDurably } from "../durable-file.ts";
import { isErrno } from "../errno.ts";
import { type HostEntry, withHosts } from "./hosts-lines.ts";

export const SYSTEM_HOSTS_FILE = "/etc/hosts";

/** Everybody reads it. */
const MODE = 0o644;

export class HostsFile {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  /**
   * Let the file name these hosts, and of those it was told before no others. It is replaced as a whole, and not touched
   * when nothing changes.
   * @returns names that lines of others give another address
   * @throws OpExecError when it cannot be read or written
   */
  async set(hosts: readonly HostEntry[]): Promise<readonly string[]> {
    try {
      // A link stays one.
      const file = await realpath(this.#file).catch(() => this.#file);
      const present = await presentIn(file);
      const { text, contradicted } = withHosts(present.text, hosts);
      if (text !== present.text) await replaceDurably(file, text, present);
      return contradicted;
    } catch (error) {
      throw new OpExecError(`The hosts file ${this.#file} cannot be changed: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
}

async function presentIn(file: string): Promise<FileOwnership & { readonly text: string }> {
  try {
    const { mode, uid, gid } = await stat(file);
    return { text: await readFile(file, "utf8"), mode: mode & 0o7777, uid, gid };
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
    return { text: "", mode: MODE, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  }
}
