/**
 * Installing an instance by an untrusted script of its OS definition: in a machine that is booted from the cluster's
 * `install_image` over the instance's disks. The machine is given the script, and tells how it did, on a disk of its
 * own (deploy/install-image/README), which is overwritten before it is removed, for it holds the script's secrets.
 */
import { OpPrereqError } from "@gannet/errors";
import type { HypervisorName, Instance, Parameters } from "@gannet/objects";
import type { OsCreateRequest } from "@gannet/rpc";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { onDevice, undoStep } from "../../executor/undo-actions.ts";
import type { SpaceNeed } from "./disk-space.ts";
import { type HelperPlan, planHelper, runHelper } from "./helper-machine.ts";
import { blockDeviceMessage } from "./messages.ts";

export interface UntrustedInstall {
  readonly helper: HelperPlan;
  readonly startTimeoutS: number;
  readonly timeoutS: number;
}

/** Definitions are a few scripts; what they install they fetch. */
const DISK_MIB = 16;
/** Ganeti's. */
const START_TIMEOUT_S = 300;
const TIMEOUT_S = 2 * 60 * 60;
/** So that the machine's disks have the names that the script is told. */
const HVPARAMS: Partial<Readonly<Record<HypervisorName, Parameters>>> = {
  kvm: { disk_type: "paravirtual" },
  "xen-hvm": { disk_type: "paravirtual" },
};

/**
 * @param instance - as it will be when it is installed
 * @param besides - what the operation needs of the node's storage otherwise
 * @returns null where the definition has a script that the node itself runs, and where the node has no such definition
 * @throws OpPrereqError: wrong_state when the cluster has no image for it; wrong_input; and as {@link planHelper}
 */
export async function planUntrusted(
  ctx: PrereqContext,
  instance: Instance,
  {
    startTimeoutS,
    timeoutS,
    besides = [],
  }: {
    readonly startTimeoutS?: number | null;
    readonly timeoutS?: number | null;
    readonly besides?: readonly SpaceNeed[];
  } = {},
): Promise<UntrustedInstall | null> {
  for (const [name, value] of [
    ["helper_startup_timeout", startTimeoutS],
    ["helper_shutdown_timeout", timeoutS],
  ] as const)
    if (value != null && value < 0)
      throw new OpPrereqError(`${name} must not be below 0, and is ${value}`, "wrong_input");
  if (!isUntrusted(ctx, instance)) return null;
  const { installImage: image } = ctx.config.cluster;
  if (image === "")
    throw new OpPrereqError(
      `OS ${instance.os} has only an untrusted create script (create_untrusted), and the cluster has no image of a ` +
        "machine that runs it: set install_image of the cluster, or leave the installation out (no_install)",
      "wrong_state",
    );
  return {
    helper: await planHelper(ctx, instance, { image, running: false, lastDiskMib: DISK_MIB, besides }),
    startTimeoutS: startTimeoutS ?? START_TIMEOUT_S,
    timeoutS: timeoutS ?? TIMEOUT_S,
  };
}

function isUntrusted({ live }: Pick<PrereqContext, "live">, { os, primaryNode }: Instance): boolean {
  const [name] = os.split("+");
  const found = live.node(primaryNode).os.find((each) => each.name === name);
  return found?.valid === true && !found.trusted;
}

/**
 * The instance's disks are usable on its node, and stay so.
 * @throws OpExecError when the script fails, or the machine does not start or end in time
 */
export async function installInside(
  ctx: ExecContext,
  instance: Instance,
  request: Omit<OsCreateRequest, "step">,
  { helper, startTimeoutS, timeoutS }: UntrustedInstall,
): Promise<void> {
  const node = instance.primaryNode;
  const { blockDevices, os } = ctx.node(node);
  const { last } = helper;
  if (last === undefined) throw new Error("a machine that installs has a disk to be told by");
  const device = blockDeviceMessage(ctx.config, instance, last, instance.disks.length + 1, node);
  const step = (what: string) => ctx.step(`install/${what}`);
  await ctx.undo(undoStep("erase-block-device", onDevice(node, device)));
  await blockDevices.create({ step: step("create-disk"), device }, { signal: ctx.signal });
  const written = { instance: { ...request, step: step("write") }, device };
  await os.prepareInstallation(written, { signal: ctx.signal });
  const doing = "installing from inside";
  await runHelper(ctx, instance, helper, { startTimeoutS, timeoutS, doing, hvparams: HVPARAMS[instance.hypervisor] });
  const read = { instance: { ...request, step: undefined }, device };
  await os.finishInstallation(read, { signal: ctx.signal });
  const whole = { step: step("wipe"), device, offsetMib: 0, sizeMib: device.sizeMib };
  await blockDevices.wipe(whole, { signal: ctx.signal });
  await blockDevices.remove({ step: step("remove-disk"), device }, { signal: ctx.signal });
}
