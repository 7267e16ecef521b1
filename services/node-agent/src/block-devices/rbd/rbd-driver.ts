/**
 * Disks that are images of a Ceph cluster: template `rbd` (spec/node-ops.json, `storage.rbd`).
 *
 * An image's name holds a UUID that was made for the disk alone (`disk_naming`), so that an image of the name is the
 * disk's: there is no owner to be noted, as files and logical volumes have one.
 */
import { access } from "node:fs/promises";
import type { AttachedDevice, BlockDeviceDriver, BlockDeviceSpec } from "@gannet/driver-contract";
import { BlockDeviceError, CommandError } from "@gannet/errors";
import type { CommandResult, CommandRunner } from "@gannet/exec";
import type { Logger } from "@gannet/telemetry";
import { isErrno } from "../../errno.ts";
import { BYTES_PER_MIB, describeDevice, possibleBytes } from "../describe-device.ts";
import * as rbd from "./commands.ts";

export interface RbdDriverOptions {
  readonly runner: CommandRunner;
  readonly logger: Logger;
  /** Of Debian's ceph-common; only tests have another. */
  readonly program?: string;
}

const PROGRAM = "/usr/bin/rbd";
const TIMEOUT_MS = 5 * 60_000;
/** rbd ends with the error's number: ENOENT. */
const NO_SUCH_IMAGE = 2;
const NAME = /^[a-zA-Z0-9_][a-zA-Z0-9_.+-]{0,254}$/;

export function createRbdDriver(options: RbdDriverOptions): BlockDeviceDriver {
  const { runner, logger, program = PROGRAM } = options;

  async function run(
    device: BlockDeviceSpec,
    command: rbd.RbdCommand,
    signal: AbortSignal,
    okExitCodes: readonly number[] = [0],
  ): Promise<CommandResult> {
    signal.throwIfAborted();
    await requireProgram(device);
    try {
      return await runner.run({ argv: [program, ...command], timeoutMs: TIMEOUT_MS, okExitCodes, signal });
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof CommandError)) throw error;
      throw new BlockDeviceError(`${describeDevice(device)}: ${error.message}`, { cause: error });
    }
  }

  async function requireProgram(device: BlockDeviceSpec): Promise<void> {
    await access(program).catch((error: unknown) => {
      if (!isErrno(error, "ENOENT")) throw error;
      throw new BlockDeviceError(
        `${describeDevice(device)} cannot be used on this node: there is no ${program}; install ceph-common`,
      );
    });
  }

  /** Undefined when there is no such image. */
  async function sizeMibOf(
    device: BlockDeviceSpec,
    image: rbd.RbdImage,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const { exitCode, stdout } = await run(device, rbd.describeImage(image), signal, [0, NO_SUCH_IMAGE]);
    return exitCode === NO_SUCH_IMAGE ? undefined : Math.floor(rbd.parseImageSize(stdout) / BYTES_PER_MIB);
  }

  async function presentMibOf(device: BlockDeviceSpec, image: rbd.RbdImage, signal: AbortSignal): Promise<number> {
    const sizeMib = await sizeMibOf(device, image, signal);
    if (sizeMib === undefined) throw new BlockDeviceError(`${describeDevice(device)} does not exist`);
    return sizeMib;
  }

  async function mappedDevice(device: BlockDeviceSpec, image: rbd.RbdImage, signal: AbortSignal) {
    return rbd.parseMapped((await run(device, rbd.listMapped(), signal)).stdout, image);
  }

  async function create(device: BlockDeviceSpec, signal: AbortSignal): Promise<void> {
    const image = imageOf(device);
    possibleBytes(device, device.sizeMib);
    const present = await sizeMibOf(device, image, signal);
    if (present === device.sizeMib) return;
    if (present !== undefined)
      throw new BlockDeviceError(
        `${describeDevice(device)} exists already with ${present} MiB instead of ${device.sizeMib}`,
      );
    await using undo = new AsyncDisposableStack();
    undo.defer(() => quietly(device, () => removeImage(device, image, new AbortController().signal)));
    await run(device, rbd.createImage(image, device.sizeMib), signal);
    if ((await sizeMibOf(device, image, signal)) !== device.sizeMib)
      throw new BlockDeviceError(`${describeDevice(device)}: rbd create reported success, but there is no such image`);
    undo.move();
  }

  async function assemble(device: BlockDeviceSpec, signal: AbortSignal): Promise<AttachedDevice> {
    const image = imageOf(device);
    const path =
      (await mappedDevice(device, image, signal)) ??
      rbd.parseMapping((await run(device, rbd.mapImage(image), signal)).stdout);
    const uris = device.params.access === "userspace" ? { uris: { kvm: rbd.imageUri(image) } } : {};
    return { path, kind: "block", format: "raw", ...uris };
  }

  async function shutdown(device: BlockDeviceSpec, signal: AbortSignal): Promise<void> {
    const mapped = await mappedDevice(device, imageOf(device), signal);
    if (mapped !== undefined) await run(device, rbd.unmapDevice(mapped), signal);
  }

  async function remove(device: BlockDeviceSpec, signal: AbortSignal): Promise<void> {
    await shutdown(device, signal);
    await removeImage(device, imageOf(device), signal);
  }

  async function removeImage(device: BlockDeviceSpec, image: rbd.RbdImage, signal: AbortSignal): Promise<void> {
    await run(device, rbd.removeImage(image), signal, [0, NO_SUCH_IMAGE]);
    if ((await sizeMibOf(device, image, signal)) !== undefined)
      throw new BlockDeviceError(`${describeDevice(device)}: rbd rm reported success, but the image still exists`);
  }

  async function grow(device: BlockDeviceSpec, newSizeMib: number, signal: AbortSignal): Promise<void> {
    const image = imageOf(device);
    possibleBytes(device, newSizeMib);
    const present = await presentMibOf(device, image, signal);
    if (present > newSizeMib)
      throw new BlockDeviceError(
        `${describeDevice(device)} has ${present} MiB already and is never made smaller (${newSizeMib} MiB were asked for)`,
      );
    if (present === newSizeMib) return;
    await run(device, rbd.resizeImage(image, newSizeMib), signal);
    const grown = await presentMibOf(device, image, signal);
    if (grown < newSizeMib)
      throw new BlockDeviceError(`${describeDevice(device)}: rbd resize reported success, but it has ${grown} MiB`);
  }

  async function quietly(device: BlockDeviceSpec, step: () => Promise<void>): Promise<void> {
    await step().catch((error: unknown) =>
      logger.warn({ error, disk: describeDevice(device) }, "a half-made image could not be cleaned up"),
    );
  }

  return {
    template: "rbd",
    create,
    assemble,
    shutdown,
    remove,
    grow,
    status: async (device, signal) => {
      const sizeMib = await sizeMibOf(device, imageOf(device), signal);
      return { exists: sizeMib !== undefined, sizeMib: sizeMib ?? 0 };
    },
    space: async () => [],
  };
}

/** @throws BlockDeviceError when a name could be taken for anything but a name */
function imageOf(device: BlockDeviceSpec): rbd.RbdImage {
  const [driver, name, ...rest] = device.logicalId;
  const { pool, "user-id": user = "" } = device.params;
  const isNamed = device.template === "rbd" && driver === "rbd" && typeof name === "string" && rest.length === 0;
  if (!isNamed || !NAME.test(name))
    throw new BlockDeviceError(`${describeDevice(device)}: the logical id of an rbd disk is [rbd, image]`);
  if (typeof pool !== "string" || !NAME.test(pool))
    throw new BlockDeviceError(`${describeDevice(device)}: its parameter pool is no name of a pool`);
  if (typeof user !== "string" || !(user === "" || NAME.test(user)))
    throw new BlockDeviceError(`${describeDevice(device)}: its parameter user-id is no name of a user`);
  return { pool, name, user };
}
