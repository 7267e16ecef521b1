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
import type { AttachedDevice, BlockDeviceDriver, BlockDeviceSpec, SnapshottingDriver } from "@gannet/driver-contract";
import { BlockDeviceError, CommandError } from "@gannet/errors";
import type { CommandResult, CommandRunner } from "@gannet/exec";
import type { Logger } from "@gannet/telemetry";
import { undefinedWhenMissing } from "../../errno.ts";
import { BYTES_PER_MIB, describeDevice, possibleBytes, requireUuid } from "../describe-device.ts";
import { deviceSizeBytes } from "../device-size.ts";
import type { StorageTools } from "../storage-tools.ts";
import { type ExtAttachment, parseAttachment } from "./attach-output.ts";
import { scriptEnvironment } from "./environment.ts";
import { type ExtProvider, type ExtScript, findProvider } from "./provider.ts";

export interface ExtDriverOptions {
  /** Folders that hold providers, the first before the next. */
  readonly searchPath: readonly string[];
  readonly runner: CommandRunner;
  readonly tools: StorageTools;
  readonly logger: Logger;
}

const VOLUME_NAME = /^[a-zA-Z0-9_][a-zA-Z0-9_.+-]{0,254}$/;
const SCRIPT_TIMEOUT_MS = 10 * 60_000;
/** A script that refuses ends with any of them; only one that could not be run, or did not end, is another matter. */
const ANY_EXIT_CODE = Array.from({ length: 256 }, (_, code) => code);
const OUTPUT_LIMIT_CHARS = 1_000;

/** A disk whose names are acceptable, and whose provider is here. */
interface ExtDisk {
  readonly device: BlockDeviceSpec;
  readonly volume: string;
  readonly provider: ExtProvider;
}

interface Present {
  readonly attachment: ExtAttachment;
  readonly kind: AttachedDevice["kind"];
  readonly sizeMib: number;
}

export function createExtDriver(options: ExtDriverOptions): BlockDeviceDriver & SnapshottingDriver {
  const { runner, logger } = options;

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
  ): Promise<CommandResult> {
    signal.throwIfAborted();
    try {
      return await runner.run({
        argv: [path.join(provider.folder, script)],
        cwd: provider.folder,
        env: scriptEnvironment(device, volume, provider, more),
        timeoutMs: SCRIPT_TIMEOUT_MS,
        okExitCodes: ANY_EXIT_CODE,
        signal,
      });
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof CommandError)) throw error;
      throw new BlockDeviceError(`${describeDevice(device)}: ${error.message}`, { cause: error });
    }
  }

  /** @throws BlockDeviceError with what the script printed, when it refuses */
  async function run(
    disk: ExtDisk,
    script: ExtScript,
    more: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<void> {
    requireSuccess(disk, script, await execute(disk, script, more, signal));
  }

  function requireSuccess({ device }: ExtDisk, script: ExtScript, { exitCode, stdout, stderr }: CommandResult): void {
    if (exitCode === 0) return;
    const printed = (stderr.trim() || stdout.trim()).slice(-OUTPUT_LIMIT_CHARS) || "nothing";
    throw new BlockDeviceError(
      `${describeDevice(device)}: script ${script} of the external storage provider failed with exit code ${exitCode} and says: ${printed}`,
    );
  }

  async function runOptional(disk: ExtDisk, script: ExtScript, more: Record<string, string>, signal: AbortSignal) {
    if (disk.provider.scripts.has(script)) await run(disk, script, more, signal);
  }

  /** Undefined when the provider refuses to attach it. @throws BlockDeviceError when its answer is not understood */
  async function attach(disk: ExtDisk, signal: AbortSignal): Promise<Present | undefined> {
    const name = describeDevice(disk.device);
    const { exitCode, stdout } = await execute(disk, "attach", {}, signal);
    if (exitCode !== 0) return undefined;
    const attachment = parseAttachment(stdout);
    if (attachment === undefined)
      throw new BlockDeviceError(`${name}: script attach printed no device: ${JSON.stringify(stdout.slice(0, 200))}`);
    // Without a device nobody but the provider knows its size.
    if (attachment.path === "") return { attachment, kind: "block", sizeMib: disk.device.sizeMib };
    const entry = await stat(attachment.path).catch(undefinedWhenMissing);
    if (entry?.isFile()) return { attachment, kind: "file", sizeMib: Math.floor(entry.size / BYTES_PER_MIB) };
    if (!entry?.isBlockDevice())
      throw new BlockDeviceError(`${name}: script attach printed ${attachment.path}, which is no block device`);
    const bytes = await deviceSizeBytes(options, attachment.path, name, signal);
    return { attachment, kind: "block", sizeMib: Math.floor(bytes / BYTES_PER_MIB) };
  }

  async function attached(disk: ExtDisk, signal: AbortSignal): Promise<Present> {
    const present = await attach(disk, signal);
    if (present === undefined)
      throw new BlockDeviceError(
        `${describeDevice(disk.device)} does not exist, or the external storage provider ${disk.provider.name} cannot attach it`,
      );
    return present;
  }

  async function create(device: BlockDeviceSpec, signal: AbortSignal): Promise<void> {
    possibleBytes(device, device.sizeMib);
    const disk = await diskOf(device);
    const present = await attach(disk, signal);
    if (present !== undefined) return acceptRepeat(device, present);
    const size = { VOL_SIZE: String(device.sizeMib) };
    await run(disk, "verify", size, signal);
    await using undo = new AsyncDisposableStack();
    undo.defer(() => quietly(disk, () => removeMade(disk, new AbortController().signal)));
    const created = await execute(disk, "create", size, signal);
    // Whatever made the provider refuse, a volume that is none of this disk's must not be removed.
    if (created.exitCode !== 0) undo.move();
    requireSuccess(disk, "create", created);
    await run(disk, "setinfo", { VOL_METADATA: `originstname+${device.instanceName}` }, signal);
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

  async function shutdown(device: BlockDeviceSpec, signal: AbortSignal): Promise<void> {
    await letGo(await diskOf(device), signal);
  }

  async function letGo(disk: ExtDisk, signal: AbortSignal): Promise<void> {
    await runOptional(disk, "close", {}, signal);
    await run(disk, "detach", {}, signal);
  }

  /** What is gone is removed already. Providers do not remove what is attached, as any look at it leaves it. */
  async function removeVolume(disk: ExtDisk, signal: AbortSignal): Promise<void> {
    if ((await attach(disk, signal)) === undefined) return;
    await letGo(disk, signal);
    await run(disk, "remove", {}, signal);
  }

  /** One that was made just now is there, whether it is whole enough to be attached or not. */
  async function removeMade(disk: ExtDisk, signal: AbortSignal): Promise<void> {
    const isAttached = await attach(disk, signal).then(
      (present) => present !== undefined,
      () => false,
    );
    if (isAttached) await letGo(disk, signal);
    await run(disk, "remove", {}, signal);
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

  async function quietly({ device }: ExtDisk, step: () => Promise<void>): Promise<void> {
    await step().catch((error: unknown) =>
      logger.warn({ error, disk: describeDevice(device) }, "a half-made volume could not be cleaned up"),
    );
  }

  return {
    template: "ext",
    create,
    assemble,
    shutdown,
    grow,
    snapshot,
    remove: async (device, signal) => removeVolume(await diskOf(device), signal),
    status: async (device, signal) => {
      const present = await attach(await diskOf(device), signal);
      return { exists: present !== undefined, sizeMib: present?.sizeMib ?? 0 };
    },
    space: async () => [],
  };
}
