/** The space of the filesystems below which files of disks lie, some of which are a network's and may hang. */
import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { BlockDeviceError, CommandError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { BYTES_PER_MIB } from "../describe-device.ts";

export interface RootSpace {
  readonly totalMib: number;
  /** Of it, what those who are not root can take. */
  readonly freeMib: number;
  readonly usedMib: number;
}

export interface RootSpaceOptions {
  readonly runner: CommandRunner;
  /** Made when it is missing. On a filesystem that does not hang. */
  readonly lockFolder: string;
  /** How long a filesystem may take to answer. Default 3 seconds. */
  readonly limitMs?: number;
  /** stat(1); only tests have another. */
  readonly stat?: string;
}

/** A filesystem that works answers within milliseconds, over a network too. */
const LIMIT_MS = 3_000;
const FLOCK = "/usr/bin/flock";
const STAT = "/usr/bin/stat";
/** Of stat(1) for what it cannot read, and of flock(1) for a lock that is held. */
const EXIT = { unreadable: 1, held: 75 };
/** In units of the filesystem's blocks; what it prefers to transfer (%s) is another size on FUSE. */
const FORMAT = "%S %b %f %a";

/**
 * A hard NFS mount whose server is away answers statfs(2) never. In this process each such call would keep one of its
 * few threads, and four of them all its files; so another process asks, which takes 3 ms.
 *
 * It holds a lock until its real end. Where even a kill does not end it (FUSE, a dead disk), the next is refused at
 * once, by this agent or one that was started anew, and no more of them gather than there are roots.
 */
export class RootSpaces {
  readonly #options: RootSpaceOptions;
  readonly #asked = new Map<string, Promise<RootSpace | undefined>>();

  constructor(options: RootSpaceOptions) {
    this.#options = options;
  }

  /**
   * Asked now; whoever asks meanwhile gets the same answer. Undefined when there is no such folder.
   * @throws BlockDeviceError saying why it cannot be told, as that the filesystem does not answer
   */
  read(root: string): Promise<RootSpace | undefined> {
    const asked = this.#asked.get(root) ?? this.#ask(root).finally(() => this.#asked.delete(root));
    this.#asked.set(root, asked);
    return asked;
  }

  async #ask(root: string): Promise<RootSpace | undefined> {
    const { runner, lockFolder, limitMs: timeoutMs = LIMIT_MS, stat = STAT } = this.#options;
    await mkdir(lockFolder, { recursive: true, mode: 0o700 });
    const lock = path.join(lockFolder, createHash("sha256").update(root).digest("hex").slice(0, 32));
    const locking = [FLOCK, "--no-fork", "--nonblock", "--conflict-exit-code", String(EXIT.held), lock] as const;
    const asking = [stat, "--file-system", `--format=${FORMAT}`, root];
    try {
      const { exitCode, stdout, stderr } = await runner.run({
        ...{ argv: [...locking, ...asking], timeoutMs, leaveWhenKilled: true },
        okExitCodes: [0, ...Object.values(EXIT)],
      });
      if (exitCode === EXIT.held) throw new BlockDeviceError("its filesystem does not answer, it was asked before");
      if (exitCode === 0) return spaceIn(stdout);
      if (stderr.trimEnd().endsWith(": No such file or directory")) return undefined;
      throw new BlockDeviceError(stderr.trim());
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      throw new BlockDeviceError(`its filesystem does not answer: ${error.message}`, { cause: error });
    }
  }
}

/** @throws BlockDeviceError when it is not what stat(1) prints in our format */
function spaceIn(printed: string): RootSpace {
  const match = /^(\d+) (\d+) (\d+) (\d+)\n$/.exec(printed);
  if (match === null) throw new BlockDeviceError(`stat printed ${JSON.stringify(printed.slice(0, 200))}`);
  const [blockBytes = 0n, total = 0n, free = 0n, available = 0n] = match.slice(1).map(BigInt);
  const mib = (count: bigint) => Number((count * blockBytes) / BigInt(BYTES_PER_MIB));
  return { totalMib: mib(total), freeMib: mib(available), usedMib: mib(total - free) };
}
