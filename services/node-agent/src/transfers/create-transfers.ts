/** The transfers and exports of this node. */
import { randomBytes, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, readFile, rm, writeFile } from "node:fs/promises";
import { BlockList, isIP } from "node:net";
import { networkInterfaces } from "node:os";
import path from "node:path";
import { OpExecError, OpPrereqError } from "@gannet/errors";
import type { CommandRunner, PipelineRunner } from "@gannet/exec";
import { IDENTITY_FILES } from "@gannet/pki";
import type { Logger } from "@gannet/telemetry";
import { openRawView, type RawView } from "../block-devices/raw-view.ts";
import { LineLog, type OsDefinitions } from "../os/index.ts";
import { compressionArgv } from "./compression.ts";
import { Exports } from "./exports.ts";
import { TransferKeys } from "./keys.ts";
import { type Place, socatArgv, type TransferIdentity } from "./socat.ts";
import { checkMagic, exportStages, importStages, type PlannedEnd } from "./stages.ts";
import { Transfer } from "./transfer.ts";
import type { TransferEnd, TransferRequest, TransferState, Transfers } from "./transfers.ts";

export interface TransfersOptions {
  readonly nodeName: string;
  /** The agent's state folder. */
  readonly stateDir: string;
  /** Holds the node's own certificate and key (libs/pki). */
  readonly pkiDir: string;
  /** Where exports of instances are kept (Ganeti: /srv/ganeti/export). */
  readonly exportDir: string;
  readonly os: OsDefinitions;
  readonly runner: CommandRunner & PipelineRunner;
  readonly logger: Logger;
}

const MIB = 1024 * 1024;
/** socat listens within milliseconds; Ganeti waits as long. */
const LISTEN_TIMEOUT_MS = 10_000;
/** Followers are told at least so often. */
const FOLLOW_MS = 1_000;
/** Transfers that are over and that nobody has ended are forgotten then. */
const FORGET_AFTER_MS = 24 * 60 * 60 * 1000;
const COMPONENT = /^[A-Za-z0-9_-]{1,60}$/;

/** What an earlier run of the agent left behind is removed; its programs were ended before (`endLeftoverCommands`). */
export async function createTransfers(options: TransfersOptions): Promise<Transfers> {
  const { stateDir, nodeName } = options;
  await rm(foldersOf(stateDir), { recursive: true, force: true });
  const keys = new TransferKeys({ folder: path.join(stateDir, "transfer-keys"), nodeName });
  await keys.removeExpired();
  return new NodeTransfers(options, keys, new Exports(options.exportDir, stateDir));
}

function foldersOf(stateDir: string): string {
  return path.join(stateDir, "transfers");
}

/** An end, opened for its programs. */
interface OpenedEnd {
  readonly planned: PlannedEnd;
  readonly files: readonly FileHandle[];
  readonly secrets: readonly string[];
  /** Of its script. */
  readonly log?: LineLog;
  readonly expectedMib: () => Promise<number | null>;
  /** Of the disk that it is, or that its script works on. */
  readonly view?: RawView;
}

class NodeTransfers implements Transfers {
  readonly #options: TransfersOptions;
  readonly #keys: TransferKeys;
  readonly #exports: Exports;
  readonly #transfers = new Map<string, Transfer>();
  #closed = false;

  constructor(options: TransfersOptions, keys: TransferKeys, exports: Exports) {
    this.#options = options;
    this.#keys = keys;
    this.#exports = exports;
  }

  async startImport(request: TransferRequest & { readonly address: string }, signal: AbortSignal): Promise<string> {
    checkOwnAddress(request.address);
    const transfer = await this.#start("import", request, { kind: "listen", address: request.address }, signal);
    try {
      const patience = AbortSignal.any([signal, AbortSignal.timeout(LISTEN_TIMEOUT_MS)]);
      while (transfer.state.listenPort === 0 && !transfer.state.over)
        await once(transfer.changes, "change", { signal: patience });
    } catch (error) {
      await this.end([transfer.name]);
      signal.throwIfAborted();
      throw new OpExecError(`The import does not come to listen at ${request.address}`, { cause: error });
    }
    const { over, problem } = transfer.state;
    if (!over) return transfer.name;
    await this.end([transfer.name]);
    throw new OpExecError(`The import cannot be started: ${problem}`);
  }

  async startExport(
    request: TransferRequest & { readonly host: string; readonly port: number },
    signal: AbortSignal,
  ): Promise<string> {
    const { host, port } = request;
    return (await this.#start("export", request, { kind: "connect", host, port }, signal)).name;
  }

  async *follow(names: readonly string[], signal: AbortSignal): AsyncGenerator<readonly TransferState[]> {
    const transfers = names.map((name) => {
      const transfer = this.#transfers.get(name);
      if (transfer === undefined) throw new OpPrereqError(`This node knows no transfer ${name}`, "unknown_entity");
      return transfer;
    });
    while (!signal.aborted) {
      const changed = nextChange(transfers, signal);
      const states = transfers.map(({ state }) => state);
      yield states;
      if (states.every(({ over }) => over)) return;
      await changed;
    }
  }

  async end(names: readonly string[]): Promise<void> {
    await Promise.all(
      names.map(async (name) => {
        await this.#transfers.get(name)?.end("It was ended on request");
        this.#transfers.delete(name);
      }),
    );
  }

  createCertificate(validitySeconds: number): Promise<{ readonly name: string; readonly pem: string }> {
    return this.#keys.create(validitySeconds);
  }

  removeCertificate(name: string): Promise<void> {
    return this.#keys.remove(name);
  }

  finalizeExport(instanceName: string, description: string): Promise<void> {
    return this.#exports.finalize(instanceName, description);
  }

  listExports(): Promise<readonly string[]> {
    return this.#exports.list();
  }

  exportInfo(name: string): Promise<string> {
    return this.#exports.info(name);
  }

  removeExport(name: string, what: "all" | "unfinished"): Promise<void> {
    return this.#exports.remove(name, what);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#transfers.values()].map((transfer) => transfer.end("The agent was stopped")));
    this.#transfers.clear();
  }

  async #start(
    mode: "import" | "export",
    request: TransferRequest,
    place: Place,
    signal: AbortSignal,
  ): Promise<Transfer> {
    this.#forgetOld();
    const { options, component, instanceName, end } = request;
    if (!COMPONENT.test(component))
      throw new OpPrereqError(`${JSON.stringify(component.slice(0, 80))} cannot name a transfer`, "wrong_input");
    checkMagic(options.magic);
    const compression = await compressionArgv(options.compress, mode === "import" ? "decompress" : "compress");
    const name = `${mode}-${component}-${randomBytes(6).toString("hex")}`;
    const folder = path.join(foldersOf(this.#options.stateDir), name);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    let opened: OpenedEnd | undefined;
    const cleanUp = async () => {
      for (const file of opened?.files ?? []) await file.close();
      await opened?.log?.close();
      await opened?.view?.[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    };
    try {
      const socat = socatArgv(place, { ipv6: options.ipv6, identity: await this.#identity(request, folder) });
      opened = await this.#open(mode, end, folder, signal);
      const { planned, secrets, log, expectedMib, view } = opened;
      signal.throwIfAborted();
      if (this.#closed) throw new OpExecError("The agent is being stopped");
      const { runner, logger } = this.#options;
      logger.info({ transfer: name, instance: instanceName, place }, "transfer started");
      const transfer = new Transfer({
        ...{
          name,
          connectTimeoutSeconds: options.connectTimeoutSeconds,
          expectedMib,
          secrets,
          runner,
          logger,
          cleanUp,
        },
        ...(log === undefined ? {} : { log }),
        ...(mode === "import" && view !== undefined ? { complete: (running) => view.keep(running) } : {}),
        stages: (running) => {
          const plan = {
            ...{ socat, compression, magic: options.magic, end: planned },
            onLine: running.noteLine.bind(running),
            onDdStart: running.noteDdStart.bind(running),
          };
          return mode === "import" ? importStages(plan) : exportStages(plan);
        },
        ...(planned.kind !== "file"
          ? {}
          : mode === "import"
            ? { output: planned.descriptor }
            : { input: planned.descriptor }),
      });
      this.#transfers.set(name, transfer);
      return transfer;
    } catch (error) {
      await cleanUp();
      throw error;
    }
  }

  async #identity({ options }: TransferRequest, folder: string): Promise<TransferIdentity> {
    const { pkiDir } = this.#options;
    const own =
      options.keyName === ""
        ? { keyFile: path.join(pkiDir, IDENTITY_FILES.key), certFile: path.join(pkiDir, IDENTITY_FILES.cert) }
        : await this.#keys.find(options.keyName);
    if (options.peerCertificatePem === "") return { ...own, peerFile: path.join(pkiDir, IDENTITY_FILES.ca) };
    const peerFile = path.join(folder, "peer.pem");
    await writeFile(peerFile, certificateOf(options.peerCertificatePem), { mode: 0o600, flag: "wx" });
    return { ...own, peerFile };
  }

  async #open(mode: "import" | "export", end: TransferEnd, folder: string, signal: AbortSignal): Promise<OpenedEnd> {
    if (end.kind === "file" || end.disk.format === "raw") return this.#openRaw(mode, end, folder);
    const view = await openRawView(this.#options.runner, end.disk, signal);
    try {
      return { ...(await this.#openRaw(mode, throughView(end, view), folder)), view };
    } catch (error) {
      await view[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #openRaw(mode: "import" | "export", end: TransferEnd, folder: string): Promise<OpenedEnd> {
    switch (end.kind) {
      case "disk":
        return {
          planned: { kind: "disk", path: end.disk.path },
          files: [],
          secrets: [],
          expectedMib: async () => end.sizeMib,
        };
      case "file": {
        const reading = mode === "export";
        const file = await (reading
          ? this.#exports.openForReading(end.instanceName, end.file)
          : this.#exports.openForWriting(end.instanceName, end.file));
        const sizeMib = reading ? (await file.stat()).size / MIB : null;
        return {
          planned: { kind: "file", descriptor: file.fd },
          files: [file],
          secrets: [],
          expectedMib: async () => sizeMib,
        };
      }
      case "script": {
        const { disk: device, index } = end;
        const command = await this.#options.os.transferCommand(mode, end.request, { device, index });
        const { secrets, logFile } = command;
        const log = await LineLog.open(logFile, this.#options.logger);
        if (mode === "import")
          return {
            planned: { kind: "script", command },
            files: [],
            secrets,
            log,
            expectedMib: async () => null,
          };
        const sizeFile = path.join(folder, "size");
        const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
        const file = await open(sizeFile, flags, 0o600).catch(async (error: unknown) => {
          await log.close();
          throw error;
        });
        return {
          planned: { kind: "script", command, sizeDescriptor: file.fd },
          files: [file],
          secrets,
          log,
          expectedMib: () => readSizeMib(sizeFile),
        };
      }
    }
  }

  #forgetOld(): void {
    const before = performance.now() - FORGET_AFTER_MS;
    for (const [name, { endedAtMs }] of this.#transfers)
      if (endedAtMs !== undefined && endedAtMs < before) this.#transfers.delete(name);
  }
}

/** The end as its programs are to find it: its script finds the disk among the instance's, too. */
function throughView(end: Exclude<TransferEnd, { readonly kind: "file" }>, { disk }: RawView): TransferEnd {
  if (end.kind === "disk") return { ...end, disk };
  const { request } = end;
  const disks = request.guest.disks.map((each) =>
    each.path === end.disk.path ? { ...each, path: disk.path, format: disk.format } : each,
  );
  return { ...end, disk, request: { ...request, guest: { ...request.guest, disks } } };
}

/** Linux has all of them, and lists one (RFC 1122, 3.2.1.3). */
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8);

/** socat would try for ever to listen at another one. */
function checkOwnAddress(address: string): void {
  const own = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  const isOwn = own.some((each) => each.address === address) || (isIP(address) === 4 && LOOPBACK.check(address));
  if (!["0.0.0.0", "::"].includes(address) && !isOwn)
    throw new OpPrereqError(`${JSON.stringify(address.slice(0, 80))} is no address of this node`, "environment_error");
}

/** Of what a PEM holds, the first certificate alone: Ganeti's come with a line of its own in front. */
function certificateOf(pem: string): string {
  try {
    return new X509Certificate(pem).toString();
  } catch {
    throw new OpPrereqError("The other end's certificate cannot be read", "wrong_input");
  }
}

/** What an export script has written to EXP_SIZE_FD: bytes and a line's end; null while it has not. */
async function readSizeMib(file: string): Promise<number | null> {
  const [, bytes] = /^\s*(\d{1,18})\s*\n/.exec(await readFile(file, "utf8").catch(() => "")) ?? [];
  return bytes === undefined ? null : Number(bytes) / MIB;
}

/** Resolves, never rejects, at the first change of one of them, after a while, and when nobody listens any more. */
function nextChange(transfers: readonly Transfer[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", settle);
      for (const { changes } of transfers) changes.off("change", settle);
      resolve();
    };
    const timer = setTimeout(settle, FOLLOW_MS);
    signal.addEventListener("abort", settle, { once: true });
    for (const { changes } of transfers) changes.once("change", settle);
  });
}
