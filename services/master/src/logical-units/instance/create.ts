import { OpExecError } from "@gannet/errors";
import type { Instance, Node } from "@gannet/objects";
import { InstanceCreate } from "@gannet/opcodes";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { exclusive, shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { up } from "./admin-state-steps.ts";
import { adoptedId, withAdoptedSizes } from "./adoption.ts";
import { allocationCandidates, allocationLocks, isAllocated, withAllocatedNodes } from "./allocation.ts";
import { createHooks } from "./create-hooks.ts";
import { type CreatePlan, lackingForCreate, planCreate, plannedUse } from "./create-plan.ts";
import { addedInstance, diskHome, drawnNics, instanceRow, type NewIdentity, newIdentity } from "./create-rows.ts";
import { createDisks, renameDevice, wipeDisks } from "./disk-creation-steps.ts";
import type { PlacedDisk } from "./disk-ends.ts";
import { addedDisks } from "./disk-rows.ts";
import { checkDiskSpace, newDiskNeeds } from "./disk-space.ts";
import { startGuest } from "./guest-steps.ts";
import { exportNodes, findExport, importDisks, withDescription } from "./import-source.ts";
import { checkMemory } from "./lookups.ts";
import { instanceMessage } from "./messages.ts";
import { waitForSync, withoutSync } from "./mirror-steps.ts";
import { checkName } from "./name-check.ts";
import { osParameterTexts, osScriptRequest } from "./os-request.ts";
import { releaseOtherNodes } from "./other-node.ts";
import { checkPolicy } from "./policy-check.ts";

export const instanceCreate = implement(InstanceCreate, {
  unavailable: lackingForCreate,

  locks(op, view) {
    const nodes = [op.pnode_uuid ?? op.pnode, op.snode_uuid ?? op.snode].flatMap(
      (name) => view.findNode(name ?? "") ?? [],
    );
    const sources = op.mode === "import" ? exportNodes(view, op) : [];
    const allocated = isAllocated(op) ? allocationLocks(op, view) : [];
    return [
      exclusive.instance(op.instance_name),
      ...allocated,
      ...[...new Set(nodes.map((node) => node.group))].map(shared.nodegroup),
      ...[...new Set(nodes.map((node) => node.uuid))].flatMap(nodeLocks),
      ...sources
        .filter(({ uuid }) => nodes.every((node) => node.uuid !== uuid))
        .map(({ uuid }) => exclusive.node(uuid)),
    ];
  },

  candidates: allocationCandidates,

  async checkPrereq(ctx, given) {
    const source = given.mode === "import" ? await findExport(ctx, given) : null;
    const asked = source === null ? given : withDescription(given, source.sections);
    const op = await withAllocatedNodes(ctx, asked);
    const planned = planCreate(op, ctx.config);
    const plan = { ...planned, disks: await withAdoptedSizes(ctx, planned.node, planned.disks) };
    if (!op.ignore_ipolicy) checkPolicy(ctx.config, plan.node, plannedUse(plan));
    await checkName(plan.name, { nameCheck: op.name_check, ipCheck: op.ip_check });
    // Nothing is on the disks of an instance that is not installed: it is not started (as in Ganeti).
    const start = op.start && op.no_install !== true;
    const identity = newIdentity(plan, ctx.now());
    const osParameters = osParameterTexts(ctx.config, plan, op.osparams_secret ?? {});
    // The nodes' locks are held meanwhile: all that they are asked, they are asked at once.
    await Promise.all([
      ...nodesOf(plan).map((node) => enoughResources(ctx, plan, node, { start })),
      ...nodesOf(plan).map((node) => validateGuest(ctx, plan, node, identity)),
      validateOs(ctx, plan, { osParameters, forceVariant: op.force_variant }),
    ]);
    return { plan, identity, osParameters, start, source };
  },

  hooks: (view, op, prereq) => createHooks(view, op, prereq),

  dryRunResult: (_op, { plan }) => nodesOf(plan).map(({ name }) => name),

  async exec(ctx, op, { plan, identity, osParameters, start, source }) {
    if (isAllocated(op) || source !== null)
      await releaseOtherNodes(ctx, [...nodesOf(plan), ...(source === null ? [] : [source.node])]);
    if (plan.secondary === null && (op.snode || op.snode_uuid))
      ctx.feedback.warning(`Disk template ${plan.template} keeps no second copy: the secondary node is not used`);
    const disks = await reserveDisks(ctx, plan, identity);
    await makeDisks(ctx, plan, disks);
    ctx.feedback.step(`adding instance ${plan.name} to cluster config`);
    const instance = await addToConfiguration(ctx, plan, identity);
    // Others may use the nodes from here on; the new instance's own lock stays.
    const nodes = nodesOf(plan).map(({ uuid }) => uuid);
    const wipe = ctx.config.cluster.preallocWipeDisks && !isAdoption(plan);
    const disksAreBusy = wipe || plan.secondary !== null;
    await ctx.releaseLocks(disksAreBusy ? nodes.map(exclusive.node) : nodes.flatMap(nodeLocks));
    if (wipe) {
      ctx.feedback.step("wiping instance disks...");
      const whole = disks.map((disk) => ({ ...disk, fromMib: 0 }));
      await wipeDisks(ctx, ctx.config, instance, whole);
    }
    const until = op.wait_for_sync ? "in-sync" : "connected";
    if (!(await waitForSync(ctx, ctx.config, instance, { disks, until })))
      throw new OpExecError(`The second copies of the disks of ${plan.name} are not being made; see the nodes' logs`);
    if (disksAreBusy) await ctx.releaseLocks(nodes.map(exclusive.nodeRes));
    if (source !== null || plan.install) {
      if (source === null) ctx.feedback.step("running the instance OS create scripts...");
      const install = () =>
        source === null
          ? installOs(ctx, instance, osParameters, op.debug_level ?? 0)
          : importDisks(ctx, instance, disks, source, { parameters: osParameters, compress: op.compress });
      if (op.wait_for_sync) await install();
      else await withoutSync(ctx, ctx.config, instance, disks, { name: "install", run: install });
    }
    if (op.start && !start) ctx.feedback.info("No-installation mode selected, disabling startup");
    if (start) {
      ctx.feedback.step("starting instance...");
      await startGuest(ctx, instance);
      // No undo of its own: that of the rows takes it along.
      await ctx.commit((view) => up(view, instance.uuid));
    }
    return nodesOf(plan).map(({ name }) => name);
  },
});

const nodeLocks = (uuid: Node["uuid"]) => [exclusive.node(uuid), exclusive.nodeRes(uuid)];

/** The nodes that the instance will be on, the primary first. */
function nodesOf({ node, secondary }: CreatePlan): readonly Node[] {
  return secondary === null ? [node] : [node, secondary];
}

function isAdoption(plan: CreatePlan): boolean {
  return plan.disks.some(({ adopt }) => adopt !== null);
}

/** @throws OpPrereqError (insufficient_resources) when the node has not enough memory or space for it now */
async function enoughResources(
  ctx: PrereqContext,
  plan: CreatePlan,
  node: Node,
  { start }: { readonly start: boolean },
): Promise<void> {
  const needs = plan.disks.filter(({ adopt }) => adopt === null).flatMap(newDiskNeeds);
  const needsMemory = start && node.uuid === plan.node.uuid;
  if (!needsMemory && needs.length === 0) return;
  const state = await ctx.node(node.uuid).node.describe({}, { signal: ctx.signal });
  const memoryMib = Number(plan.filledBeparams.minmem);
  if (needsMemory) checkMemory(node, state, { instanceName: plan.name, memoryMib, reason: "creating" });
  checkDiskSpace(node, state, needs);
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

/** A node has the files that the guest's parameters name; that on which it starts, the NICs' links too. */
async function validateGuest(ctx: PrereqContext, plan: CreatePlan, node: Node, identity: NewIdentity): Promise<void> {
  const draft = instanceRow(plan, { ...identity, disks: [] }, drawnNics(plan, ctx.config).nics, null);
  const instance = instanceMessage(ctx.config, node.uuid === plan.node.uuid ? draft : { ...draft, nics: [] });
  await ctx.node(node.uuid).instances.validate({ instance }, { signal: ctx.signal });
}

/** Put the disks into the configuration, where their ports and minors are nobody else's from then on. */
async function reserveDisks(ctx: ExecContext, plan: CreatePlan, identity: NewIdentity): Promise<readonly PlacedDisk[]> {
  if (plan.disks.length === 0) return [];
  const uuids = identity.disks.map(({ uuid }) => uuid);
  await ctx.undo(undoStep("remove-disk-rows", { disks: uuids }));
  const home = diskHome(plan, identity);
  const view = await ctx.commit((now) => addedDisks(now, home, plan.disks, identity.disks));
  return uuids.map((uuid, index) => {
    const disk = view.disks.get(uuid);
    if (disk === undefined) throw new Error(`the row of disk ${index} of ${plan.name} is missing after its commit`);
    return { index, disk };
  });
}

async function makeDisks(ctx: ExecContext, plan: CreatePlan, disks: readonly PlacedDisk[]): Promise<void> {
  const owner = { name: plan.name, primaryNode: plan.node.uuid };
  if (!isAdoption(plan)) {
    ctx.feedback.step("creating instance disks...");
    await createDisks(ctx, ctx.config, owner, disks);
    return;
  }
  ctx.feedback.step("adopting existing disks...");
  for (const placed of disks) {
    const asked = plan.disks[placed.index];
    const from = asked === undefined ? undefined : adoptedId(asked);
    if (from !== undefined) await renameDevice(ctx, ctx.config, owner, placed, { from });
  }
}

async function addToConfiguration(ctx: ExecContext, plan: CreatePlan, identity: NewIdentity): Promise<Instance> {
  await ctx.undo(undoStep("remove-instance-rows", { instance: identity.instance }));
  const view = await ctx.commit((now) => addedInstance(plan, identity, now));
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
  const request = osScriptRequest(ctx.config, instance, parameters, { debugLevel });
  await ctx.node(instance.primaryNode).os.create({ step: ctx.step("os-create"), ...request }, { signal: ctx.signal });
}
