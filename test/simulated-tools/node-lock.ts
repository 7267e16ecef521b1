/** One simulated tool of a node at a time, as LVM's locks and the kernel's have it. */
import { createHash } from "node:crypto";
import { readFileSync, realpathSync, renameSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

const RETRY_MS = 5;

/**
 * Run `work` while no other process holds the node's lock of that name.
 *
 * The lock is a socket's name in Linux's abstract namespace: the kernel gives it to one process, and takes it back
 * when that process dies, however it dies. A lock file would outlive a tool that is killed.
 */
export async function withNodeLock<Result>(
  nodeFolder: string,
  name: string,
  work: () => Promise<Result> | Result,
): Promise<Result> {
  const digest = createHash("sha256").update(realpathSync(nodeFolder)).digest("hex");
  const held = await take(`\0gannet-simulated-${name}-${digest}`);
  try {
    return await work();
  } finally {
    held.close();
  }
}

async function take(address: string): Promise<Server> {
  for (;;) {
    const server = await listen(address);
    if (server !== undefined) return server;
    await delay(RETRY_MS);
  }
}

/** Undefined when another process has the name. */
function listen(address: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "EADDRINUSE" ? resolve(undefined) : reject(error),
    );
    server.listen(address, () => resolve(server));
  });
}

export function readJsonFile<Value>(file: string): Value {
  return JSON.parse(readFileSync(file, "utf8"));
}

/** At once: a reader, and the next tool after a kill, see the old contents or the new. */
export function writeJsonFile(file: string, value: unknown): void {
  const temporary = `${file}.new`;
  writeFileSync(temporary, `${JSON.stringify(value, null, 1)}\n`, { mode: 0o600 });
  renameSync(temporary, file);
}
