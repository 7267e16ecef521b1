/**
 * A machine that works on an instance's disks from inside: an image of the site's is booted on the instance's node, with
 * the instance's disks behind its own, and ends by itself when its work is done. The instance must be stopped. Nothing of
 * it is in the configuration: its disk is removed again whatever becomes of it, and the instance has its name meanwhile.
 */
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { OpExecError, OpPrereqError } from "@gannet/errors";
import {
  type ConfigView,
  DISK_TEMPLATE_TRAITS,
  type Disk,
  type FileDriver,
  HYPERVISOR_PARAMETERS,
  type HypervisorName,
  type Instance,
  MAX_DISKS,
  type Parameters,
} from "@gannet/objects";
import { type BlockDevice, encodeParameters } from "@gannet/rpc";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { onDevice, undoStep } from "../../executor/undo-actions.ts";
import { addedDisks, type DiskSite, newDiskIdentity } from "./disk-rows.ts";
import { checkDiskSpace, newDiskNeeds, type SpaceNeed } from "./disk-space.ts";
import { enoughMemory, guestRuns, knownNode, minimumMemoryMib } from "./lookups.ts";
import { blockDeviceMessage, instanceMessage } from "./messages.ts";

/** The machine, checked. */
export interface HelperPlan {
  readonly image: string;
  readonly disk: Disk;
  /** To be its last one. Whoever wants it makes and removes it. */
  readonly last?: Disk;
}

/**
 * What keeps a guest of a hypervisor from booting the image, out of the way. A pvm guest starts from a kernel of its
 * node, with which the image has to do. Hypervisors that are not here boot no images.
 */
const BOOTS_FIRST_DISK: Partial<Readonly<Record<HypervisorName, Parameters>>> = {
  fake: {},
  kvm: {
    ...{ kernel_path: "", initrd_path: "", boot_order: "disk", reboot_behavior: "exit", user_shutdown: false },
    ...{
      cdrom_image_path: "",
      cdrom2_image_path: "",
      floppy_image_path: "",
      uefi: false,
      secure_boot: false,
      vtpm: false,
    },
  },
  "xen-hvm": { boot_order: "c", cdrom_image_path: "", reboot_behavior: "exit" },
  "xen-pvm": { reboot_behavior: "exit" },
};

interface HelperRun {
  readonly doing: string;
  readonly timeoutS: number;
  readonly startTimeoutS?: number;
  readonly hvparams?: Parameters | undefined;
}

const BYTES_PER_MIB = 1024 * 1024;
/** Between looks whether it has ended. */
const LOOK_MS = 500;
/** The most that a timer of Node.js can wait; the call to start has ended by then anyhow. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * @param running - the instance runs now, and will be stopped before: its memory is there then
 * @param lastDiskMib - the size of a disk behind the instance's, where one is wanted
 * @param besides - what is needed of the node's storage otherwise
 * @throws OpPrereqError: wrong_input for a hypervisor that boots no images; environment_error when the node cannot read
 *   the image; insufficient_resources
 */
export async function planHelper(
  ctx: PrereqContext,
  instance: Instance,
  {
    image,
    running,
    lastDiskMib,
    besides = [],
  }: {
    readonly image: string;
    readonly running: boolean;
    readonly lastDiskMib?: number;
    readonly besides?: readonly SpaceNeed[];
  },
): Promise<HelperPlan> {
  const view = ctx.config;
  if (BOOTS_FIRST_DISK[instance.hypervisor] === undefined)
    throw new OpPrereqError(
      `A guest of hypervisor ${instance.hypervisor} boots no image: ${instance.name} cannot be worked on from inside`,
      "wrong_input",
    );
  const more = lastDiskMib === undefined ? 1 : 2;
  if (instance.disks.length + more > MAX_DISKS)
    throw new OpPrereqError(
      `${instance.name} has ${instance.disks.length} disks, a machine that works on them needs ${more} more, and ` +
        `there can be ${MAX_DISKS}`,
      "wrong_input",
    );
  const node = knownNode(view, instance.primaryNode);
  const { sizeBytes } = await ctx.node(node.uuid).blockDevices.describeImage({ image }, { signal: ctx.signal });
  const ownMib = Math.ceil(sizeBytes / BYTES_PER_MIB);
  const sizesMib = lastDiskMib === undefined ? [ownMib] : [ownMib, lastDiskMib];
  const [disk, last] = helperDisks(view, instance, sizesMib, ctx.now());
  if (disk === undefined) throw new Error("a machine without a disk");
  const state = await ctx.node(node.uuid).node.describe({ knownStorage: false }, { signal: ctx.signal });
  const site = siteOf(view, instance);
  const needs = sizesMib.flatMap((sizeMib) => newDiskNeeds({ site, sizeMib }));
  checkDiskSpace(view, node, state, [...besides, ...needs]);
  if (!running) {
    const memoryMib = minimumMemoryMib(view, instance);
    await enoughMemory(ctx, node, { instanceName: instance.name, memoryMib, reason: "working inside" });
  }
  return { image, disk, ...(last !== undefined && { last }) };
}

/** Beside the instance's own: in files where these are files, else a volume. */
function siteOf(view: ConfigView, { name, diskTemplate }: Instance): DiskSite {
  const { volumeGroupName: volumeGroup, fileStorageDir } = view.cluster;
  const { storageType } = DISK_TEMPLATE_TRAITS[diskTemplate];
  if (storageType === "lvm-vg" || (fileStorageDir === "" && volumeGroup !== ""))
    return { template: "plain", volumeGroup };
  return { template: "file", driver: "loop" satisfies FileDriver, directory: path.posix.join(fileStorageDir, name) };
}

/** Rows that are in no configuration. */
function helperDisks(view: ConfigView, instance: Instance, sizesMib: readonly number[], ctime: number): Disk[] {
  const home = { instance: instance.uuid, primary: instance.primaryNode, secondary: null, ctime };
  const site = siteOf(view, instance);
  const asked = sizesMib.map((sizeMib, position) => {
    const index = instance.disks.length + position;
    return { index, name: null, sizeMib, mode: "rw", spindles: null, params: {}, site } as const;
  });
  return addedDisks(view, home, asked, asked.map(newDiskIdentity)).flatMap((change) =>
    change.kind === "disk" && "put" in change ? [change.put] : [],
  );
}

/**
 * Boot it, and wait until it has ended. The instance's disks are usable on its node, and stay so.
 * @param doing - "overwriting unused space", for messages
 * @param startTimeoutS - within which its node has to have started it
 * @param hvparams - other than the instance's
 * @throws OpExecError when it does not start or end in time: it is killed
 */
export async function runHelper(
  ctx: ExecContext,
  instance: Instance,
  { image, disk, last }: HelperPlan,
  { timeoutS, doing, startTimeoutS, hvparams }: HelperRun,
): Promise<void> {
  const view = ctx.config;
  const { primaryNode: node, name, hypervisor } = instance;
  const { blockDevices, instances } = ctx.node(node);
  const device = blockDeviceMessage(view, instance, disk, instance.disks.length, node);
  await ctx.undo(undoStep("end-helper", { ...onDevice(node, device), name, hypervisor }));
  const step = (what: string) => ctx.step(`helper/${what}`);
  await blockDevices.create({ step: step("create-disk"), device }, { signal: ctx.signal });
  await blockDevices.writeImage({ step: step("write-image"), device, image }, { signal: ctx.signal });
  ctx.feedback.step(`starting ${image} for ${doing}`);
  const lastDevice = last && blockDeviceMessage(view, instance, last, instance.disks.length + 1, node);
  const machine = helperMessage(view, instance, { own: device, last: lastDevice, hvparams });
  const request = { step: step("start"), instance: machine, paused: false };
  const started = await inTime(ctx.signal, startTimeoutS, `${image} for ${doing} of ${name}`, (signal) =>
    instances.start(request, { signal }),
  );
  ctx.live.noteInstance(node, started);
  const begun = performance.now();
  while (guestRuns(await instances.state({ name, hypervisor }, { signal: ctx.signal }))) {
    if (performance.now() - begun > timeoutS * 1000)
      throw new OpExecError(`${doing} of ${name} did not end within ${timeoutS.toFixed(0)} s; the machine is killed`);
    await delay(LOOK_MS, undefined, { signal: ctx.signal });
  }
  ctx.feedback.info(`${doing} took ${((performance.now() - begun) / 1000).toFixed(0)} s`);
  // What it leaves of itself on the node goes, too.
  const stop = { step: step("stop"), name, hypervisor, force: true, timeoutMs: 0 };
  const { asOfMs } = await instances.stop(stop, { signal: ctx.signal });
  ctx.live.noteInstanceGone(node, name, asOfMs);
  const failure = await failureOf(ctx, () =>
    blockDevices.remove({ step: step("remove-disk"), device }, { signal: ctx.signal }),
  );
  if (failure !== undefined) ctx.feedback.warning(`The disk of the helping machine is left behind: ${failure.message}`);
}

/** @throws OpExecError when the time is over before the node has answered */
async function inTime<Result>(
  signal: AbortSignal,
  timeoutS: number | undefined,
  what: string,
  start: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  if (timeoutS === undefined) return await start(signal);
  const over = AbortSignal.timeout(Math.min(timeoutS * 1000, LONGEST_TIMER_MS));
  try {
    return await start(AbortSignal.any([signal, over]));
  } catch (cause) {
    if (signal.aborted || !over.aborted) throw cause;
    throw new OpExecError(`${what} did not start within ${timeoutS.toFixed(0)} s`, { cause });
  }
}

/** Its own disk first; it needs no network. */
function helperMessage(
  view: ConfigView,
  instance: Instance,
  {
    own,
    last,
    hvparams = {},
  }: Pick<HelperRun, "hvparams"> & { readonly own: BlockDevice; readonly last: BlockDevice | undefined },
) {
  const message = instanceMessage(view, instance);
  const known: Readonly<Record<string, unknown>> = HYPERVISOR_PARAMETERS[instance.hypervisor];
  const boots = Object.entries(BOOTS_FIRST_DISK[instance.hypervisor] ?? {}).filter(([each]) => each in known);
  return {
    ...message,
    disks: [own, ...message.disks, ...(last === undefined ? [] : [last])],
    nics: [],
    hvparams: { ...message.hvparams, ...encodeParameters({ ...Object.fromEntries(boots), ...hvparams }) },
  };
}
