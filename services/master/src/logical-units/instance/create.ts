import { OpExecError } from "@gannet/errors";
import type { Instance, Node } from "@gannet/objects";
import { InstanceCreate, type Op } from "@gannet/opcodes";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { exclusive, shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { MEANT_TO_RUN } from "./admin-state-steps.ts";
import { adoptedId } from "./adoption.ts";
import { allocationCandidates, allocationLocks, isAllocated } from "./allocation.ts";
import { checkCreation } from "./create-checks.ts";
import { createHooks } from "./create-hooks.ts";
import { type CreatePlan, nodesOf } from "./create-plan.ts";
import { addedInstance, diskHome, type NewIdentity } from "./create-rows.ts";
import type { Creation } from "./creation.ts";
import { createDisks, renameDevice, wipeDisks } from "./disk-creation-steps.ts";
import { type PlacedDisk, placedDisks } from "./disk-ends.ts";
import { addedDisks } from "./disk-rows.ts";
import { reservedNodes } from "./forthcoming.ts";
import { startGuest } from "./guest-steps.ts";
import { exportNodes, importDisks } from "./import-source.ts";
import { withInstance } from "./instance-rows.ts";
import { waitForSync, withoutSync } from "./mirror-steps.ts";
import { registerNonvolatile } from "./nonvolatile-steps.ts";
import { osScriptRequest } from "./os-request.ts";
import { releaseOtherNodes } from "./other-node.ts";
import { receiveDisks } from "./remote-source.ts";
import { installInside } from "./untrusted-install.ts";

type CreateOp = Op<typeof InstanceCreate>;

export const instanceCreate = implement(InstanceCreate, {
  locks(op, view) {
    const named = [op.pnode_uuid ?? op.pnode, op.snode_uuid ?? op.snode].flatMap(
      (name) => view.findNode(name ?? "") ?? [],
    );
    const nodes = op.commit ? reservedNodes(view, op.instance_name) : named;
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

  checkPrereq: checkCreation,

  hooks: (view, op, creation) => createHooks(view, op, creation),

  dryRunResult: (_op, { plan }) => nodesOf(plan).map(({ name }) => name),

  async exec(ctx, op, creation) {
    const { plan, made, start, source } = creation;
    if (isAllocated(op) || source?.kind === "export")
      await releaseOtherNodes(ctx, [...nodesOf(plan), ...(source?.kind === "export" ? [source.node] : [])]);
    if (plan.secondary === null && (op.snode || op.snode_uuid))
      ctx.feedback.warning(`Disk template ${plan.template} keeps no second copy: the secondary node is not used`);
    if (op.forthcoming && made.from === "nothing") {
      ctx.feedback.step(`reserving the resources of instance ${plan.name}`);
      await reserveDisks(ctx, made.plan, made.identity);
      await addToConfiguration(ctx, made.plan, made.identity);
      return nodesOf(plan).map(({ name }) => name);
    }
    const { instance, disks } = await makeInstance(ctx, creation);
    await fillDisks(ctx, op, creation, { instance, disks });
    if (op.start && !start) ctx.feedback.info("No-installation mode selected, disabling startup");
    if (start) {
      ctx.feedback.step("starting instance...");
      await registerNonvolatile(ctx, instance);
      await startGuest(ctx, instance);
    }
    // Of an instance that is made from nothing the undo of its rows takes this along.
    if (made.from === "reservation") await ctx.undo(undoStep("reserve-again", { instance: instance.uuid }));
    const change = { ...(made.from === "reservation" ? made.committed.changes : {}), ...(start ? MEANT_TO_RUN : {}) };
    if (Object.keys(change).length > 0)
      await ctx.commit((view) => withInstance(view, instance.uuid, (row) => ({ ...row, ...change })));
    return nodesOf(plan).map(({ name }) => name);
  },
});

const nodeLocks = (uuid: Node["uuid"]) => [exclusive.node(uuid), exclusive.nodeRes(uuid)];

function isAdoption({ made }: Creation): boolean {
  return made.from === "nothing" && made.plan.disks.some(({ adopt }) => adopt !== null);
}

/** The instance with its disks on their nodes, in the configuration unless it is there since it was reserved. */
async function makeInstance(ctx: ExecContext, creation: Creation): Promise<MadeInstance> {
  const { plan, made, draft } = creation;
  const owner = { name: plan.name, primaryNode: plan.node.uuid };
  if (made.from === "reservation") {
    const disks = placedDisks(ctx.config, draft);
    ctx.feedback.step("creating instance disks...");
    await createDisks(ctx, ctx.config, owner, disks);
    return { instance: draft, disks };
  }
  const disks = await reserveDisks(ctx, made.plan, made.identity);
  if (isAdoption(creation)) {
    ctx.feedback.step("adopting existing disks...");
    for (const placed of disks) {
      const asked = made.plan.disks[placed.index];
      const from = asked === undefined ? undefined : adoptedId(asked);
      if (from !== undefined) await renameDevice(ctx, ctx.config, owner, placed, { from });
    }
  } else {
    ctx.feedback.step("creating instance disks...");
    await createDisks(ctx, ctx.config, owner, disks);
  }
  ctx.feedback.step(`adding instance ${plan.name} to cluster config`);
  return { instance: await addToConfiguration(ctx, made.plan, made.identity), disks };
}

/** Wait for its mirrors, and put onto its disks what is to be on them. */
async function fillDisks(
  ctx: ExecContext,
  op: CreateOp,
  creation: Creation,
  { instance, disks }: MadeInstance,
): Promise<void> {
  const { plan, osParameters, source } = creation;
  // Others may use the nodes from here on; the new instance's own lock stays.
  const nodes = nodesOf(plan).map(({ uuid }) => uuid);
  const wipe = ctx.config.cluster.preallocWipeDisks && !isAdoption(creation);
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
  if (source === null && !plan.install) return;
  if (source === null) ctx.feedback.step("running the instance OS create scripts...");
  const transfer = { parameters: osParameters, compress: op.compress };
  const install = async () => {
    if (source === null) return await installOs(ctx, instance, creation, op.debug_level ?? 0);
    if (source.kind === "export") await importDisks(ctx, instance, disks, source, transfer);
    else await receiveDisks(ctx, instance, disks, source, transfer);
    await renameInside(ctx, instance, nameAtSource(source), osParameters);
  };
  if (op.wait_for_sync) await install();
  else await withoutSync(ctx, ctx.config, instance, disks, { name: "install", run: install });
}

interface MadeInstance {
  readonly instance: Instance;
  readonly disks: readonly PlacedDisk[];
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
  { osParameters, untrusted }: Creation,
  debugLevel: number,
): Promise<void> {
  const request = osScriptRequest(ctx.config, instance, osParameters, { debugLevel });
  if (untrusted !== null) await installInside(ctx, instance, request, untrusted);
  else
    await ctx.node(instance.primaryNode).os.create({ step: ctx.step("os-create"), ...request }, { signal: ctx.signal });
}

/** What the instance was called where its contents come from; undefined where nobody knows. */
function nameAtSource(source: NonNullable<Creation["source"]>): string | undefined {
  return source.kind === "export" ? source.sections.instance?.name : source.name;
}

/** Tell the guest its new name, if it has another one now. */
async function renameInside(
  ctx: ExecContext,
  instance: Instance,
  oldName: string | undefined,
  parameters: Readonly<Record<string, string>>,
): Promise<void> {
  if (instance.os === "" || oldName === undefined || oldName === instance.name) return;
  ctx.feedback.step("running the instance OS rename script...");
  const rename = { ...osScriptRequest(ctx.config, instance, parameters), step: ctx.step("os-rename") };
  const failure = await failureOf(ctx, () =>
    ctx.node(instance.primaryNode).os.rename({ instance: rename, oldName }, { signal: ctx.signal }),
  );
  if (failure !== undefined) ctx.feedback.warning(`The OS rename script failed: ${failure.message}`);
}
