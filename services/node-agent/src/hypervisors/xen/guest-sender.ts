/** Sending a guest to another node: `xl migrate` over socat's TLS, watched until it is over. */
import { open, readFile, rm } from "node:fs/promises";
import { isIPv6 } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { MigrationTarget } from "@gannet/driver-contract";
import type { CommandRunner } from "@gannet/exec";
import { processArguments } from "../process-identity.ts";
import { type NodeIdentity, socatTls } from "../socat-address.ts";
import { BUFFER_BYTES } from "./guest-receiver.ts";
import { parseProgress, type SentPages } from "./migration-progress.ts";
import { migrateArgv, type Toolstack } from "./toolstack.ts";

const SENT_WITHIN_MS = 24 * 60 * 60 * 1000;
const LOOK_MS = 500;
/** After its transport was taken away `xl` lets the guest go on here, and ends. */
const GIVES_UP_WITHIN_MS = 60_000;
const LOG_TAIL_BYTES = 4096;

export interface SenderInput {
  readonly socatPath: string;
  readonly toolstack: Toolstack;
  readonly identity: NodeIdentity;
  readonly target: MigrationTarget;
  readonly guestName: string;
  readonly configFile: string;
  /** Files of this migration alone: what `xl` prints, and the transport's process id. */
  readonly logFile: string;
  readonly lockFile: string;
}

export function senderArgv({ socatPath, toolstack, identity, target, guestName, configFile, lockFile }: SenderInput) {
  const address = isIPv6(target.address) ? `[${target.address}]` : target.address;
  const connect = [`OPENSSL:${address}:${target.port}`, ...socatTls(identity, target.nodeName)].join(",");
  const transport = [socatPath, "-L", lockFile, `-b${BUFFER_BYTES}`, "-", connect];
  return migrateArgv(toolstack, { transport, configFile, domain: guestName, address: target.address });
}

export type SenderNews =
  | ({ readonly kind: "sending" } & SentPages)
  /** `problem` is undefined when `xl` ended well, which is not yet a proof. */
  | ({ readonly kind: "over"; readonly problem: string | undefined } & SentPages);

/**
 * Aborting takes the transport away, never `xl` itself, which has the guest in its hands: it has to let it go on.
 */
export async function* sendGuest(
  runner: CommandRunner,
  input: SenderInput,
  signal: AbortSignal,
): AsyncGenerator<SenderNews> {
  await rm(input.logFile, { force: true });
  await rm(input.lockFile, { force: true });
  const killing = new AbortController();
  const sending = runner.run({
    argv: senderArgv(input),
    timeoutMs: SENT_WITHIN_MS,
    logFile: input.logFile,
    signal: killing.signal,
  });
  const over = sending.then(
    () => ({ problem: undefined }),
    (error: Error) => ({ problem: error.message }),
  );
  let pages: SentPages = { transferredBytes: 0, totalBytes: 0 };
  let killAt = Number.POSITIVE_INFINITY;
  for (;;) {
    const waited = new AbortController();
    const tick = delay(LOOK_MS, undefined, { signal: waited.signal }).catch(() => undefined);
    const end = await Promise.race([over, tick]);
    waited.abort();
    pages = parseProgress(await tailOf(input.logFile)) ?? pages;
    if (end !== undefined) {
      yield { kind: "over", ...pages, problem: end.problem };
      return;
    }
    if (signal.aborted) {
      killAt = Math.min(killAt, performance.now() + GIVES_UP_WITHIN_MS);
      await endTransport(input.lockFile);
      if (performance.now() > killAt) killing.abort();
    }
    yield { kind: "sending", ...pages };
  }
}

/** The process that holds the lock file, if it is the transport. */
async function endTransport(lockFile: string): Promise<void> {
  const pid = Number((await readFile(lockFile, "utf8").catch(() => "")).trim());
  if (!Number.isInteger(pid) || pid <= 1) return;
  if (!(await processArguments(pid)).includes(lockFile)) return;
  try {
    process.kill(pid, "SIGTERM");
  } catch {
    // It ended meanwhile.
  }
}

async function tailOf(file: string): Promise<string> {
  const handle = await open(file).catch(() => undefined);
  if (handle === undefined) return "";
  try {
    const { size } = await handle.stat();
    const length = Math.min(size, LOG_TAIL_BYTES);
    const { buffer } = await handle.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.toString("utf8");
  } finally {
    await handle.close();
  }
}
