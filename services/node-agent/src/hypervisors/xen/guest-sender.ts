/** Sending a guest to another node: `xl migrate` over socat's TLS, watched until it is over. */
import { readFile, rm } from "node:fs/promises";
import { isIPv6 } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { MigrationTarget } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { fileTail } from "../../file-tail.ts";
import { processArguments } from "../process-identity.ts";
import { type NodeIdentity, socatTls } from "../socat-address.ts";
import { BUFFER_BYTES } from "./guest-receiver.ts";
import { parseProgress, type SentPages } from "./migration-progress.ts";
import { migrateArgv, type Toolstack } from "./toolstack.ts";
import { runs, untilEnded, type XlProcess } from "./xl-processes.ts";

const SENT_WITHIN_MS = 24 * 60 * 60 * 1000;
const LOOK_MS = 500;
/** After its transport was taken away `xl` lets the guest go on here, and ends. */
const GIVES_UP_WITHIN_MS = 60_000;
const ENDING_LOOK_MS = 100;
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

/** By which a migration is found again, of whichever life of the agent. */
export type SenderFiles = Pick<SenderInput, "configFile" | "logFile" | "lockFile">;

export type SenderNews =
  | ({ readonly kind: "sending" } & SentPages)
  /** `problem` is undefined when `xl` ended well, which is not yet a proof. */
  | ({ readonly kind: "over"; readonly problem: string | undefined } & SentPages);

/**
 * Aborting takes the transport away, never `xl` itself, which has the guest in its hands: it has to let it go on. For
 * the same reason `xl` outlives the agent: killed, it leaves a suspended domain.
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
    outlives: { logFile: input.logFile },
    signal: killing.signal,
  });
  const over = sending.then(
    () => ({ problem: undefined }),
    (error: Error) => ({ problem: error.message }),
  );
  yield* watch(over, input, { signal, kill: () => killing.abort() });
}

/** What an earlier life of the agent began. How `xl` ends cannot be known: what Xen lists then tells. */
export async function* followGuest(files: SenderFiles, signal: AbortSignal): AsyncGenerator<SenderNews> {
  const watched = new AbortController();
  try {
    const over = untilEnded(senderOf(files), watched.signal).then(() => ({ problem: undefined }));
    yield* watch(over, files, { signal, kill: () => {} });
  } finally {
    watched.abort();
  }
}

/** `xl` itself, while it sends the guest. */
export function senderOf({ configFile }: SenderFiles): XlProcess {
  return { verb: "migrate", file: configFile };
}

/** Take the transport away, and wait for the end. @throws HypervisorError when `xl` does not end */
export async function breakOff(files: SenderFiles): Promise<void> {
  await ended(files, () => endTransport(files.lockFile));
}

/** @throws HypervisorError when `xl` does not end */
export async function waitForEnd(files: SenderFiles): Promise<void> {
  await ended(files, async () => {});
}

async function ended(files: SenderFiles, atEachLook: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + GIVES_UP_WITHIN_MS;
  while (await runs(senderOf(files))) {
    if (performance.now() > deadline)
      throw new HypervisorError("The guest is still being sent: Xen's migrate command does not end");
    await atEachLook();
    await delay(ENDING_LOOK_MS);
  }
}

async function* watch(
  over: Promise<{ readonly problem: string | undefined }>,
  files: SenderFiles,
  { signal, kill }: { readonly signal: AbortSignal; readonly kill: () => void },
): AsyncGenerator<SenderNews> {
  let pages: SentPages = { transferredBytes: 0, totalBytes: 0 };
  let killAt = Number.POSITIVE_INFINITY;
  for (;;) {
    const waited = new AbortController();
    const tick = delay(LOOK_MS, undefined, { signal: waited.signal }).catch(() => undefined);
    const end = await Promise.race([over, tick]);
    waited.abort();
    pages = parseProgress(await fileTail(files.logFile, LOG_TAIL_BYTES).catch(() => "")) ?? pages;
    if (end !== undefined) {
      yield { kind: "over", ...pages, problem: end.problem };
      return;
    }
    if (signal.aborted) {
      killAt = Math.min(killAt, performance.now() + GIVES_UP_WITHIN_MS);
      await endTransport(files.lockFile);
      if (performance.now() > killAt) kill();
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
