/** Two nodes of one cluster, each with its transfers, on this machine's loopback; real socat, dd, gzip and openssl. */
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createCommandRunner } from "@gannet/exec";
import { createCa, issueCertificate } from "@gannet/pki";
import { silentLogger } from "@gannet/telemetry";
import { createOsDefinitions, type OsDefinitions } from "../../src/os/index.ts";
import { createTransfers } from "../../src/transfers/create-transfers.ts";
import type { TransferEnd, TransferOptions, TransferRequest, Transfers } from "../../src/transfers/transfers.ts";

export const INSTANCE = "web1.example.com";
const MIB = 1024 * 1024;
const logger = silentLogger();

export interface TestNode {
  readonly transfers: Transfers;
  readonly stateDir: string;
  readonly pkiDir: string;
  readonly exportDir: string;
  readonly os: OsDefinitions;
  readonly records: string;
}

type Runner = ReturnType<typeof createCommandRunner>;

export interface TransferFixtureOptions {
  /** Where other OS definitions are than those that a test makes. */
  readonly osSearchPath?: readonly string[];
  /** What commands are run by. */
  readonly runnerOf?: (runner: Runner) => Runner;
}

export async function transferFixture({ osSearchPath, runnerOf = (runner) => runner }: TransferFixtureOptions = {}) {
  const base = await mkdtemp(path.join(tmpdir(), "gannet-transfers-"));
  const osFolder = path.join(base, "os");
  await mkdir(osFolder);
  const ca = await createCa({ dir: path.join(base, "ca") });

  async function node(name: string): Promise<TestNode> {
    const stateDir = path.join(base, name);
    const records = path.join(stateDir, "commands");
    await mkdir(records, { recursive: true });
    const runner = runnerOf(createCommandRunner({ logger, killGraceMs: 500, recordFolder: records }));
    const pkiDir = path.join(stateDir, "pki");
    const nodeName = `${name}.gannet.test`;
    await issueCertificate({ ca, name: nodeName, sans: [], usage: "node", dir: pkiDir });
    const os = createOsDefinitions({ searchPath: osSearchPath ?? [osFolder], stateDir, runner, logger });
    const exportDir = path.join(stateDir, "export");
    const transfers = await createTransfers({ nodeName, stateDir, pkiDir, exportDir, os, runner, logger });
    return { transfers, stateDir, pkiDir, exportDir, os, records };
  }

  const [source, target] = [await node("node1"), await node("node2")];
  return {
    base,
    osFolder,
    source,
    target,
    /** A file with contents that compress to about half. */
    disk: async (name: string, sizeMib: number, contents: "random" | "empty" = "random") => {
      const file = path.join(base, name);
      const half = Buffer.concat([randomBytes(MIB / 2), Buffer.alloc(MIB / 2)]);
      const parts = Array.from({ length: sizeMib }, () => half);
      await writeFile(file, contents === "random" ? Buffer.concat(parts) : Buffer.alloc(sizeMib * MIB));
      return file;
    },
    close: async () => {
      await source.transfers.close();
      await target.transfers.close();
      await rm(base, { recursive: true });
    },
  };
}
export type TransferFixture = Awaited<ReturnType<typeof transferFixture>>;

export function transferOptions(changes: Partial<TransferOptions> = {}): TransferOptions {
  return {
    compress: "none",
    magic: "",
    ipv6: false,
    connectTimeoutSeconds: 20,
    keyName: "",
    peerCertificatePem: "",
    ...changes,
  };
}

export function diskEnd(file: string, sizeMib: number): TransferEnd {
  return { kind: "disk", disk: { path: file, kind: "file", format: "raw" }, sizeMib };
}

export function request(end: TransferEnd, options: Partial<TransferOptions> = {}): TransferRequest {
  return { options: transferOptions(options), instanceName: INSTANCE, component: "disk0", end };
}

const { signal } = new AbortController();

/** Start both ends. */
export async function connect(
  from: TestNode,
  to: TestNode,
  ends: { readonly source: TransferEnd; readonly target: TransferEnd },
  options: { readonly source?: Partial<TransferOptions>; readonly target?: Partial<TransferOptions> } = {},
) {
  const importName = await to.transfers.startImport(
    { ...request(ends.target, options.target), address: "127.0.0.1" },
    signal,
  );
  const port = await listenPort(to, importName);
  const exportName = await from.transfers.startExport(
    { ...request(ends.source, options.source), host: "127.0.0.1", port },
    signal,
  );
  return { importName, exportName, port };
}

export async function listenPort(node: TestNode, name: string): Promise<number> {
  for await (const [state] of node.transfers.follow([name], signal)) return state?.listenPort ?? 0;
  return 0;
}

/** The last state of one transfer. */
export async function outcome(node: TestNode, name: string) {
  const states = await all(node.transfers.follow([name], signal));
  const [last] = states.at(-1) ?? [];
  if (last === undefined) throw new Error(`Nothing is told of ${name}`);
  return last;
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

/** Nothing of a transfer may be left on a node once it is over. */
export async function leftovers(node: TestNode): Promise<readonly string[]> {
  const folders = await readdir(path.join(node.stateDir, "transfers")).catch(() => []);
  return [...folders, ...(await readdir(node.records))];
}

export async function sameContents(a: string, b: string): Promise<boolean> {
  return (await readFile(a)).equals(await readFile(b));
}

/** Command lines of running processes that hold the text; zombies have none. */
export async function processesOf(text: string): Promise<readonly string[]> {
  const lines = await Promise.all(
    (await readdir("/proc"))
      .filter((pid) => /^\d+$/.test(pid))
      .map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
  );
  return lines.map((line) => line.replaceAll("\0", " ")).filter((line) => line.includes(text));
}
