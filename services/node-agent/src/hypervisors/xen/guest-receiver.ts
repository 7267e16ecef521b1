/**
 * The place where a guest from another node is let in: socat takes one connection over TLS, both ends showing
 * their certificates, and hands it to `xl migrate-receive` (spec/node-ops.json, `hv.xen`, op `migrate target`).
 */
import { readFile } from "node:fs/promises";
import { isIPv6 } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { HypervisorError } from "@gannet/errors";
import { type CommandRunner, endProcessGroup } from "@gannet/exec";
import { findProcesses, processLives } from "../process-identity.ts";
import { type NodeIdentity, socatText, socatTls } from "../socat-address.ts";
import type { Argv } from "./toolstack.ts";

/** Ports that are tried, from the first: so many guests can come at once. */
const PORTS = 16;
const STARTS_WITHIN_MS = 10_000;
/** How long the other node may take to begin. */
const ACCEPT_SECONDS = 600;
/** A guest with much memory that changes fast takes long. */
const ARRIVES_WITHIN_MS = 24 * 60 * 60 * 1000;
const END_GRACE_MS = 2_000;
/** As Ganeti has it: memory comes in large pieces. */
export const BUFFER_BYTES = 524_288;

export interface GuestReceiver {
  readonly port: number;
  /** Let nobody in any more, and break off what has begun. Idempotent. */
  close(): Promise<void>;
}

export interface ReceiverInput {
  readonly socatPath: string;
  readonly toolstackPath: string;
  readonly identity: NodeIdentity;
  /** The node that the guest comes from. */
  readonly sourceNode: string;
  /** Of this node, on the network that migrations use. */
  readonly address: string;
  /** What it prints. */
  readonly logFile: string;
}

export function receiverArgv(input: Omit<ReceiverInput, "logFile">, port: number): Argv {
  const { socatPath, toolstackPath, identity, sourceNode, address } = input;
  const listen = [
    `OPENSSL-LISTEN:${port}`,
    `bind=${isIPv6(address) ? `[${address}]` : address}`,
    ...(isIPv6(address) ? ["pf=ip6"] : []),
    "reuseaddr",
    `accept-timeout=${ACCEPT_SECONDS}`,
    ...socatTls(identity, sourceNode),
  ];
  return [socatPath, `-b${BUFFER_BYTES}`, listen.join(","), `EXEC:${socatText(toolstackPath)} migrate-receive`];
}

/** One that an earlier life of the agent left: what may be taking a guest in outlives the agent. */
export async function findReceiver(
  input: Omit<ReceiverInput, "logFile">,
  port: number,
): Promise<GuestReceiver | undefined> {
  const argv = receiverArgv(input, port);
  const [found] = await findProcesses((args) => argv.every((arg, index) => args[index] === arg));
  if (found === undefined) return undefined;
  const close = async () => {
    if (await processLives(found)) await endProcessGroup(found.pid, END_GRACE_MS);
  };
  return { port, close };
}

/** @throws HypervisorError when no port is free or socat does not start; nothing listens then */
export async function receiveGuest(
  runner: CommandRunner,
  input: ReceiverInput,
  firstPort: number,
  signal: AbortSignal,
): Promise<GuestReceiver> {
  for (let port = firstPort; port < Math.min(firstPort + PORTS, 65_536); port += 1) {
    if (await isListening(port)) continue;
    return listenOn(runner, input, port, signal);
  }
  throw new HypervisorError(
    `No port from ${firstPort} on is free for the guest; try again when other migrations are over`,
  );
}

async function listenOn(
  runner: CommandRunner,
  input: ReceiverInput,
  port: number,
  signal: AbortSignal,
): Promise<GuestReceiver> {
  const closing = new AbortController();
  const closed = runner
    .run({
      argv: receiverArgv(input, port),
      timeoutMs: ARRIVES_WITHIN_MS,
      outlives: { logFile: input.logFile },
      signal: closing.signal,
    })
    .then(
      () => "it ended at once",
      (error: Error) => error.message,
    );
  const receiver: GuestReceiver = {
    port,
    close: async () => {
      closing.abort();
      await closed;
    },
  };
  const problem = await Promise.race([closed, untilListening(port, signal)]);
  if (problem === undefined) return receiver;
  await receiver.close();
  throw new HypervisorError(`A guest cannot be let in on port ${port}: ${problem}`);
}

/** Undefined when it listens, else why it does not. */
async function untilListening(port: number, signal: AbortSignal): Promise<string | undefined> {
  const deadline = performance.now() + STARTS_WITHIN_MS;
  while (!(await isListening(port))) {
    if (signal.aborted) return "the operation was aborted";
    if (performance.now() > deadline) return `nothing listens after ${STARTS_WITHIN_MS / 1000} s`;
    await delay(20);
  }
  return undefined;
}

/** Looked up, not tried: a connection would be taken for the guest. */
async function isListening(port: number): Promise<boolean> {
  const tables = await Promise.all(
    ["/proc/net/tcp", "/proc/net/tcp6"].map((file) => readFile(file, "utf8").catch(() => "")),
  );
  return tables.some((table) => listeningPorts(table).has(port));
}

/** proc(5), `/proc/net/tcp`: the local address ends in the port in hexadecimal, state 0A is LISTEN. */
export function listeningPorts(table: string): ReadonlySet<number> {
  const rows = table.matchAll(/^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A /gm);
  return new Set([...rows].map(([, port = "0"]) => Number.parseInt(port, 16)));
}
