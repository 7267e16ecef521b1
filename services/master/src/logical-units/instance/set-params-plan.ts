/** What OP_INSTANCE_SET_PARAMS comes to: everything that is asked for, checked against configuration and nodes. */
import { OpPrereqError } from "@gannet/errors";
import {
  type ConfigView,
  DISK_TEMPLATE_TRAITS,
  filledBeparams,
  filledHvparams,
  type Instance,
  type Node,
} from "@gannet/objects";
import { allocatorChoice } from "../../allocator/allocator-choice.ts";
import { askAllocator } from "../../allocator/ask-allocator.ts";
import { failureOf } from "../../executor/attempt.ts";
import type { PrereqContext } from "../../executor/context.ts";
import { type DiskChangePlan, planDisks } from "./changed-disks.ts";
import { type Ballooning, checkMoreMemory, guestNow, planBallooning } from "./changed-memory.ts";
import { type NicPlan, planNics } from "./changed-nics.ts";
import {
  changedParameters,
  changesOsParameters,
  hasKeys,
  type InstanceParameters,
  type SetParamsOp,
} from "./changed-parameters.ts";
import { withCommunicationChange } from "./communication-nic.ts";
import { type Conversion, planConversion } from "./convert-disks.ts";
import { usableNode } from "./create-plan.ts";
import { hotplugObstacle } from "./device-hotplug.ts";
import { checkDiskSpace, newDiskNeeds } from "./disk-space.ts";
import { knownNode, notRunning, onlineDiskNodes } from "./lookups.ts";
import { instanceMessage } from "./messages.ts";
import { checkConnected } from "./nic-addresses.ts";
import { osParameterTexts } from "./os-request.ts";
import { checkPolicy, spindleUse, useOf } from "./policy-check.ts";

export interface SetParamsPlan {
  /** As it is. */
  readonly instance: Instance;
  readonly parameters: InstanceParameters;
  /** The node that it is on afterwards. */
  readonly primary: Node;
  readonly nics: NicPlan | null;
  readonly disks: DiskChangePlan | null;
  readonly conversion: Conversion | null;
  readonly ballooning: Ballooning | null;
  /** Null: it stays. */
  readonly adminState: "down" | "offline" | null;
  /** Whether the running guest's devices are changed at once. */
  readonly hotplug: boolean;
  readonly warnings: readonly string[];
}

const isGiven = (value: unknown): boolean => value !== null && value !== undefined;

/** @throws OpPrereqError with Ganeti's code of each prerequisite; TypeEnforcementError */
export async function planSetParams(
  ctx: PrereqContext,
  instance: Instance,
  asked: SetParamsOp,
): Promise<SetParamsPlan> {
  const view = ctx.config;
  checkRequest(asked);
  const op = withCommunicationChange(view, instance, asked);
  const warnings: string[] = [];
  const primary = await newPrimary(ctx, instance, op, warnings);
  const parameters = changedParameters(view, instance, op);
  const after: Instance = { ...instance, ...parameters, primaryNode: primary.uuid };
  const nics = op.nics.length > 0 ? planNics(view, instance, primary, op) : null;
  if (op.disks.length > 0) onlineDiskNodes(view, instance);
  const disks = op.disks.length > 0 ? planDisks(view, instance, primary, op) : null;
  if (!op.ignore_ipolicy) checkUse(view, instance, after, { op, nics, disks });

  const hotplug = await hotplugs(ctx, instance, { op, nics, disks }, warnings);
  await Promise.all([
    askForGuest(ctx, after, { op, nics }, warnings),
    askForOs(ctx, after, op),
    askForProcessors(ctx, after, op),
    disks === null ? null : askForRoom(ctx, instance, disks),
  ]);
  if (!op.force && hasKeys(op.beparams)) warnings.push(...(await checkMoreMemory(ctx, instance, after)));
  const beparams = filledBeparams(view.cluster, after);
  const { runtime_mem: memoryMib } = op;
  return {
    ...{ instance, parameters, primary, nics, disks, hotplug, warnings },
    conversion: isGiven(op.disk_template) ? await conversionOf(ctx, instance, op) : null,
    ballooning:
      memoryMib == null ? null : await planBallooning(ctx, instance, { memoryMib, beparams, force: op.force }),
    adminState: op.offline == null ? null : await adminStateAfter(ctx, instance, op.offline),
  };
}

/** @throws OpPrereqError (wrong_input) */
function checkRequest(op: SetParamsOp): void {
  const asked = [
    op.disk_template,
    op.os_name,
    op.offline,
    op.runtime_mem,
    op.pnode,
    op.pnode_uuid,
    op.instance_communication,
  ].some(isGiven);
  const changed = [op.beparams, op.hvparams, op.osparams, op.osparams_private].some(hasKeys);
  if (!asked && !changed && op.nics.length === 0 && op.disks.length === 0)
    throw new OpPrereqError("No changes submitted", "wrong_input");
  if (op.disks.length > 0 && isGiven(op.disk_template))
    throw new OpPrereqError(
      "The disk template and single disks cannot be changed at the same time: make it two operations",
      "wrong_input",
    );
  const changesDisks = op.disks.length > 0 || isGiven(op.disk_template);
  if (changesDisks && (isGiven(op.pnode) || isGiven(op.pnode_uuid)))
    throw new OpPrereqError(
      "Disks and the primary node cannot be changed at the same time: make it two operations",
      "wrong_input",
    );
}

/**
 * The node that is asked for, where the instance's disks are there already: this moves no data.
 * @throws OpPrereqError: unknown_entity, wrong_input, wrong_state
 */
async function newPrimary(ctx: PrereqContext, instance: Instance, op: SetParamsOp, warnings: string[]): Promise<Node> {
  const view = ctx.config;
  const before = knownNode(view, instance.primaryNode);
  const asked = op.pnode_uuid ?? op.pnode;
  if (asked == null || knownNode(view, asked).uuid === before.uuid) return before;
  const node = usableNode(view, asked);
  const { mirroring } = DISK_TEMPLATE_TRAITS[instance.diskTemplate];
  if (mirroring === "none")
    throw new OpPrereqError(
      `The disks of ${instance.name} are on ${before.name} only: move the instance instead`,
      "wrong_input",
    );
  if (mirroring === "internal" && !view.secondaryNodes(instance).includes(node.uuid))
    throw new OpPrereqError(`${node.name} is not the secondary node of ${instance.name}`, "wrong_input");
  checkConnected(view, instance, node);
  if (op.force) return node;
  if (before.offline) {
    warnings.push(`Node ${before.name} is marked offline: what ran there is taken to be over`);
    return node;
  }
  const failure = await failureOf(ctx, async () => {
    if ((await guestNow(ctx, instance)) !== undefined)
      throw new OpPrereqError(`Instance ${instance.name} is still running on ${before.name}`, "wrong_state");
  });
  if (failure instanceof OpPrereqError) throw failure;
  if (failure !== undefined)
    warnings.push(`Whether ${instance.name} still runs on ${before.name} is not known: ${failure.message}`);
  return node;
}

interface Changes {
  readonly op: SetParamsOp;
  readonly nics: NicPlan | null;
  readonly disks: DiskChangePlan | null;
}

/** Only what is changed is compared: a policy may have become narrower than what it once allowed. */
function checkUse(view: ConfigView, before: Instance, after: Instance, { op, nics, disks }: Changes): void {
  const primary = knownNode(view, after.primaryNode);
  const moves = knownNode(view, before.primaryNode).group !== primary.group;
  if (!hasKeys(op.beparams) && nics === null && disks === null && !moves) return;
  const use = {
    ...useOf(view, after),
    nicCount: nics?.drafts.length ?? after.nics.length,
    ...(disks === null
      ? {}
      : {
          diskSizesMib: disks.drafts.map(({ sizeMib }) => sizeMib),
          diskTemplate: disks.template,
          spindleUse: spindleUse(view, after.primaryNode, filledBeparams(view.cluster, after), spindlesOf(view, disks)),
        }),
  };
  checkPolicy(view, primary, use);
  checkPolicy(view, primary, { ...use, memoryMib: Number(filledBeparams(view.cluster, after).minmem) });
}

/** @throws OpPrereqError (wrong_state) when a disk would be taken from a running guest that cannot be told */
async function hotplugs(
  ctx: PrereqContext,
  instance: Instance,
  { op, nics, disks }: Changes,
  warnings: string[],
): Promise<boolean> {
  if (nics === null && disks === null) return false;
  const primary = knownNode(ctx.config, instance.primaryNode);
  if (primary.offline) return false;
  let isRunning = false;
  const failure = await failureOf(ctx, async () => {
    isRunning = (await guestNow(ctx, instance)) !== undefined;
  });
  if (failure !== undefined) {
    if (disks !== null) throw failure;
    warnings.push(`Whether ${instance.name} runs is not known, and its guest is not told: ${failure.message}`);
  }
  if (!isRunning) return false;
  const obstacle = op.hotplug ? await hotplugObstacle(ctx, instance) : "hotplug was not asked for";
  if (obstacle === undefined) return true;
  const [leaving] = [...(disks?.removed ?? []), ...(disks?.detached ?? [])];
  if (leaving !== undefined)
    throw new OpPrereqError(
      `disk/${leaving.index} cannot be taken from ${instance.name} while it runs (${obstacle}): shut it down first`,
      "wrong_state",
    );
  if (op.hotplug) warnings.push(`Hotplug is not possible: ${obstacle}`);
  warnings.push(`The running guest has its changed devices from its next start on`);
  return false;
}

/**
 * What only nodes can know of the guest's parameters: its files on all its nodes, its NICs' links on the primary.
 * Nodes that are marked offline are not asked.
 */
async function askForGuest(
  ctx: PrereqContext,
  after: Instance,
  { op, nics }: Pick<Changes, "op" | "nics">,
  warnings: string[],
): Promise<void> {
  const view = ctx.config;
  const validate = async (uuid: Node["uuid"], instance: Instance) => {
    if (view.nodes.get(uuid)?.offline === true) return;
    await ctx
      .node(uuid)
      .instances.validate({ instance: instanceMessage(view, instance, uuid) }, { signal: ctx.signal });
  };
  const withoutNics = { ...after, nics: [] };
  if (hasKeys(op.hvparams) || isGiven(op.os_name))
    for (const uuid of [after.primaryNode, ...view.secondaryNodes(after)]) await validate(uuid, withoutNics);
  if (nics === null && !isGiven(op.pnode) && !isGiven(op.pnode_uuid)) return;
  const failure = await failureOf(ctx, () =>
    validate(after.primaryNode, { ...after, nics: [...(nics?.nics ?? after.nics)] }),
  );
  if (failure === undefined) return;
  if (!op.force) throw failure;
  warnings.push(`The instance could not be started as it will be: ${failure.message}`);
}

/** The primary node has another OS definition that is asked for, and all nodes accept its changed parameters. */
async function askForOs(ctx: PrereqContext, after: Instance, op: SetParamsOp): Promise<void> {
  const isOther = isGiven(op.os_name) && !op.force;
  if (after.os === "" || (!isOther && !changesOsParameters(op))) return;
  const view = ctx.config;
  const parameters = { ...osParameterTexts(view, after) };
  const nodes = changesOsParameters(op) ? [after.primaryNode, ...view.secondaryNodes(after)] : [after.primaryNode];
  const request = { os: after.os, forceVariant: op.force_variant, parameters, runVerifyScript: true };
  for (const uuid of nodes)
    if (view.nodes.get(uuid)?.offline !== true) await ctx.node(uuid).os.validate(request, { signal: ctx.signal });
}

/** The nodes have the processors that a new mask names. @throws OpPrereqError (insufficient_resources) */
async function askForProcessors(ctx: PrereqContext, after: Instance, op: SetParamsOp): Promise<void> {
  const view = ctx.config;
  const mask = Object.hasOwn(op.hvparams, "cpu_mask") ? filledHvparams(view.cluster, after).cpu_mask : "";
  const largest = Math.max(-1, ...(String(mask ?? "").match(/\d+/g) ?? []).map(Number));
  if (largest < 0) return;
  for (const uuid of [after.primaryNode, ...view.secondaryNodes(after)]) {
    const node = knownNode(view, uuid);
    if (node.offline) continue;
    const { cpuTotal } = await ctx.node(uuid).node.describe({ knownStorage: true }, { signal: ctx.signal });
    if (largest >= cpuTotal)
      throw new OpPrereqError(
        `cpu_mask names processor ${largest}, and node ${node.name} has ${cpuTotal}, numbered from 0`,
        "insufficient_resources",
      );
  }
}

function spindlesOf(view: ConfigView, { drafts }: DiskChangePlan): readonly (number | null)[] {
  return drafts.map(({ uuid, made }) => made?.disk.spindles ?? view.disks.get(uuid)?.spindles ?? null);
}

/** @throws OpPrereqError (insufficient_resources, environment_error) */
async function askForRoom(ctx: PrereqContext, instance: Instance, { made }: DiskChangePlan): Promise<void> {
  const needs = made.flatMap(({ disk }) => newDiskNeeds(disk));
  if (needs.length === 0) return;
  for (const uuid of [instance.primaryNode, ...ctx.config.secondaryNodes(instance)]) {
    const state = await ctx.node(uuid).node.describe({ knownStorage: false }, { signal: ctx.signal });
    checkDiskSpace(ctx.config, knownNode(ctx.config, uuid), state, needs);
  }
}

async function conversionOf(ctx: PrereqContext, instance: Instance, op: SetParamsOp): Promise<Conversion> {
  const { disk_template: template } = op;
  if (template == null) throw new Error("no disk template was asked for");
  const named = op.remote_node_uuid ?? op.remote_node;
  if (named != null && op.iallocator != null)
    throw new OpPrereqError("Name either the node (remote_node) or an allocator (iallocator), not both", "wrong_input");
  const { needsSecondary, storageType } = DISK_TEMPLATE_TRAITS[template];
  const allocated = async () =>
    await askAllocator(ctx, {
      allocator: allocatorChoice(ctx.config, op.iallocator),
      request: { type: "allocate-secondary", name: instance.name },
      storageType,
    });
  return await planConversion(ctx, instance, {
    template,
    secondary: named ?? (needsSecondary && instance.diskTemplate !== template ? await allocated() : ""),
    files: op,
    extParams: op.ext_params,
    ignorePolicy: op.ignore_ipolicy,
  });
}

/** Only what does not run is marked offline, and only what is offline comes back; twice the same is no error. */
async function adminStateAfter(ctx: PrereqContext, instance: Instance, offline: boolean): Promise<"down" | "offline"> {
  const undone = offline ? "can't change to offline" : "can't change to online";
  if (instance.adminState === "up")
    throw new OpPrereqError(
      `Instance ${instance.name} is marked to be up, ${undone} without being down first`,
      "wrong_state",
    );
  await notRunning(ctx, instance, undone);
  return offline ? "offline" : "down";
}
