/** The OS definitions of this node: finding them, checking requests against them, and installing instances by them. */
import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import type { AttachedDevice, GuestSpec } from "@gannet/driver-contract";
import { OpExecError, OpPrereqError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { Parameters } from "@gannet/objects";
import type { Logger } from "@gannet/telemetry";
import { isErrno } from "../errno.ts";
import { checkGuestName } from "../hypervisors/guest-name.ts";
import { InvalidOsDefinition, type OsDefinition, type OsParameter, readOsDefinition } from "./definition.ts";
import { coreEnvironment, type Environment, instanceEnvironment, transferEnvironment } from "./environment.ts";
import { checkInstallation, seenFromInside, writeInstallation } from "./installation-disk.ts";
import { type OsName, parseOsName } from "./os-name.ts";
import { runScript } from "./run-script.ts";
import { ScriptLogs } from "./script-log.ts";

/** Where Ganeti looks (spec/config.json, `paths.os_search`). */
export const GANETI_OS_SEARCH_PATH: readonly string[] = [
  "/srv/ganeti/os",
  "/usr/local/lib/ganeti/os",
  "/usr/lib/ganeti/os",
  "/usr/share/ganeti/os",
];

export interface OsDefinitionsOptions {
  /** Absolute folders; a name is taken from the first that has it. Folders that do not exist are passed over. */
  readonly searchPath: readonly string[];
  /** The agent's state folder; logs of scripts go to `os-logs` in it. */
  readonly stateDir: string;
  readonly runner: CommandRunner;
  readonly logger: Logger;
  /** How long a create or rename script may take. Default one hour. */
  readonly scriptTimeoutMs?: number;
}

/** One definition as found here (proto/gannet/node/v1/os.proto, `OsDefinition`). */
export interface OsDefinitionFacts {
  readonly name: string;
  readonly path: string;
  readonly valid: boolean;
  /** Why it is not valid; empty when it is. */
  readonly problem: string;
  readonly variants: readonly string[];
  readonly parameters: readonly OsParameter[];
  readonly apiVersions: readonly number[];
  readonly trusted: boolean;
}

export interface OsValidateRequest {
  /** Name, or name+variant. */
  readonly os: string;
  /** Accept a variant that the definition does not list, or none where it lists some. */
  readonly forceVariant: boolean;
  readonly parameters: Readonly<Record<string, string>>;
  readonly runVerifyScript: boolean;
}

export interface OsCreateRequest {
  /** Name, or name+variant. */
  readonly os: string;
  /** Its disks are attached. */
  readonly guest: GuestSpec;
  /** Public, private and secret ones together. Never logged. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly reinstall: boolean;
  readonly debugLevel: number;
  readonly beparams: Parameters;
  /** Seconds since 1970. */
  readonly ctime: number;
  readonly mtime: number;
  /** UUIDs of nodes. */
  readonly primaryNode: string;
  readonly secondaryNodes: readonly string[];
}

/** The disk that an import or export script works on: the instance's own of this index, or a snapshot of it. */
export interface ScriptDisk {
  readonly device: AttachedDevice;
  readonly index: number;
}

/** A script of a definition, to be run as a part of something larger. */
export interface ScriptCommand {
  readonly argv: readonly [program: string];
  readonly cwd: string;
  readonly env: Environment;
  /** Values that must not appear in what is told of it: the script may print its parameters. */
  readonly secrets: readonly string[];
  /** An empty log of this one run, for what the script says (`LineLog`). */
  readonly logFile: string;
}

export interface OsDefinitions {
  /** All definitions, by name, those that are not valid with their problem. */
  diagnose(): Promise<readonly OsDefinitionFacts[]>;
  /** @throws OpPrereqError when an instance cannot be installed this way on this node */
  validate(request: OsValidateRequest, signal: AbortSignal): Promise<void>;
  /**
   * Run the create script. Running it again installs anew.
   * @throws OpPrereqError before anything ran; OpExecError when the script failed
   */
  create(request: OsCreateRequest, signal: AbortSignal): Promise<void>;
  /**
   * Run the rename script for an instance that has got the request's name.
   * @throws OpPrereqError, OpExecError as a create
   */
  rename(request: OsCreateRequest, oldName: string, signal: AbortSignal): Promise<void>;
  /**
   * Write what a machine needs to run the create_untrusted script. The instance's disks are not touched.
   * @param disk - nobody else has it in use
   * @throws OpPrereqError when there is no such script, or the definition does not fit
   */
  prepareInstallation(
    request: OsCreateRequest,
    disk: { readonly path: string; readonly sizeMib: number },
  ): Promise<void>;
  /**
   * Read how the script did.
   * @throws OpExecError unless it ended well
   */
  finishInstallation(
    request: Pick<OsCreateRequest, "os" | "parameters">,
    disk: { readonly path: string },
  ): Promise<void>;
  /**
   * The import script, which writes what it reads to the disk, or the export script, which prints the disk;
   * and a log for it, as a create has.
   * @throws OpPrereqError when it cannot be run for this instance
   */
  transferCommand(script: "import" | "export", request: OsCreateRequest, disk: ScriptDisk): Promise<ScriptCommand>;
}

const SCRIPT_TIMEOUT_MS = 60 * 60 * 1000;
const VERIFY_TIMEOUT_MS = 60 * 1000;

/** One string of an environment may have 128 KiB on Linux (execve(2), MAX_ARG_STRLEN); names take some of it. */
const VALUE_LIMIT_BYTES = 120 * 1024;

export function createOsDefinitions(options: OsDefinitionsOptions): OsDefinitions {
  const { searchPath, runner, logger } = options;
  const logs = new ScriptLogs(path.join(options.stateDir, "os-logs"));

  async function diagnose(): Promise<readonly OsDefinitionFacts[]> {
    const places = new Map<string, string>();
    for (const folder of searchPath)
      for (const name of await visibleEntries(folder)) {
        const place = path.join(folder, name);
        const known = places.get(name);
        // A folder wins over an earlier entry that is none, as it does when the definition is used.
        if (known === undefined || (!(await isFolder(known)) && (await isFolder(place)))) places.set(name, place);
      }
    const found = [...places].sort(([a], [b]) => (a < b ? -1 : 1));
    return Promise.all(found.map(([name, place]) => factsOf(name, place)));
  }

  async function visibleEntries(folder: string): Promise<readonly string[]> {
    try {
      return (await readdir(folder)).filter((name) => !name.startsWith("."));
    } catch (error) {
      if (!isErrno(error, "ENOENT")) logger.warn({ folder, error }, "a folder of OS definitions cannot be read");
      return [];
    }
  }

  async function find(name: string): Promise<OsDefinition> {
    for (const folder of searchPath) {
      const place = path.join(folder, name);
      if (!(await isFolder(place))) continue;
      return readOsDefinition(name, place).catch((error: Error) => {
        throw new OpPrereqError(`OS ${name} in ${place} is not valid: ${error.message}`, "environment_error");
      });
    }
    throw new OpPrereqError(
      `OS ${name} was not found on this node; it was looked for in ${searchPath.join(", ")}`,
      "unknown_entity",
    );
  }

  async function validate(request: OsValidateRequest, signal: AbortSignal): Promise<void> {
    const os = parseOsName(request.os);
    const definition = await find(os.name);
    if (!request.forceVariant) checkVariant(definition, os);
    checkParameterNames(definition, request.parameters);
    checkParameterValues(definition, request.parameters);
    if (request.runVerifyScript && definition.apiVersion >= 20)
      await verify(definition, os, request.parameters, signal);
  }

  async function verify(
    definition: OsDefinition,
    { variant }: OsName,
    parameters: OsValidateRequest["parameters"],
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await runScript(runner, {
        definition,
        script: "verify",
        args: ["parameters"],
        environment: coreEnvironment({ definition, variant, parameters, debugLevel: 0 }),
        timeoutMs: VERIFY_TIMEOUT_MS,
        signal,
        secrets: Object.values(parameters),
      });
    } catch (error) {
      if (!(error instanceof OpExecError) || signal.aborted) throw error;
      throw new OpPrereqError(error.message, "wrong_input", { cause: error });
    }
  }

  /**
   * What any script gets that works on an instance. Only an installation is refused for a parameter that the definition
   * does not know (any more): the instance must come to a backup all the same.
   * @throws OpPrereqError
   */
  async function prepare(request: OsCreateRequest): Promise<PreparedScript> {
    const { guest, parameters, debugLevel } = request;
    checkGuestName(guest.name);
    const os = parseOsName(request.os);
    const definition = await find(os.name);
    checkParameterValues(definition, parameters);
    const environment = {
      ...coreEnvironment({ definition, variant: os.variant, parameters, debugLevel }),
      ...instanceEnvironment(request),
    };
    return { definition, environment, secrets: Object.values(parameters) };
  }

  async function runLogged(
    script: "create" | "rename",
    { guest, os }: OsCreateRequest,
    prepared: PreparedScript,
    signal: AbortSignal,
  ): Promise<void> {
    const action = script === "create" ? "add" : script;
    const logFile = await logs.create(action, os, guest.name);
    logger.info({ instance: guest.name, os, script, logFile }, "running a script of an OS definition");
    const timeoutMs = options.scriptTimeoutMs ?? SCRIPT_TIMEOUT_MS;
    await runScript(runner, { ...prepared, script, args: [], timeoutMs, signal, logFile });
  }

  async function create(request: OsCreateRequest, signal: AbortSignal): Promise<void> {
    const prepared = await prepare(request);
    if (!prepared.definition.trusted)
      throw new OpPrereqError(
        `OS ${prepared.definition.name} has only an untrusted create script, which belongs inside a machine and is not run on the node`,
        "wrong_input",
      );
    checkParameterNames(prepared.definition, request.parameters);
    await runLogged("create", request, { ...prepared, environment: createEnvironment(request, prepared) }, signal);
  }

  async function prepareInstallation(
    request: OsCreateRequest,
    disk: { readonly path: string; readonly sizeMib: number },
  ): Promise<void> {
    const inside = { ...request, guest: seenFromInside(request.guest) };
    const prepared = await prepare(inside);
    const { definition } = prepared;
    if (definition.trusted)
      throw new OpPrereqError(`OS ${definition.name} has a create script, which is run on the node`, "wrong_input");
    checkParameterNames(definition, request.parameters);
    logger.info({ instance: request.guest.name, os: request.os }, "giving an OS definition to a machine");
    await writeInstallation(disk, { definition, environment: createEnvironment(inside, prepared) });
  }

  async function finishInstallation(
    { os, parameters }: Pick<OsCreateRequest, "os" | "parameters">,
    disk: { readonly path: string },
  ): Promise<void> {
    await checkInstallation(disk, { os: parseOsName(os).name, secrets: Object.values(parameters) });
  }

  async function rename(request: OsCreateRequest, oldName: string, signal: AbortSignal): Promise<void> {
    checkGuestName(oldName);
    const prepared = await prepare(request);
    const environment = { ...prepared.environment, OLD_INSTANCE_NAME: oldName };
    await runLogged("rename", request, { ...prepared, environment }, signal);
  }

  async function transferCommand(
    script: "import" | "export",
    request: OsCreateRequest,
    { device, index }: ScriptDisk,
  ): Promise<ScriptCommand> {
    const { definition, environment, secrets } = await prepare(request);
    const direction = script === "import" ? "IMPORT" : "EXPORT";
    const { guest, os } = request;
    const logFile = await logs.create(script, os, guest.name, `disk${index}`);
    logger.info({ instance: guest.name, os, script, logFile }, "running a script of an OS definition");
    return {
      argv: [path.join(definition.path, script)],
      cwd: definition.path,
      env: {
        ...environment,
        ...transferEnvironment(direction, device, { hypervisor: guest.hypervisor, index }),
      },
      secrets,
      logFile,
    };
  }

  return { diagnose, validate, create, rename, prepareInstallation, finishInstallation, transferCommand };
}

function createEnvironment({ reinstall }: OsCreateRequest, { environment }: PreparedScript): Environment {
  return { ...environment, ...(reinstall && { INSTANCE_REINSTALL: "1" }) };
}

interface PreparedScript {
  readonly definition: OsDefinition;
  readonly environment: Environment;
  readonly secrets: readonly string[];
}

async function factsOf(name: string, place: string): Promise<OsDefinitionFacts> {
  try {
    if (!(await isFolder(place))) throw new InvalidOsDefinition("it is not a folder");
    const { path: folder, variants, parameters, apiVersions, trusted } = await readOsDefinition(name, place);
    return { name, path: folder, valid: true, problem: "", variants, parameters, apiVersions, trusted };
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    return { name, path: place, valid: false, problem, variants: [], parameters: [], apiVersions: [], trusted: false };
  }
}

async function isFolder(place: string): Promise<boolean> {
  return stat(place).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/** spec/os-iallocator-hooks.json, `os_interface.variant_rules`. */
function checkVariant({ name, variants }: OsDefinition, { variant }: OsName): void {
  if (variants.length === 0 && variant !== undefined)
    throw new OpPrereqError(`OS ${name} has no variants; leave +${variant} out`, "wrong_input");
  if (variants.length > 0 && (variant === undefined || !variants.includes(variant)))
    throw new OpPrereqError(
      `OS ${name} needs one of its variants: ${variants.map((known) => `${name}+${known}`).join(", ")}`,
      "wrong_input",
    );
}

/** One that is new and that the scripts would not look at is an error, not ignored. */
function checkParameterNames(definition: OsDefinition, parameters: Readonly<Record<string, string>>): void {
  const known = definition.parameters.map((parameter) => parameter.name);
  const unknown = Object.keys(parameters).filter((name) => !known.includes(name));
  if (unknown.length > 0)
    throw new OpPrereqError(
      `OS ${definition.name} has no parameter ${unknown.map((name) => JSON.stringify(name.slice(0, 80))).join(", ")}; it has ${known.join(", ") || "none"}`,
      "wrong_input",
    );
}

/** They stay out of the messages. */
function checkParameterValues(definition: OsDefinition, parameters: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(parameters))
    if (value.includes("\0") || Buffer.byteLength(value) > VALUE_LIMIT_BYTES)
      throw new OpPrereqError(
        `Parameter ${name} of OS ${definition.name} holds a NUL character or more than ${VALUE_LIMIT_BYTES / 1024} KiB`,
        "wrong_input",
      );
}
