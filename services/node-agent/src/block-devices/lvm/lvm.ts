/** LVM of this node: its reports, read, and its commands, run. */
import { access } from "node:fs/promises";
import path from "node:path";
import { BlockDeviceError, CommandError } from "@gannet/errors";
import type { CommandResult, CommandRunner } from "@gannet/exec";
import { isErrno } from "../../errno.ts";
import type { StorageTools } from "../storage-tools.ts";
import { type LvmCommand, type ReportProgram, report } from "./commands.ts";
import {
  type LogicalVolume,
  type PhysicalVolume,
  parseLogicalVolumes,
  parsePhysicalVolumes,
  parseVolumeGroups,
  type VolumeGroup,
} from "./reports.ts";
import { shareAnswer } from "./shared-answer.ts";

export interface Lvm {
  /** Whether the node has LVM's programs. */
  isInstalled(): Promise<boolean>;
  /** All of the node; those who ask at the same time share one lvs. @throws BlockDeviceError */
  logicalVolumes(signal: AbortSignal): Promise<readonly LogicalVolume[]>;
  volumeGroups(signal: AbortSignal): Promise<readonly VolumeGroup[]>;
  physicalVolumes(signal: AbortSignal): Promise<readonly PhysicalVolume[]>;
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
/** Files that the agent has open are none of LVM's business. */
const ENVIRONMENT = { LVM_SUPPRESS_FD_WARNINGS: "1" };

export function createLvm(parts: { readonly runner: CommandRunner; readonly tools: StorageTools }): Lvm {
  const { runner, tools } = parts;

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

  function reader<Row>(
    program: ReportProgram,
    parse: (stdout: string) => readonly Row[],
  ): (signal: AbortSignal) => Promise<readonly Row[]> {
    return shareAnswer(async (signal) => {
      const purpose = "The storage of this node cannot be read";
      const limits = { timeoutMs: REPORT_TIMEOUT_MS, outputLimitBytes: REPORT_LIMIT_BYTES };
      const { stdout, truncated } = await execute(report(program), { ...limits, signal }, purpose);
      if (truncated) throw new BlockDeviceError(`${purpose}: ${program} printed more than ${REPORT_LIMIT_BYTES} bytes`);
      return parse(stdout);
    });
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
    volumeGroups: reader("vgs", parseVolumeGroups),
    physicalVolumes: reader("pvs", parsePhysicalVolumes),
    run: async (command, purpose, signal) => {
      await execute(command, { timeoutMs: CHANGE_TIMEOUT_MS, signal }, purpose);
    },
    attempt: async (command, purpose, signal) => {
      const options = { timeoutMs: CHANGE_TIMEOUT_MS, signal, okExitCodes: [0, REFUSED] };
      const { exitCode, stdout, stderr } = await execute(command, options, purpose);
      return { succeeded: exitCode === 0, text: `${stdout}${stderr}` };
    },
  };
}
