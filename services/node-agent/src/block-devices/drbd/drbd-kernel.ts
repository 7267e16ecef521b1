/** The kernel's DRBD: what it has, and commands given to it by the tools of its version. */
import { stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { BlockDeviceError, CommandError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { undefinedWhenMissing } from "../../errno.ts";
import { shareAnswer } from "../lvm/shared-answer.ts";
import type { StorageTools } from "../storage-tools.ts";
import type { DrbdCommand, DrbdDialect } from "./dialect.ts";
import { DIALECT_8_4 } from "./dialect-8.4.ts";
import { DIALECT_9 } from "./dialect-9.ts";
import { type DrbdDisk, describe } from "./drbd-disk.ts";
import { minorsInUse, readDrbdStatus, readUsermodeHelper } from "./drbd-facts.ts";
import { parseEvents } from "./events.ts";
import { type Generations, parseGenerations } from "./generations.ts";
import type { DrbdVersion, KernelDevice } from "./kernel-state.ts";
import { parseProcDrbd, parseVersion } from "./proc-drbd.ts";
import { parseShow, type ShownResource } from "./shown-configuration.ts";

/** The kernel may have to wait for the peer, or for what is written just now. */
const COMMAND_TIMEOUT_MS = 60_000;
/** Of 255 devices, each with some two kilobytes. */
const OUTPUT_LIMIT_BYTES = 4 * 1024 * 1024;
/** spec/node-ops.json, `disconnect`. */
const POLL = { firstMs: 100, factor: 1.5, mostMs: 2_000, allMs: 60_000 } as const;

export class DrbdKernel {
  /** Every configured device by its minor. Those who ask at the same time get the answer of one look. */
  readonly devices: (signal: AbortSignal) => Promise<ReadonlyMap<number, KernelDevice>>;
  readonly #tools: StorageTools;
  readonly #runner: CommandRunner;

  constructor(parts: { readonly tools: StorageTools; readonly runner: CommandRunner }) {
    this.#tools = parts.tools;
    this.#runner = parts.runner;
    this.devices = shareAnswer((signal) => this.#look(signal));
  }

  async isPresent(): Promise<boolean> {
    return (await stat(this.#tools.drbdStatusFile).catch(undefinedWhenMissing)) !== undefined;
  }

  /** @throws BlockDeviceError when there is no DRBD, or one of a version that is not known here */
  async dialect(): Promise<DrbdDialect> {
    return dialectOf(parseVersion(await readDrbdStatus(this.#tools)));
  }

  async device(disk: DrbdDisk, signal: AbortSignal): Promise<KernelDevice | undefined> {
    const devices = await about(disk, () => this.devices(signal));
    return devices.get(disk.minor);
  }

  /** Everything that is configured, whoever it belongs to. */
  async configuration(disk: DrbdDisk, signal: AbortSignal): Promise<readonly ShownResource[]> {
    const { show } = await about(disk, () => this.dialect());
    const shown = await this.run(disk, show, "looked at", signal);
    return about(disk, () => parseShow(shown));
  }

  /** What a device offers, in KiB; undefined when it is not known. */
  async sizeKib(disk: DrbdDisk, signal: AbortSignal): Promise<number | undefined> {
    const { events } = await this.dialect();
    const told = await this.run(disk, events(disk.resource), "looked at", signal);
    const devices = await about(disk, () => parseEvents(told));
    return devices.find(({ minor }) => minor === disk.minor)?.sizeKib;
  }

  async generations(disk: DrbdDisk, signal: AbortSignal): Promise<Generations> {
    const { generations } = await this.dialect();
    const told = await this.run(disk, generations(disk), "looked at", signal);
    return about(disk, () => parseGenerations(told));
  }

  async minors(): Promise<readonly number[]> {
    const status = await readDrbdStatus(this.#tools);
    return minorsInUse(this.#tools, parseVersion(status), status);
  }

  /** No device of this node is in use any more: each may be used at its other end. @throws BlockDeviceError */
  async demoteAll(signal: AbortSignal): Promise<void> {
    if (!(await this.isPresent())) return;
    const { show, secondary } = await this.dialect();
    const resources = parseShow(await this.#run(show, "DRBD could not be looked at", signal));
    for (const { name, minor } of resources)
      if (minor !== undefined)
        await this.#run(secondary({ resource: name, minor }), `DRBD resource ${name} could not be demoted`, signal);
  }

  usermodeHelper(): Promise<string> {
    return readUsermodeHelper(this.#tools);
  }

  /**
   * Give one command about a disk.
   * @param done - what the disk is then, for the message of a failure: "connected"
   * @returns what it printed
   * @throws BlockDeviceError
   */
  run(disk: DrbdDisk, command: DrbdCommand, done: string, signal: AbortSignal): Promise<string> {
    return this.#run(command, `${describe(disk.spec)} could not be ${done}`, signal);
  }

  /** Look until it is so, more and more seldom. @throws BlockDeviceError when it does not become so in time */
  async until(
    disk: DrbdDisk,
    done: string,
    isSo: (device: KernelDevice | undefined) => boolean,
    signal: AbortSignal,
    { withinMs }: { readonly withinMs: number } = { withinMs: POLL.allMs },
  ): Promise<void> {
    const device = await lookUntil(() => this.device(disk, signal), isSo, { signal, withinMs });
    if (!isSo(device))
      throw new BlockDeviceError(
        `${describe(disk.spec)} was not ${done} within ${withinMs / 1000} s; the kernel has it as ${stateText(device)}`,
      );
  }

  /** Look until the device offers so many KiB. @throws BlockDeviceError when it does not in time */
  async untilGrown(
    disk: DrbdDisk,
    wantedKib: number,
    signal: AbortSignal,
    { withinMs }: { readonly withinMs: number },
  ): Promise<void> {
    const isLargeEnough = (sizeKib = 0) => sizeKib >= wantedKib;
    const sizeKib = await lookUntil(() => this.sizeKib(disk, signal), isLargeEnough, { signal, withinMs });
    if (!isLargeEnough(sizeKib))
      throw new BlockDeviceError(
        `${describe(disk.spec)} was not grown: drbdsetup says it was, and it has ${(sizeKib ?? 0) / 1024} MiB instead of ${wantedKib / 1024}`,
      );
  }

  async #look(signal: AbortSignal): Promise<ReadonlyMap<number, KernelDevice>> {
    const status = await readDrbdStatus(this.#tools);
    const version = parseVersion(status);
    const dialect = dialectOf(version);
    const devices =
      version.major < 9
        ? parseProcDrbd(status)
        : parseEvents(await this.#run(dialect.events("all"), "DRBD could not be looked at", signal));
    return new Map(devices.map((device) => [device.minor, device]));
  }

  async #run(
    { program, args, secretArgs = [], printsSecrets }: DrbdCommand,
    failure: string,
    signal: AbortSignal,
  ): Promise<string> {
    try {
      const { stdout } = await this.#runner.run({
        argv: [path.join(this.#tools.binFolder, program), ...args],
        secretArgs: secretArgs.map((position) => position + 1),
        timeoutMs: COMMAND_TIMEOUT_MS,
        outputLimitBytes: OUTPUT_LIMIT_BYTES,
        signal,
      });
      return stdout;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      const reason = printsSecrets ? withoutOutput(error.message) : error.message;
      throw new BlockDeviceError(`${failure}: ${reason}`, printsSecrets ? {} : { cause: error });
    }
  }
}

/** @returns what was seen last, which is so unless the time was over */
async function lookUntil<Seen>(
  look: () => Promise<Seen>,
  isSo: (seen: Seen) => boolean,
  { signal, withinMs }: { readonly signal: AbortSignal; readonly withinMs: number },
): Promise<Seen> {
  const end = performance.now() + withinMs;
  for (let wait: number = POLL.firstMs; ; wait = Math.min(wait * POLL.factor, POLL.mostMs)) {
    const seen = await look();
    if (isSo(seen) || performance.now() > end) return seen;
    await delay(wait, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

/** How a command ended, without what it had printed until then. */
function withoutOutput(message: string): string {
  return message.replace(/(failed with exit code \d+|was killed by \w+|and was killed|was aborted)[\s\S]*/, "$1");
}

/** What the kernel says, or does not say, is told with the disk that it matters to. */
async function about<Result>(disk: DrbdDisk, look: () => Promise<Result> | Result): Promise<Result> {
  try {
    return await look();
  } catch (error) {
    if (!(error instanceof BlockDeviceError)) throw error;
    throw new BlockDeviceError(`${describe(disk.spec)} could not be looked at: ${error.message}`, { cause: error });
  }
}

export function dialectOf({ major, minor, text }: DrbdVersion): DrbdDialect {
  if (major === 8 && minor === 4) return DIALECT_8_4;
  if (major === 9) return DIALECT_9;
  throw new BlockDeviceError(`DRBD ${text} is not supported; the kernel module must be 8.4 or 9`);
}

function stateText(device: KernelDevice | undefined): string {
  return device === undefined ? "unconfigured" : `${device.connection}, ${device.role}, ${device.disk}`;
}
