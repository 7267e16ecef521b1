/**
 * What the cluster needs of a node and only the node can see (spec/rpc.json, `node_verify_keys`): each kind of check
 * is a row of a table. What is wrong is answered, never thrown: one missing file must not hide the rest.
 */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { access, open, stat } from "node:fs/promises";
import path from "node:path";
import type { HypervisorDriver } from "@gannet/driver-contract";
import { CommandError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { type HypervisorName, isInterfaceName } from "@gannet/objects";
import { certificateValidity } from "@gannet/pki";
import type { VerifyNodeReply, VerifyProblem } from "@gannet/rpc";
import { AGENT_VERSION } from "../agent-version.ts";
import type { SiteAllocators } from "../allocators/site-allocators.ts";
import { type AllowedRoots, isForbidden, rootOf } from "../block-devices/allowed-path.ts";
import type { RootSpaces } from "../block-devices/file/root-space.ts";
import { isErrno } from "../errno.ts";
import type { NetworkTools } from "../nics/network-tools.ts";
import { distrustOfProgramAt } from "../site-commands/trusted-file.ts";
import { readBridges } from "./bridges.ts";

/** Where this node keeps the files of one template. */
export interface FileStoragePlace {
  readonly allowed: AllowedRoots;
  /** Paths are kept below this folder, whole (`storageRoot` in the agent's configuration). */
  readonly below?: string | undefined;
  /** A folder that is not there yet will be made. */
  readonly isMadeWhenUsed?: boolean;
}

export interface NodeVerificationParts {
  readonly hypervisors: ReadonlyMap<HypervisorName, HypervisorDriver>;
  readonly fileStorage: Readonly<Partial<Record<string, FileStoragePlace>>>;
  readonly spaces: Pick<RootSpaces, "read">;
  readonly networkTools: Pick<NetworkTools, "ovsVsctl">;
  readonly runner: CommandRunner;
  /** None by default. */
  readonly allocators?: Pick<SiteAllocators, "require">;
  /** Files with certificates, whose ends are told; none when absent. */
  readonly certificates?: readonly string[];
  /** Files that are to be the same on all nodes, by what they are. */
  readonly siteFiles?: Readonly<Record<string, string>>;
  /** The site's script that moves the cluster's address. */
  readonly masterAddressScript?: string;
  /** User id that the script must belong to; root's by default. */
  readonly owner?: number;
}

/** What is to be checked; every path is absolute. */
export interface NodeVerificationRequest {
  readonly files: readonly string[];
  readonly executables: readonly string[];
  readonly bridges: readonly string[];
  readonly fileStorage: readonly { readonly template: string; readonly path: string }[];
  readonly masterAddressScript: boolean;
  readonly allocators: readonly string[];
}

type CheckName =
  | "allocator"
  | "file"
  | "executable"
  | "bridge"
  | "file-storage"
  | "file-storage-root"
  | "hypervisor"
  | "node-setup"
  | "user-script";
/** Each item with what is wrong with it, or undefined. */
type Findings = readonly (readonly [item: string, problem: string | undefined])[];

/** Distributed files are small; a larger one is none of them. */
const LARGEST_FILE_BYTES = 16 * 1024 * 1024;
const COMMAND_TIMEOUT_MS = 10_000;
/** Without these nothing on the node can work. */
const NEEDED_MOUNTS = ["/proc/self/mountinfo", "/sys/class/net", "/dev/null"];

export class NodeVerification {
  readonly #parts: NodeVerificationParts;

  constructor(parts: NodeVerificationParts) {
    this.#parts = parts;
  }

  async verify(request: NodeVerificationRequest, signal: AbortSignal): Promise<VerifyNodeReply> {
    // One after another: each is held in memory as a whole.
    const digests: (readonly [file: string, digest: Digest])[] = [];
    for (const file of request.files) digests.push([file, await digestOf(file)]);
    const checks: Readonly<Record<CheckName, () => Promise<Findings>>> = {
      allocator: () => each(request.allocators, (name) => this.#allocatorProblem(name)),
      file: async () => digests.map(([file, digest]) => [file, digest.problem]),
      executable: () => each(request.executables, executableProblem),
      bridge: () => this.#bridges(request.bridges, signal),
      "file-storage": () => this.#fileStorage(request.fileStorage),
      "file-storage-root": async () => this.#roots(request.fileStorage),
      hypervisor: () => this.#hypervisors(signal),
      "node-setup": () => each(NEEDED_MOUNTS, setupProblem),
      "user-script": () => this.#userScripts(request),
    };
    const found = await Promise.all(
      Object.entries(checks).map(async ([check, run]) => problemsOf(check as CheckName, await run())),
    );
    signal.throwIfAborted();
    return {
      digests: digests.flatMap(([file, { sha256 }]) => (sha256 === undefined ? [] : [{ path: file, sha256 }])),
      problems: found.flat(),
      clockMs: Date.now(),
      agentVersion: AGENT_VERSION,
      siteFiles: await Promise.all(
        Object.entries(this.#parts.siteFiles ?? {}).map(async ([path, file]) => ({
          path,
          sha256: (await digestOf(file)).sha256 ?? "",
        })),
      ),
      certificates: await Promise.all((this.#parts.certificates ?? []).map(certificateValidity)),
    };
  }

  /** Linux's are looked up; only the rest is asked of Open vSwitch, where there is one. */
  async #bridges(names: readonly string[], signal: AbortSignal): Promise<Findings> {
    const present = new Set(await readBridges());
    return each(names, async (name) => {
      if (present.has(name) || (isInterfaceName(name) && (await this.#isSwitch(name, signal)))) return undefined;
      return "there is no such bridge on this node";
    });
  }

  async #isSwitch(name: string, signal: AbortSignal): Promise<boolean> {
    const program = this.#parts.networkTools.ovsVsctl;
    if (!(await isAccessible(program, constants.X_OK))) return false;
    try {
      const argv = [program, "--timeout=5", "br-exists", name] as const;
      const { exitCode } = await this.#parts.runner.run({
        argv,
        timeoutMs: COMMAND_TIMEOUT_MS,
        okExitCodes: [0, 2],
        signal,
      });
      return exitCode === 0;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      return false;
    }
  }

  async #fileStorage(folders: NodeVerificationRequest["fileStorage"]): Promise<Findings> {
    const problems = await each(folders, ({ template, path: folder }) =>
      storageProblem(template, folder, this.#place(template), this.#parts.spaces),
    );
    const told = new Set(folders.map(({ template, path: folder }) => targetOf(folder, this.#place(template))));
    const roots = this.#usedPlaces(folders)
      .filter((place) => !place.isMadeWhenUsed)
      .flatMap(({ allowed }) => allowed.roots.filter((root) => !isForbidden(root, allowed.ownFolder)));
    const untold = [...new Set(roots)].filter((root) => !told.has(root));
    return [
      ...problems.map(([{ path: folder }, problem]) => [folder, problem] as const),
      ...(await each(untold, (root) => this.#rootProblem(root))),
    ];
  }

  async #rootProblem(root: string): Promise<string | undefined> {
    return this.#parts.spaces
      .read(root)
      .then((space) => (space === undefined ? "it does not exist" : undefined), messageOf);
  }

  #place(template: string): FileStoragePlace | undefined {
    return Object.hasOwn(this.#parts.fileStorage, template) ? this.#parts.fileStorage[template] : undefined;
  }

  /** What the node's administrator allows and may not, of the templates that are in use. */
  #roots(folders: NodeVerificationRequest["fileStorage"]): Findings {
    return this.#usedPlaces(folders).flatMap(({ allowed: { roots, ownFolder } }) =>
      roots.map((root) => [root, isForbidden(root, ownFolder) ? "it is never allowed" : undefined] as const),
    );
  }

  #usedPlaces(folders: NodeVerificationRequest["fileStorage"]): readonly FileStoragePlace[] {
    const templates = new Set(folders.map(({ template }) => template));
    return [...templates].map((template) => this.#place(template)).filter((place) => place !== undefined);
  }

  async #userScripts({ masterAddressScript: isUsed }: NodeVerificationRequest): Promise<Findings> {
    const { masterAddressScript: script, owner = 0 } = this.#parts;
    return isUsed && script !== undefined ? [[script, await distrustOfProgramAt(script, owner)]] : [];
  }

  async #allocatorProblem(name: string): Promise<string | undefined> {
    if (this.#parts.allocators === undefined) return "this node has no allocators";
    return this.#parts.allocators.require(name).then(() => undefined, messageOf);
  }

  async #hypervisors(signal: AbortSignal): Promise<Findings> {
    return each([...this.#parts.hypervisors.keys()], async (name) => {
      try {
        await this.#parts.hypervisors.get(name)?.describe(signal);
        return undefined;
      } catch (error) {
        return messageOf(error);
      }
    });
  }
}

async function each<Item, Found>(
  items: readonly Item[],
  look: (item: Item) => Promise<Found>,
): Promise<readonly (readonly [Item, Found])[]> {
  return Promise.all(items.map(async (item) => [item, await look(item)] as const));
}

function problemsOf(check: CheckName, findings: Findings): readonly VerifyProblem[] {
  return findings.flatMap(([item, problem]) => (problem === undefined ? [] : [{ check, item, problem }]));
}

interface Digest {
  readonly sha256: string | undefined;
  readonly problem: string | undefined;
}

/** O_NONBLOCK: opening a FIFO must not wait for its other end. */
async function digestOf(file: string): Promise<Digest> {
  try {
    await using handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const found = await handle.stat();
    if (!found.isFile()) return { sha256: undefined, problem: "it is no regular file" };
    if (found.size > LARGEST_FILE_BYTES)
      return { sha256: undefined, problem: `it has ${found.size} bytes, more than a distributed file may` };
    return {
      sha256: createHash("sha256")
        .update(await handle.readFile())
        .digest("hex"),
      problem: undefined,
    };
  } catch (error) {
    // Whether it should be there, the master knows from the others.
    return { sha256: undefined, problem: isErrno(error, "ENOENT") ? undefined : messageOf(error) };
  }
}

async function executableProblem(file: string): Promise<string | undefined> {
  const found = await stat(file).catch(messageOf);
  if (typeof found === "string") return found;
  if (!found.isFile()) return "it is no regular file";
  return (await isAccessible(file, constants.X_OK)) ? undefined : "it may not be executed";
}

async function setupProblem(file: string): Promise<string | undefined> {
  return (await isAccessible(file, constants.R_OK)) ? undefined : "it is not there or cannot be read";
}

async function storageProblem(
  template: string,
  folder: string,
  place: FileStoragePlace | undefined,
  spaces: Pick<RootSpaces, "read">,
): Promise<string | undefined> {
  if (place === undefined) return `this node keeps no files of disk template ${template}`;
  const target = targetOf(folder, place);
  try {
    // What a disk in the folder would be checked for.
    const root = rootOf(path.join(target, "disk"), place.allowed);
    // A look of this process at a filesystem that hangs would take one of its threads for good.
    if ((await spaces.read(root)) === undefined) return place.isMadeWhenUsed ? undefined : `${root} does not exist`;
    const found = await stat(target);
    if (!found.isDirectory()) return "it is not a folder";
    return (await isAccessible(target, constants.W_OK | constants.X_OK)) ? undefined : "it cannot be written to";
  } catch (error) {
    return place.isMadeWhenUsed && isErrno(error, "ENOENT") ? undefined : messageOf(error);
  }
}

function targetOf(folder: string, place: FileStoragePlace | undefined): string {
  return place?.below === undefined ? folder : path.join(place.below, folder);
}

function isAccessible(file: string, mode: number): Promise<boolean> {
  return access(file, mode).then(
    () => true,
    () => false,
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
