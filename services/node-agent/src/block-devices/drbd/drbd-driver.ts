/**
 * Disks with a copy on another node: template `drbd` (spec/node-ops.json, `storage.drbd`; drbdsetup(8)).
 *
 * Each method looks at what the kernel has first, and does what is missing: so a repetition does nothing, and one
 * after a kill between any two commands goes on where the first stopped. An end is known by its minor, its resource's
 * name, its volumes' paths, and while it has no volumes by its own address and port.
 *
 * A split brain is what the kernel ends by standing alone: it tells so of itself, and not why. This driver takes an
 * end for split when it stands alone, has gone on by itself since the ends parted (its bitmap generation is set), and
 * was not parted by this driver. After a restart of the agent the last is not known: an end that was disconnected,
 * was written to, and was left so is then reported as split, too, which an operator has to look at as well.
 */
import { stat } from "node:fs/promises";
import type {
  AttachedDevice,
  BlockDeviceDriver,
  BlockDeviceSpec,
  BlockDeviceStatus,
  LabellingDriver,
  MirroringDriver,
  MirrorStatus,
} from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { Logger } from "@gannet/telemetry";
import { undefinedWhenMissing } from "../../errno.ts";
import type { StorageTools } from "../storage-tools.ts";
import type { ConnectOptions } from "./dialect.ts";
import { type DrbdAddress, type DrbdDisk, describe, drbdDisk, formatAddress, isPossibleSize } from "./drbd-disk.ts";
import { DrbdKernel } from "./drbd-kernel.ts";
import { afterwards, makeVolumes, markMetadata, ofBoth, removeVolumes, type VolumeDriver } from "./drbd-volumes.ts";
import { JUST_CREATED } from "./generations.ts";
import type { KernelDevice } from "./kernel-state.ts";
import { KnownEnds } from "./known-ends.ts";
import { mirrorStatusOf, UNCONFIGURED } from "./mirror-status.ts";
import type { ShownConnection, ShownResource } from "./shown-configuration.ts";

export interface DrbdDriverOptions {
  readonly tools: StorageTools;
  readonly runner: CommandRunner;
  readonly logger: Logger;
  /** Makes and removes the volumes. */
  readonly plain: VolumeDriver;
}

/** What the kernel has done by the time that its command ends; more than enough for it to be seen. */
const AT_ONCE = { withinMs: 5_000 } as const;
/** States of a device that has to be attached, or connected, again. */
const NOT_ATTACHED: ReadonlySet<string> = new Set(["Diskless", "Attaching", "Detaching", "Failed", "DUnknown"]);
const NOT_CONNECTING: ReadonlySet<string> = new Set(["StandAlone", "Disconnecting", "Unconnected"]);

export function createDrbdDriver(options: DrbdDriverOptions): BlockDeviceDriver & MirroringDriver & LabellingDriver {
  const { tools, plain, logger } = options;
  const kernel = new DrbdKernel(options);
  const volumes = { plain, kernel, quietly };
  /** Resources that {@link disconnect} has parted, until they are connected again. */
  const parted = new Set<string>();
  const ends = new KnownEnds();

  async function create(disk: DrbdDisk, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    // A resource without its minor holds no volumes.
    const isConfigured = (await kernel.device(disk, signal)) !== undefined;
    const own = isConfigured ? await ownResource(disk, signal) : undefined;
    if (own?.dataPath !== undefined) {
      await ofBoth(disk, (volume) => plain.create(volume, signal));
      return;
    }
    await using undo = new AsyncDisposableStack();
    // What is there without the mark was begun by an attempt that was killed: its superblock may be an older disk's.
    const areNew = await makeVolumes(volumes, disk, undo, signal, { keepsUnmarked: false });
    signal.throwIfAborted();
    undo.move();
    if (!isConfigured && areNew) ends.noteMade(disk);
  }

  async function assemble(disk: DrbdDisk, signal: AbortSignal): Promise<AttachedDevice> {
    await using undo = new AsyncDisposableStack();
    const device = await bringUp(disk, undo, signal);
    if (device?.role !== "Primary") {
      const { primary, secondary } = await kernel.dialect();
      undo.defer(() => quietly(async () => void (await kernel.run(disk, secondary(disk), "demoted", afterwards()))));
      await kernel.run(disk, primary(disk, { force: false }), "made primary", signal);
      await kernel.until(disk, "made primary", (found) => found?.role === "Primary", signal, AT_ONCE);
    }
    const kind = await kindOf(disk);
    signal.throwIfAborted();
    undo.move();
    return { path: disk.devicePath, kind, format: "raw" };
  }

  async function standBy(disk: DrbdDisk, signal: AbortSignal): Promise<void> {
    await using undo = new AsyncDisposableStack();
    const device = await bringUp(disk, undo, signal);
    if (device?.role === "Primary") {
      const { secondary } = await kernel.dialect();
      await kernel.run(disk, secondary(disk), "made secondary", signal);
      await kernel.until(disk, "made secondary", (found) => found?.role === "Secondary", signal, AT_ONCE);
    }
    signal.throwIfAborted();
    undo.move();
  }

  async function seed(disk: DrbdDisk, signal: AbortSignal): Promise<void> {
    await using undo = new AsyncDisposableStack();
    const isJustMade = ends.isJustMade(disk);
    const device = await bringUp(disk, undo, signal);
    const generations = isJustMade ? undefined : await kernel.generations(disk, signal);
    if (generations !== undefined && generations.current !== JUST_CREATED) {
      // The generation that a seed begins with stays in sight for a while: an end that is primary and has it was
      // seeded by an earlier attempt.
      const wasSeeded = [generations.bitmap, ...generations.history].includes(JUST_CREATED);
      if (!wasSeeded || device?.role !== "Primary" || device.disk !== "UpToDate")
        throw new BlockDeviceError(
          `${describe(disk.spec)} has been in use: its data are not forced upon the other end`,
        );
    } else {
      const { primary } = await kernel.dialect();
      await kernel.run(disk, primary(disk, { force: true }), "seeded", signal);
      const isSeeded = (found?: KernelDevice) => found?.role === "Primary" && found.disk === "UpToDate";
      await kernel.until(disk, "seeded", isSeeded, signal, AT_ONCE);
    }
    undo.move();
  }

  async function shutdown(disk: DrbdDisk, signal: AbortSignal): Promise<void> {
    ends.forget(disk);
    if (await isUpHere(disk, signal)) await takeDown(disk, signal);
    await ofBoth(disk, (volume) => plain.shutdown(volume, signal));
  }

  async function remove(disk: DrbdDisk, signal: AbortSignal): Promise<void> {
    ends.forget(disk);
    if (await isUpHere(disk, signal)) await takeDown(disk, signal);
    await removeVolumes(options, disk, signal);
  }

  /**
   * The kernel grows the device when both ends' volumes have grown, at the second end's turn; at the first's it notes
   * the size. It cannot while a resync runs, nor without a primary, whose turn is the second.
   */
  async function grow(disk: DrbdDisk, newSizeMib: number, signal: AbortSignal): Promise<void> {
    if (!isPossibleSize(newSizeMib))
      throw new BlockDeviceError(`${describe(disk.spec)}: ${newSizeMib} MiB is not a possible size`);
    const device = (await ownResource(disk, signal)) && (await kernel.device(disk, signal));
    const isAttached = device !== undefined && device.disk !== "Diskless";
    const sizeKib = isAttached ? ((await kernel.sizeKib(disk, signal)) ?? 0) : 0;
    const mustResize = isAttached && sizeKib < newSizeMib * 1024;
    if (mustResize) refuseResize(disk, device);
    if (sizeKib > newSizeMib * 1024)
      throw new BlockDeviceError(
        `${describe(disk.spec)} has ${sizeKib / 1024} MiB already and is never made smaller (${newSizeMib} MiB were asked for)`,
      );
    await plain.grow(disk.data.spec, newSizeMib, signal);
    if (!mustResize) return;
    const { resize } = await kernel.dialect();
    await kernel.run(disk, resize(disk, newSizeMib), "grown", signal);
    if (isSecondToGrow(device)) await kernel.untilGrown(disk, newSizeMib * 1024, signal, AT_ONCE);
  }

  async function status(disk: DrbdDisk, signal: AbortSignal): Promise<BlockDeviceStatus> {
    const [data, metadata] = await ofBoth(disk, (volume) => plain.status(volume, signal));
    return data?.exists && metadata?.exists ? data : { exists: false, sizeMib: 0 };
  }

  async function connect(disk: DrbdDisk, wanted: ConnectOptions, signal: AbortSignal): Promise<void> {
    const known = await ends.up(disk);
    const device = await kernel.device(disk, signal);
    ends.forget(disk);
    if (known === undefined || !isWorking(device)) {
      const own = await ownResource(disk, signal);
      if (own === undefined || device === undefined) throw notUp(disk);
      if (!isConnected(disk, own, device)) return join(disk, own, wanted, signal);
      if (own.connection?.dualPrimary !== wanted.dualPrimary) await change(disk, wanted, signal);
    } else if (known.dualPrimary !== wanted.dualPrimary) await change(disk, wanted, signal);
    parted.delete(disk.resource);
    if (known !== undefined) await ends.noteUp(disk, wanted);
  }

  async function change(disk: DrbdDisk, wanted: ConnectOptions, signal: AbortSignal): Promise<void> {
    const { changeConnection } = await kernel.dialect();
    const done = wanted.dualPrimary ? "opened for two primaries" : "closed to a second primary";
    await kernel.run(disk, changeConnection(disk, wanted), done, signal);
    // Whether it was opened is proven by the promotion of the second end, without which it is of no use.
    if (wanted.dualPrimary) return;
    if ((await ownResource(disk, signal))?.connection?.dualPrimary !== wanted.dualPrimary)
      throw new BlockDeviceError(`${describe(disk.spec)} could not be ${done}: drbdsetup says it was, and it was not`);
  }

  async function disconnect(disk: DrbdDisk, signal: AbortSignal): Promise<void> {
    const own = await ownResource(disk, signal);
    if (own?.connection === undefined) return;
    ends.forget(disk);
    parted.add(disk.resource);
    await part(disk, own.connection, signal);
  }

  async function mirrorStatus(disk: DrbdDisk, signal: AbortSignal): Promise<MirrorStatus> {
    const device = await kernel.device(disk, signal);
    if (device === undefined) return UNCONFIGURED;
    const splitBrain = !parted.has(disk.resource) && (await wentOnAlone(disk, device, signal));
    return mirrorStatusOf(device, { splitBrain });
  }

  async function setInfo(disk: DrbdDisk, signal: AbortSignal): Promise<void> {
    const { instanceName } = disk.spec;
    await ofBoth(disk, (volume) => plain.setInfo({ ...volume, instanceName }, signal));
  }

  async function attachVolumes(disk: DrbdDisk, signal: AbortSignal): Promise<void> {
    const own = await ownResource(disk, signal);
    if (own?.minor === undefined) throw notUp(disk);
    await using undo = new AsyncDisposableStack();
    ends.forget(disk);
    if (own.dataPath === undefined) {
      // An undo attaches the volumes that the disk had, and Ganeti's have no mark. LVM has zeroed the superblock of
      // those that a killed attempt has left: they are not taken for older ones.
      await makeVolumes(volumes, disk, undo, signal, { keepsUnmarked: true });
      await ofBoth(disk, (volume) => plain.assemble(volume, signal));
      await attach(disk, undo, signal);
    }
    const { resyncOptions, resyncOptionsOf } = await kernel.dialect();
    if (own.dataPath !== undefined || resyncOptionsOf === "connection")
      await kernel.run(disk, resyncOptions(disk), "given the speed of its resync", signal);
    undo.move();
  }

  async function detachVolumes(disk: DrbdDisk, signal: AbortSignal): Promise<void> {
    const own = await ownResource(disk, signal);
    if (own?.dataPath === undefined) return;
    ends.forget(disk);
    const { detach } = await kernel.dialect();
    await kernel.run(disk, detach(disk), "detached from its volumes", signal);
    const isDetached = (device?: KernelDevice) => device === undefined || device.disk === "Diskless";
    await kernel.until(disk, "detached from its volumes", isDetached, signal);
    // They may be put back, and must then be known for this disk's own, by whomever they were made.
    await volumes.quietly(() => markMetadata(kernel, disk, signal));
  }

  async function pauseSync(disk: DrbdDisk, paused: boolean, signal: AbortSignal): Promise<void> {
    const device = (await ownResource(disk, signal)) && (await kernel.device(disk, signal));
    if (device === undefined) throw notUp(disk);
    if (device.syncPaused === paused) return;
    const { pauseSync: pause, resumeSync: resume } = await kernel.dialect();
    await kernel.run(disk, paused ? pause(disk) : resume(disk), paused ? "paused" : "resumed", signal);
  }

  /** Attached, and connected or connecting. What this does is taken back by `undo`. */
  async function bringUp(
    disk: DrbdDisk,
    undo: AsyncDisposableStack,
    signal: AbortSignal,
  ): Promise<KernelDevice | undefined> {
    signal.throwIfAborted();
    const known = await ends.up(disk);
    const before = known && (await kernel.device(disk, signal));
    if (isWorking(before)) {
      parted.delete(disk.resource);
      return before;
    }
    const isJustMade = ends.isJustMade(disk);
    ends.forget(disk);
    if (!isJustMade) await ofBoth(disk, (volume) => plain.assemble(volume, signal));
    const dialect = await kernel.dialect();
    const own = await resourceAt(disk, { isNew: isJustMade }, undo, signal);
    const setSpeed = () => kernel.run(disk, dialect.resyncOptions(disk), "given the speed of its resync", signal);
    if (own?.dataPath === undefined) await attach(disk, undo, signal, { isNew: isJustMade });
    else if (dialect.resyncOptionsOf === "volume") await setSpeed();
    const device = await kernel.device(disk, signal);
    if (device !== undefined && own !== undefined && isConnected(disk, own, device)) parted.delete(disk.resource);
    else await join(disk, own, { dualPrimary: false }, signal);
    if (dialect.resyncOptionsOf === "connection") await setSpeed();
    await ends.noteUp(disk, { dualPrimary: own?.connection?.dualPrimary ?? false });
    return kernel.device(disk, signal);
  }

  /**
   * The disk's resource with its minor: undefined when they were set up only just now, with nothing in them.
   * @param isNew - its minor was free when its volumes were made: what bears its name holds no volumes
   */
  async function resourceAt(
    disk: DrbdDisk,
    { isNew }: { readonly isNew: boolean },
    undo: AsyncDisposableStack,
    signal: AbortSignal,
  ): Promise<ShownResource | undefined> {
    const own = isNew ? undefined : await ownResource(disk, signal);
    if (own?.minor !== undefined) return own;
    const { newResource, newMinor } = await kernel.dialect();
    if (own === undefined)
      undo.defer(() =>
        quietly(async () => {
          if ((await ownResource(disk, afterwards())) !== undefined) await takeDown(disk, afterwards());
        }),
      );
    try {
      if (own === undefined) await kernel.run(disk, newResource(disk), "set up", signal);
      await kernel.run(disk, newMinor(disk), "set up", signal);
      return own;
    } catch (error) {
      // An attempt that was cut short has left them.
      const left = isNew ? await ownResource(disk, signal) : undefined;
      if (left?.minor === undefined) throw error;
      return left;
    }
  }

  /** @param isNew - its metadata were just made: there is no activity log of a crashed primary in them */
  async function attach(
    disk: DrbdDisk,
    undo: AsyncDisposableStack,
    signal: AbortSignal,
    { isNew = false }: { readonly isNew?: boolean } = {},
  ): Promise<void> {
    const { applyActivityLog, attach: attachCommand, detach } = await kernel.dialect();
    if (!isNew) await kernel.run(disk, applyActivityLog(disk), "attached to its volumes", signal);
    undo.defer(() =>
      quietly(async () => {
        const own = await ownResource(disk, afterwards());
        if (own?.dataPath !== undefined) await kernel.run(disk, detach(disk), "detached", afterwards());
      }),
    );
    await kernel.run(disk, attachCommand(disk), "attached to its volumes", signal);
    const isAttached = (device?: KernelDevice) =>
      device !== undefined && device.disk !== "Diskless" && device.disk !== "Attaching";
    await kernel.until(disk, "attached to its volumes", isAttached, signal, AT_ONCE);
  }

  /** Connect an end that is not, or not with the peer it should be. */
  async function join(
    disk: DrbdDisk,
    own: ShownResource | undefined,
    wanted: ConnectOptions,
    signal: AbortSignal,
  ): Promise<void> {
    if (own?.connection !== undefined) await part(disk, own.connection, signal);
    parted.delete(disk.resource);
    const dialect = await kernel.dialect();
    for (const command of dialect.connect(disk, wanted)) await kernel.run(disk, command, "connected", signal);
    const device = await kernel.device(disk, signal);
    const isGivenUp = device === undefined || device.connection === "StandAlone";
    // An end of a split brain stays usable alone, and says so in its status.
    if (isGivenUp && !(device !== undefined && (await wentOnAlone(disk, device, signal))))
      throw new BlockDeviceError(
        `${describe(disk.spec)} could not be connected: the kernel gave the connection up at once; the ends' secrets, or the disks they belong to, are not the same`,
      );
  }

  async function part(disk: DrbdDisk, connection: ShownConnection, signal: AbortSignal): Promise<void> {
    const { disconnect: commands } = await kernel.dialect();
    for (const command of commands(disk, connection)) await kernel.run(disk, command, "disconnected", signal);
    const isAlone = (device?: KernelDevice) => device === undefined || device.connection === "StandAlone";
    await kernel.until(disk, "disconnected", isAlone, signal);
  }

  async function takeDown(disk: DrbdDisk, signal: AbortSignal): Promise<void> {
    ends.forget(disk);
    const { down } = await kernel.dialect();
    await kernel.run(disk, down(disk), "taken down", signal);
    parted.delete(disk.resource);
    await kernel.until(disk, "taken down", (device) => device === undefined, signal, AT_ONCE);
  }

  /** Whether this end is alone with data that the other has not. */
  async function wentOnAlone(disk: DrbdDisk, device: KernelDevice, signal: AbortSignal): Promise<boolean> {
    if (device.connection !== "StandAlone" || device.disk === "Diskless") return false;
    return (await kernel.generations(disk, signal)).bitmap !== undefined;
  }

  /** @throws BlockDeviceError when the minor or the resource's name is taken by another disk */
  async function ownResource(disk: DrbdDisk, signal: AbortSignal): Promise<ShownResource | undefined> {
    const shown = await kernel.configuration(disk, signal);
    const found = shown.find(({ name, minor }) => name === disk.resource || minor === disk.minor);
    if (found !== undefined && !isOf(disk, found))
      throw new BlockDeviceError(
        `${describe(disk.spec)}: DRBD minor ${disk.minor} of this node is in use by other volumes than this disk's, ${found.dataPath ?? found.name}`,
      );
    return found;
  }

  /** For what is not done to others' devices: a minor of another disk is none of this one. */
  async function isUpHere(disk: DrbdDisk, signal: AbortSignal): Promise<boolean> {
    // Volumes of a node whose kernel has no DRBD are not in use by it.
    const shown = (await kernel.isPresent()) ? await kernel.configuration(disk, signal) : [];
    const own = shown.find((resource) => resource.name === disk.resource && isOf(disk, resource));
    const data = await plain.status(disk.data.spec, signal);
    return own !== undefined && (own.dataPath === undefined || data.exists);
  }

  /** The undo's own failures are logged: the error that caused it is the one to be seen. */
  async function quietly(step: () => Promise<void>): Promise<void> {
    await step().catch((error: unknown) => logger.warn({ error }, "a half-done change of a disk could not be undone"));
  }

  /** Check what was asked before anything is done. */
  function checked<Rest extends readonly unknown[], Result>(
    operation: (disk: DrbdDisk, ...rest: Rest) => Promise<Result>,
  ): (device: BlockDeviceSpec, ...rest: Rest) => Promise<Result> {
    return async (device, ...rest) => operation(drbdDisk(device, tools.deviceFolder), ...rest);
  }

  return {
    template: "drbd",
    create: checked(create),
    assemble: checked(assemble),
    shutdown: checked(shutdown),
    remove: checked(remove),
    grow: checked(grow),
    status: checked(status),
    // The volume groups are reported by the driver of the volumes.
    space: async () => [],
    standBy: checked(standBy),
    seed: checked(seed),
    connect: checked(connect),
    disconnect: checked(disconnect),
    mirrorStatus: checked(mirrorStatus),
    setInfo: checked(setInfo),
    attachVolumes: checked(attachVolumes),
    detachVolumes: checked(detachVolumes),
    pauseSync: checked(pauseSync),
    minors: () => kernel.minors(),
    demoteAll: (signal) => kernel.demoteAll(signal),
    usermodeHelper: () => kernel.usermodeHelper(),
  };
}

/** A file where DRBD is simulated. @throws BlockDeviceError when there is no device */
async function kindOf(disk: DrbdDisk): Promise<AttachedDevice["kind"]> {
  const entry = await stat(disk.devicePath).catch(undefinedWhenMissing);
  if (entry === undefined)
    throw new BlockDeviceError(`${describe(disk.spec)} was made primary, but there is no ${disk.devicePath}`);
  return entry.isBlockDevice() ? "block" : "file";
}

function isOf(disk: DrbdDisk, { name, minor, dataPath, metadataPath, connection }: ShownResource): boolean {
  if (name !== disk.resource || (minor !== undefined && minor !== disk.minor)) return false;
  if (dataPath !== undefined) return dataPath === disk.data.path && metadataPath === disk.metadata.path;
  // Ports are the cluster's, each of one disk.
  return connection === undefined || isSameAddress(connection.local, disk.local);
}

/** With its volumes, and with its peer or waiting for it. */
function isWorking(device: KernelDevice | undefined): device is KernelDevice {
  return device !== undefined && !NOT_ATTACHED.has(device.disk) && !NOT_CONNECTING.has(device.connection);
}

function isConnected(disk: DrbdDisk, { connection }: ShownResource, device: KernelDevice): boolean {
  if (connection === undefined || device.connection === "StandAlone") return false;
  return isSameAddress(connection.local, disk.local) && isSameAddress(connection.peer, disk.peer);
}

function isSameAddress(one: DrbdAddress, other: DrbdAddress): boolean {
  return formatAddress(one) === formatAddress(other);
}

function refuseResize(disk: DrbdDisk, device: KernelDevice): void {
  if (device.role !== "Primary" && device.peerRole !== "Primary")
    throw new BlockDeviceError(`${describe(disk.spec)} cannot grow: neither of its ends is primary; activate it first`);
  if (device.connection !== "Connected" && mirrorStatusOf(device, { splitBrain: false }).connection === "syncing")
    throw new BlockDeviceError(
      `${describe(disk.spec)} cannot grow while its ends are being synchronised; wait for that`,
    );
}

/** The master grows the secondary first, and the kernel does nothing more for ends that are not both in order. */
function isSecondToGrow({ role, peerRole, connection, disk, peerDisk }: KernelDevice): boolean {
  const areInOrder = connection === "Connected" && disk === "UpToDate" && peerDisk === "UpToDate";
  return areInOrder && role === "Primary" && peerRole === "Secondary";
}

function notUp(disk: DrbdDisk): BlockDeviceError {
  return new BlockDeviceError(`${describe(disk.spec)} is not active on this node`);
}
