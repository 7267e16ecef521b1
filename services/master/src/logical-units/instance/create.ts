import { OpPrereqError } from "@gannet/errors";
import {
  DISK_TEMPLATE_TRAITS,
  filledBeparams,
  filledOsparams,
  filledPrivateOsparams,
  type Instance,
  type Parameters,
} from "@gannet/objects";
import { InstanceCreate } from "@gannet/opcodes";
import { encodeParameters, type NodeState } from "@gannet/rpc";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { exclusive, shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { up } from "./admin-state-steps.ts";
import { type CreatePlan, planCreate } from "./create-plan.ts";
import { createRows, diskRows, instanceRow, type NewIdentity, newIdentity } from "./create-rows.ts";
import { startGuest } from "./guest-steps.ts";
import { checkMemory } from "./lookups.ts";
import { blockDeviceMessage, instanceMessage } from "./messages.ts";
import { checkName } from "./name-check.ts";

export const instanceCreate = implement(InstanceCreate, {
  locks(op, view) {
    const node = view.findNode(op.pnode_uuid ?? op.pnode ?? "");
    return [
      exclusive.instance(op.instance_name),
      ...(node ? [shared.nodegroup(node.group), exclusive.node(node.uuid), exclusive.nodeRes(node.uuid)] : []),
    ];
  },

  async checkPrereq(ctx, op) {
    const plan = planCreate(op, ctx.config);
    await checkName(plan.name, { nameCheck: op.name_check, ipCheck: op.ip_check });
    // Nothing is on the disks of an instance that is not installed: it is not started (as in Ganeti).
    const start = op.start && op.no_install !== true;
    const identity = newIdentity(plan, ctx.now());
    const osParameters = texts({
      ...filledOsparams(ctx.config.cluster, plan),
      ...filledPrivateOsparams(ctx.config.cluster, plan),
      ...op.osparams_secret,
    });
    // The node's locks are held meanwhile: all that it is asked, it is asked at once.
    await Promise.all([
      enoughResources(ctx, plan, { start }),
      validateOs(ctx, plan, { osParameters, forceVariant: op.force_variant }),
      validateGuest(ctx, plan, identity),
    ]);
    return { plan, identity, osParameters, start };
  },

  dryRunResult: (_op, { plan }) => [plan.node.name],

  async exec(ctx, op, { plan, identity, osParameters, start }) {
    ctx.feedback.step("creating instance disks...");
    await createDisks(ctx, plan, identity);
    ctx.feedback.step(`adding instance ${plan.name} to cluster config`);
    const instance = await addToConfiguration(ctx, plan, identity);
    // Others may use the node from here on; the new instance's own lock stays.
    await ctx.releaseLocks([exclusive.node(plan.node.uuid), exclusive.nodeRes(plan.node.uuid)]);
    if (plan.install) {
      ctx.feedback.step("running the instance OS create scripts...");
      await installOs(ctx, instance, osParameters, op.debug_level ?? 0);
    }
    if (op.start && !start) ctx.feedback.info("No-installation mode selected, disabling startup");
    if (start) {
      ctx.feedback.step("starting instance...");
      await startGuest(ctx, instance);
      // No undo of its own: that of the rows takes it along.
      await ctx.commit((view) => up(view, instance.uuid));
    }
    return [plan.node.name];
  },
});

/** @throws OpPrereqError (insufficient_resources) when the node has not enough memory or space for it now */
async function enoughResources(ctx: PrereqContext, plan: CreatePlan, { start }: { readonly start: boolean }) {
  if (!start && plan.disks.length === 0) return;
  const state = await ctx.node(plan.node.uuid).node.describe({}, { signal: ctx.signal });
  const memoryMib = Number(plan.filledBeparams.minmem);
  if (start) checkMemory(plan.node, state, { instanceName: plan.name, memoryMib, reason: "creating" });
  if (plan.disks.length > 0) checkDiskSpace(plan, state);
}

function checkDiskSpace(plan: CreatePlan, { storage }: NodeState): void {
  const space = storage.find((unit) => unit.type === DISK_TEMPLATE_TRAITS[plan.template].storageType);
  const neededMib = plan.disks.reduce((sum, disk) => sum + disk.sizeMib, 0);
  if (space === undefined)
    throw new OpPrereqError(
      `Node ${plan.node.name} has no storage for disk template ${plan.template}`,
      "environment_error",
    );
  if (space.freeMib >= neededMib) return;
  throw new OpPrereqError(
    `Not enough disk space on node ${plan.node.name} (${space.name}): needed ${neededMib} MiB, available ${space.freeMib} MiB`,
    "insufficient_resources",
  );
}

/** The node has the OS definition and takes its variant and parameters. */
async function validateOs(
  ctx: PrereqContext,
  plan: CreatePlan,
  request: { readonly osParameters: Readonly<Record<string, string>>; readonly forceVariant: boolean },
): Promise<void> {
  if (plan.os === "") return;
  const { osParameters: parameters, forceVariant } = request;
  await ctx
    .node(plan.node.uuid)
    .os.validate({ os: plan.os, forceVariant, parameters, runVerifyScript: true }, { signal: ctx.signal });
}

/** The node has the files and links that the guest's parameters name. */
async function validateGuest(ctx: PrereqContext, plan: CreatePlan, identity: NewIdentity): Promise<void> {
  const draft = instanceRow(plan, { ...identity, disks: [] }, ctx.config, null);
  const instance = instanceMessage(ctx.config, draft);
  await ctx.node(plan.node.uuid).instances.validate({ instance }, { signal: ctx.signal });
}

async function createDisks(ctx: ExecContext, plan: CreatePlan, identity: NewIdentity): Promise<void> {
  const owner = instanceRow(plan, identity, ctx.config, null);
  for (const [index, disk] of diskRows(plan, identity).entries()) {
    ctx.feedback.step(`disk ${index}, size ${disk.sizeMib}M`);
    const device = blockDeviceMessage(ctx.config, owner, disk, index);
    await ctx.undo(undoStep("remove-block-device", { node: plan.node.uuid, device }));
    await ctx
      .node(plan.node.uuid)
      .blockDevices.create({ step: ctx.step(`create-disk/${index}`), device }, { signal: ctx.signal });
  }
}

async function addToConfiguration(ctx: ExecContext, plan: CreatePlan, identity: NewIdentity): Promise<Instance> {
  await ctx.undo(undoStep("remove-instance-rows", { instance: identity.instance }));
  const view = await ctx.commit((now) => createRows(plan, identity, now));
  const instance = view.instances.get(identity.instance);
  if (instance === undefined) throw new Error(`the row of ${plan.name} is missing after its commit`);
  return instance;
}

async function installOs(
  ctx: ExecContext,
  instance: Instance,
  parameters: Readonly<Record<string, string>>,
  debugLevel: number,
): Promise<void> {
  const view = ctx.config;
  await ctx.node(instance.primaryNode).os.create(
    {
      step: ctx.step("os-create"),
      instance: instanceMessage(view, instance),
      os: instance.os,
      parameters,
      reinstall: false,
      debugLevel,
      beparams: encodeParameters(filledBeparams(view.cluster, instance)),
      ctime: instance.ctime,
      mtime: instance.mtime,
      primaryNodeUuid: instance.primaryNode,
      secondaryNodeUuids: [],
    },
    { signal: ctx.signal },
  );
}

/** OS parameters reach scripts as text, in their environment. */
function texts(parameters: Parameters): Record<string, string> {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, value]) => [name, value === null ? "" : String(value)]),
  );
}
