/**
 * Disks of external storage providers: template `ext`. A provider is a folder of scripts that an administrator puts
 * on the nodes; Ganeti's run unchanged (spec/node-ops.json, `storage.ext`).
 *
 * The interface has no question whether a volume exists, so that `attach` is asked: a provider attaches what it has,
 * under the same name and UUID, and refuses anything else.
 */
import { randomUUID } from "node:crypto";
import { stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type {
  AttachedDevice,
  BlockDeviceDriver,
  BlockDeviceSpec,
  BlockDeviceStatus,
  LabellingDriver,
  SnapshottingDriver,
} from "@gannet/driver-contract";
import { BlockDeviceError, CommandError } from "@gannet/errors";
import type { CommandResult, CommandRunner } from "@gannet/exec";
import type { Logger } from "@gannet/telemetry";
import { undefinedWhenMissing } from "../../errno.ts";
import type { LogFolder } from "../../log-folder.ts";
import { SerialByKey } from "../../serial-by-key.ts";
import { BYTES_PER_MIB, describeDevice, possibleBytes, requireUuid } from "../describe-device.ts";
import { deviceSizeBytes } from "../device-size.ts";
import { instanceTag } from "../instance-tag.ts";
import type { StorageTools } from "../storage-tools.ts";
import { type ExtAttachment, parseAttachment } from "./attach-output.ts";
import { scriptEnvironment } from "./environment.ts";
import { deviceNumber, readyDevices } from "./kernel-devices.ts";
import { type ExtProvider, type ExtScript, findProvider } from "./provider.ts";

export interface ExtDriverOptions {
  /** Folders that hold providers, the first before the next. */
  readonly searchPath: readonly string[];
  readonly runner: CommandRunner;
  readonly tools: StorageTools;
  readonly logger: Logger;
  /** One log for each run of a script but `attach`, as Ganeti keeps them; nothing is kept without it. */
  readonly logs?: LogFolder;
  /** How long the device that a script printed may take to appear. Default 5 seconds. */
  readonly deviceWaitMs?: number;
}

const VOLUME_NAME = /^[a-zA-Z0-9_][a-zA-Z0-9_.+-]{0,254}$/;
const SCRIPT_TIMEOUT_MS = 10 * 60_000;
/** A script that refuses ends with any of them; only one that could not be run, or did not end, is another matter. */
const ANY_EXIT_CODE = Array.from({ length: 256 }, (_, code) => code);
const OUTPUT_LIMIT_CHARS = 1_000;
/** udev makes a device's node, or its links, some time after the kernel has the device. */
const DEVICE_WAIT_MS = 5_000;
const DEVICE_LOOK_MS = 50;

/** A disk whose names are acceptable, and whose provider is here. */
interface ExtDisk {
  readonly device: BlockDeviceSpec;
  readonly volume: string;
  readonly provider: ExtProvider;
}

interface Ended extends CommandResult {
  readonly script: ExtScript;
  readonly logFile: string | undefined;
}

interface Present {
  readonly attachment: ExtAttachment;
  readonly kind: AttachedDevice["kind"];
  readonly sizeMib: number;
}

export function createExtDriver(options: ExtDriverOptions): BlockDeviceDriver & SnapshottingDriver & LabellingDriver {
  const { runner, logger, logs, deviceWaitMs = DEVICE_WAIT_MS } = options;
  /** A look at a volume attaches it, and must meet no other operation on it. */
  const turns = new SerialByKey();

  async function diskOf(device: BlockDeviceSpec): Promise<ExtDisk> {
    const [provider, volume, ...rest] = device.logicalId;
    const isNamed = typeof provider === "string" && typeof volume === "string" && rest.length === 0;
    if (device.template !== "ext" || !isNamed || !VOLUME_NAME.test(volume))
      throw new BlockDeviceError(`${describeDevice(device)}: the logical id of an ext disk is [provider, volume]`);
    requireUuid(device);
    return { device, volume, provider: await findProvider(provider, options.searchPath) };
  }

  async function execute(
    { device, volume, provider }: ExtDisk,
    script: ExtScript,
    more: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Ended> {
    signal.throwIfAborted();
    const logFile = script === "attach" ? undefined : await logOf([script, provider.name, volume]);
    try {
      const result = await runner.run({
        argv: [path.join(provider.folder, script)],
        cwd: provider.folder,
        env: scriptEnvironment(device, volume, provider, more),
        timeoutMs: SCRIPT_TIMEOUT_MS,
        okExitCodes: ANY_EXIT_CODE,
        // What attach prints is its answer.
        mergeOutputs: script !== "attach",
        signal,
        ...(logFile === undefined ? {} : { logFile }),
      });
      return { ...result, script, logFile };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof CommandError)) throw error;
      throw new BlockDeviceError(`${describeDevice(device)}: ${error.message}`, { cause: error });
    }
  }

  /** A full disk keeps no volume from being let go. */
  async function logOf(parts: readonly string[]): Promise<string | undefined> {
    return logs?.create(parts).catch((error: unknown) => {
      logger.warn({ error: String(error), parts }, "no log can be made for an external storage provider's script");
      return undefined;
    });
  }

  /** @throws BlockDeviceError with what the script printed, when it refuses */
  async function run(
    disk: ExtDisk,
    script: ExtScript,
    more: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<void> {
    requireSuccess(disk, await execute(disk, script, more, signal));
  }

  function requireSuccess({ device }: ExtDisk, { script, exitCode, stdout, logFile }: Ended): void {
    if (exitCode === 0) return;
    const log = logFile === undefined ? "" : ` (log: ${logFile})`;
    throw new BlockDeviceError(
      `${describeDevice(device)}: script ${script} of the external storage provider failed with exit code ${exitCode} and says: ${endOf(stdout)}${log}`,
    );
  }

  async function runOptional(disk: ExtDisk, script: ExtScript, more: Record<string, string>, signal: AbortSignal) {
    if (disk.provider.scripts.has(script)) await run(disk, script, more, signal);
  }

  /** What the provider says of it, when that is not understood an error; undefined when it refuses to attach it. */
  async function attach(disk: ExtDisk, signal: AbortSignal): Promise<Present | undefined> {
    const ended = await execute(disk, "attach", {}, signal);
    return ended.exitCode === 0 ? presentIn(disk, ended.stdout, signal) : undefined;
  }

  /** @throws BlockDeviceError when what attach printed is not understood, or not there */
  async function presentIn(disk: ExtDisk, stdout: string, signal: AbortSignal): Promise<Present> {
    const name = describeDevice(disk.device);
    const attachment = parseAttachment(stdout);
    if (attachment === undefined)
      throw new BlockDeviceError(`${name}: script attach printed no device: ${JSON.stringify(stdout.slice(0, 200))}`);
    // Without a device nobody but the provider knows its size.
    if (attachment.path === "") return { attachment, kind: "block", sizeMib: disk.device.sizeMib };
    const entry = await appeared(attachment.path, signal);
    if (entry === undefined)
      throw new BlockDeviceError(
        `${name}: script attach printed ${attachment.path}, which has not appeared within ${deviceWaitMs / 1000} s`,
      );
    if (entry.isFile()) return { attachment, kind: "file", sizeMib: Math.floor(entry.size / BYTES_PER_MIB) };
    if (!entry.isBlockDevice())
      throw new BlockDeviceError(`${name}: script attach printed ${attachment.path}, which is no block device`);
    const bytes = await deviceSizeBytes(options, attachment.path, name, signal);
    return { attachment, kind: "block", sizeMib: Math.floor(bytes / BYTES_PER_MIB) };
  }

  async function appeared(place: string, signal: AbortSignal) {
    const endsAt = performance.now() + deviceWaitMs;
    for (;;) {
      const entry = await stat(place).catch(undefinedWhenMissing);
      if (entry !== undefined || performance.now() >= endsAt) return entry;
      await delay(DEVICE_LOOK_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }

  async function attached(disk: ExtDisk, signal: AbortSignal): Promise<Present> {
    const { exitCode, stdout, stderr } = await execute(disk, "attach", {}, signal);
    if (exitCode === 0) return presentIn(disk, stdout, signal);
    throw new BlockDeviceError(
      `${describeDevice(disk.device)} does not exist, or the external storage provider ${disk.provider.name} cannot attach it, which says: ${endOf(stderr.trim() || stdout)}`,
    );
  }

  /** Whether the provider has it; it is attached then, whatever attach printed. */
  async function isThere(disk: ExtDisk, signal: AbortSignal): Promise<boolean> {
    return (await execute(disk, "attach", {}, signal)).exitCode === 0;
  }

  /** A volume that the look has attached is detached again: what the kernel had before stays, a guest may use it. */
  async function status(device: BlockDeviceSpec, signal: AbortSignal): Promise<BlockDeviceStatus> {
    const disk = await diskOf(device);
    const before = await readyDevices();
    const { exitCode, stdout } = await execute(disk, "attach", {}, signal);
    if (exitCode !== 0) return { exists: false, sizeMib: 0 };
    await using undo = new AsyncDisposableStack();
    undo.defer(async () => {
      const number = await deviceNumber(parseAttachment(stdout)?.path ?? "");
      if (number !== undefined && !before.has(number))
        await quietly(disk, "stays attached", () => run(disk, "detach", {}, new AbortController().signal));
    });
    const { sizeMib } = await presentIn(disk, stdout, signal);
    return { exists: true, sizeMib };
  }

  async function create(device: BlockDeviceSpec, signal: AbortSignal): Promise<void> {
    possibleBytes(device, device.sizeMib);
    const disk = await diskOf(device);
    const present = await attach(disk, signal);
    if (present !== undefined) return acceptRepeat(device, present);
    const size = { VOL_SIZE: String(device.sizeMib) };
    await run(disk, "verify", size, signal);
    await using undo = new AsyncDisposableStack();
    undo.defer(() => quietly(disk, "could not be cleaned up", () => removeMade(disk, new AbortController().signal)));
    const created = await execute(disk, "create", size, signal);
    // Whatever made the provider refuse, a volume that is none of this disk's must not be removed.
    if (created.exitCode !== 0) undo.move();
    requireSuccess(disk, created);
    await noteInstance(disk, signal);
    if ((await attach(disk, signal)) === undefined)
      throw new BlockDeviceError(`${describeDevice(device)}: script create reported success, but there is no volume`);
    signal.throwIfAborted();
    undo.move();
  }

  /** Providers make volumes of whole units of theirs, so that one may be larger than its disk. */
  function acceptRepeat(device: BlockDeviceSpec, { sizeMib }: Present): void {
    if (sizeMib < device.sizeMib)
      throw new BlockDeviceError(
        `${describeDevice(device)} exists already with ${sizeMib} MiB instead of ${device.sizeMib}`,
      );
  }

  async function assemble(device: BlockDeviceSpec, signal: AbortSignal): Promise<AttachedDevice> {
    const disk = await diskOf(device);
    const { attachment, kind } = await attached(disk, signal);
    // Not exclusively: in a live migration the target opens it while the source has it open.
    await runOptional(disk, "open", { VOL_OPEN_EXCLUSIVE: "False" }, signal);
    const uris = Object.keys(attachment.uris).length > 0 ? { uris: attachment.uris } : {};
    return { path: attachment.path, kind, format: "raw", ...uris };
  }

  async function noteInstance(disk: ExtDisk, signal: AbortSignal): Promise<void> {
    await run(disk, "setinfo", { VOL_METADATA: instanceTag(disk.device) }, signal);
  }

  /** What is gone cannot be let go, and need not be; what can, is attached by the question, and let go again. */
  async function shutdown(device: BlockDeviceSpec, signal: AbortSignal): Promise<void> {
    const disk = await diskOf(device);
    try {
      await letGo(disk, signal);
    } catch (error) {
      if (!(error instanceof BlockDeviceError)) throw error;
      if (await isThere(disk, signal)) return letGo(disk, signal);
      logger.warn({ error: error.message }, "a volume of external storage that is gone is taken for deactivated");
    }
  }

  /** Detached though it cannot be closed, which is told thereafter. */
  async function letGo(disk: ExtDisk, signal: AbortSignal): Promise<void> {
    const closed = await Promise.allSettled([runOptional(disk, "close", {}, signal)]);
    signal.throwIfAborted();
    await run(disk, "detach", {}, signal);
    for (const each of closed) if (each.status === "rejected") throw each.reason;
  }

  /** What is gone is removed already. Providers do not remove what is attached, as any look at it leaves it. */
  async function removeVolume(disk: ExtDisk, signal: AbortSignal): Promise<void> {
    if (await isThere(disk, signal)) await removeAttached(disk, signal);
  }

  async function removeAttached(disk: ExtDisk, signal: AbortSignal): Promise<void> {
    await quietly(disk, "could not be closed before its removal", () => runOptional(disk, "close", {}, signal));
    await run(disk, "detach", {}, signal);
    await run(disk, "remove", {}, signal);
  }

  /** One that was made just now is there, whether it is whole enough to be attached or not. */
  async function removeMade(disk: ExtDisk, signal: AbortSignal): Promise<void> {
    if (await isThere(disk, signal).catch(() => false)) await removeAttached(disk, signal);
    else await run(disk, "remove", {}, signal);
  }

  async function grow(device: BlockDeviceSpec, newSizeMib: number, signal: AbortSignal): Promise<void> {
    possibleBytes(device, newSizeMib);
    const disk = await diskOf(device);
    const { sizeMib } = await attached(disk, signal);
    if (sizeMib > newSizeMib && newSizeMib <= device.sizeMib)
      throw new BlockDeviceError(
        `${describeDevice(device)} has ${sizeMib} MiB already and is never made smaller (${newSizeMib} MiB were asked for)`,
      );
    if (sizeMib >= newSizeMib) return;
    await run(disk, "grow", { VOL_SIZE: String(device.sizeMib), VOL_NEW_SIZE: String(newSizeMib) }, signal);
    const grown = await attached({ ...disk, device: { ...device, sizeMib: newSizeMib } }, signal);
    if (grown.sizeMib < newSizeMib)
      throw new BlockDeviceError(
        `${describeDevice(device)}: script grow reported success, but it has ${grown.sizeMib} MiB`,
      );
  }

  async function snapshot(
    device: BlockDeviceSpec,
    { name, sizeMib }: { readonly name?: string; readonly sizeMib: number },
    signal: AbortSignal,
  ): Promise<BlockDeviceSpec> {
    possibleBytes(device, sizeMib);
    const disk = await diskOf(device);
    if (!disk.provider.scripts.has("snapshot"))
      throw new BlockDeviceError(
        `${describeDevice(device)}: the external storage provider ${disk.provider.name} has no script snapshot`,
      );
    const volume = name ?? `${disk.volume}.snap`;
    const taken = { ...device, uuid: randomUUID(), logicalId: [disk.provider.name, volume] };
    await diskOf(taken);
    await run(disk, "snapshot", { VOL_SNAPSHOT_NAME: volume, VOL_SNAPSHOT_SIZE: String(sizeMib) }, signal);
    return taken;
  }

  async function quietly({ device }: ExtDisk, what: string, step: () => Promise<void>): Promise<void> {
    await step().catch((error: unknown) =>
      logger.warn({ error, disk: describeDevice(device) }, `a volume of external storage ${what}`),
    );
  }

  /** One operation on a volume at a time. */
  function inTurn<Rest extends readonly unknown[], Result>(
    operation: (device: BlockDeviceSpec, ...rest: Rest) => Promise<Result>,
  ): (device: BlockDeviceSpec, ...rest: Rest) => Promise<Result> {
    return (device, ...rest) => turns.run(JSON.stringify(device.logicalId), () => operation(device, ...rest));
  }

  return {
    template: "ext",
    create: inTurn(create),
    assemble: inTurn(assemble),
    shutdown: inTurn(shutdown),
    grow: inTurn(grow),
    snapshot: inTurn(snapshot),
    remove: inTurn(async (device, signal: AbortSignal) => removeVolume(await diskOf(device), signal)),
    status: inTurn(status),
    setInfo: inTurn(async (device, signal: AbortSignal) => noteInstance(await diskOf(device), signal)),
    space: async () => [],
  };
}

/** The end of what a script printed, for an error's message. */
function endOf(printed: string): string {
  return printed.trim().slice(-OUTPUT_LIMIT_CHARS) || "nothing";
}
