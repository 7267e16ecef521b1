/** LVM of this node: its reports, read, and its commands, run. */
import { access } from "node:fs/promises";
import path from "node:path";
import { BlockDeviceError, CommandError } from "@gannet/errors";
import type { CommandResult, CommandRunner } from "@gannet/exec";
import { isErrno } from "../../errno.ts";
import type { StorageTools } from "../storage-tools.ts";
import { type LvmCommand, type ReportProgram, report } from "./commands.ts";
import { type LogicalVolume, parseLogicalVolumes, parseStorage, type Storage } from "./reports.ts";
import { shareAnswer } from "./shared-answer.ts";

export interface Lvm {
  /** Whether the node has LVM's programs. */
  isInstalled(): Promise<boolean>;
  /** All of the node; those who ask at the same time share one lvs. @throws BlockDeviceError */
  logicalVolumes(signal: AbortSignal): Promise<readonly LogicalVolume[]>;
  /** The same of its groups and physical volumes. @throws BlockDeviceError */
  storage(signal: AbortSignal): Promise<Storage>;
  /**
   * As they were some seconds ago, and after whatever this agent has changed since: for who tells of free space, which
   * others may take at any time, and decides by nothing but what lvcreate says in the end.
   * @throws BlockDeviceError
   */
  knownStorage(signal: AbortSignal): Promise<Storage>;
  /**
   * @param purpose - what the command is for, and of which device: the beginning of an error's message
   * @throws BlockDeviceError when it fails; the signal's reason when that was aborted
   */
  run(command: LvmCommand, purpose: string, signal: AbortSignal): Promise<void>;
  /** As `run`, but what LVM refuses is an answer. */
  attempt(command: LvmCommand, purpose: string, signal: AbortSignal): Promise<LvmAnswer>;
}

export interface LvmAnswer {
  readonly succeeded: boolean;
  /** All that it printed. */
  readonly text: string;
}

/** Below the deadline of the calls that only ask, so that the answer to a hanging lvs is an error and no silence. */
const REPORT_TIMEOUT_MS = 50_000;
const CHANGE_TIMEOUT_MS = 5 * 60_000;
/** A row is some 200 bytes; nodes have thousands of volumes at most. */
const REPORT_LIMIT_BYTES = 16 * 1024 * 1024;
/** ECMD_FAILED of lvm2's errors.h: understood, and not done. */
const REFUSED = 5;
/**
 * Of what is known of the storage. Shorter than the time between two looks for the masters (live-state.ts): these read
 * it, and who asks in between is answered from there.
 */
const KNOWN_MS = 14_000;
/** Files that the agent has open are none of LVM's business. */
const ENVIRONMENT = { LVM_SUPPRESS_FD_WARNINGS: "1" };

/**
 * One for the whole agent: what it has changed itself it must know of.
 * @param parts - `knownMs`: how long what was read is known
 */
export function createLvm(parts: {
  readonly runner: CommandRunner;
  readonly tools: StorageTools;
  readonly knownMs?: number;
}): Lvm {
  const { runner, tools, knownMs = KNOWN_MS } = parts;
  let known: { readonly storage: Storage; readonly untilMs: number } | undefined;
  /** Counts the commands that change something, at their beginning and at their end. */
  let changes = 0;

  async function execute(
    [program, ...args]: LvmCommand,
    options: Partial<Parameters<CommandRunner["run"]>[0]> & {
      readonly timeoutMs: number;
      readonly signal: AbortSignal;
    },
    purpose: string,
  ): Promise<CommandResult> {
    try {
      return await runner.run({ argv: [path.join(tools.binFolder, program), ...args], env: ENVIRONMENT, ...options });
    } catch (error) {
      options.signal.throwIfAborted();
      if (!(error instanceof CommandError)) throw error;
      throw new BlockDeviceError(`${purpose}: ${error.message}`, { cause: error });
    }
  }

  async function change(
    command: LvmCommand,
    purpose: string,
    options: { readonly signal: AbortSignal; readonly okExitCodes?: readonly number[] },
  ): Promise<CommandResult> {
    const isChanging = () => {
      changes += 1;
      known = undefined;
    };
    isChanging();
    try {
      return await execute(command, { timeoutMs: CHANGE_TIMEOUT_MS, ...options }, purpose);
    } finally {
      isChanging();
    }
  }

  function reader<Report>(
    program: ReportProgram,
    parse: (stdout: string) => Report,
  ): (signal: AbortSignal) => Promise<Report> {
    return shareAnswer(async (signal) => {
      const purpose = "The storage of this node cannot be read";
      const limits = { timeoutMs: REPORT_TIMEOUT_MS, outputLimitBytes: REPORT_LIMIT_BYTES };
      const { stdout, truncated } = await execute(report(program), { ...limits, signal }, purpose);
      if (truncated) throw new BlockDeviceError(`${purpose}: ${program} printed more than ${REPORT_LIMIT_BYTES} bytes`);
      return parse(stdout);
    });
  }

  const readStorage = reader("pvs", parseStorage);

  async function storage(signal: AbortSignal): Promise<Storage> {
    const before = changes;
    const found = await readStorage(signal);
    if (changes === before) known = { storage: found, untilMs: performance.now() + knownMs };
    return found;
  }

  return {
    isInstalled: () =>
      access(path.join(tools.binFolder, "lvs")).then(
        () => true,
        (error: unknown) => {
          if (isErrno(error, "ENOENT", "ENOTDIR")) return false;
          throw error;
        },
      ),
    logicalVolumes: reader("lvs", parseLogicalVolumes),
    storage,
    knownStorage: async (signal) =>
      known !== undefined && performance.now() < known.untilMs ? known.storage : await storage(signal),
    run: async (command, purpose, signal) => {
      await change(command, purpose, { signal });
    },
    attempt: async (command, purpose, signal) => {
      const { exitCode, stdout, stderr } = await change(command, purpose, { signal, okExitCodes: [0, REFUSED] });
      return { succeeded: exitCode === 0, text: `${stdout}${stderr}` };
    },
  };
}
