/** What a creation needs, asked of the configuration and of the nodes that it will be on. */
import type { Instance, Node } from "@gannet/objects";
import type { InstanceCreate, Op } from "@gannet/opcodes";
import type { PrereqContext } from "../../executor/context.ts";
import { withAdoptedSizes } from "./adoption.ts";
import { withAllocatedNodes } from "./allocation.ts";
import { withCommunicationNic } from "./communication-nic.ts";
import { nodesOf, planCreate, plannedUse } from "./create-plan.ts";
import { drawnNics, instanceRow, newIdentity } from "./create-rows.ts";
import type { Creation } from "./creation.ts";
import { checkDiskSpace, newDiskNeeds, recreationNeeds, type SpaceNeed } from "./disk-space.ts";
import { checkReservation, planCommit } from "./forthcoming.ts";
import { findExport, withDescription } from "./import-source.ts";
import { checkMemory } from "./lookups.ts";
import { instanceMessage } from "./messages.ts";
import { checkName } from "./name-check.ts";
import { osParameterTexts } from "./os-request.ts";
import { checkPolicy, useOf } from "./policy-check.ts";
import { remoteSource } from "./remote-source.ts";
import { checkCompression } from "./transfer-steps.ts";
import { planUntrusted, type UntrustedInstall } from "./untrusted-install.ts";

type CreateOp = Op<typeof InstanceCreate>;
type CheckedCreation = Omit<Creation, "untrusted">;

/** @throws OpPrereqError or another of the taxonomy, naming what does not fit */
export async function checkCreation(ctx: PrereqContext, op: CreateOp): Promise<Creation> {
  checkReservation(op);
  return op.commit ? await checkCommit(ctx, op) : await checkNew(ctx, op);
}

async function checkNew(ctx: PrereqContext, given: CreateOp): Promise<Creation> {
  checkCompression(ctx.config, given.compress);
  const source = await sourceOf(ctx, given);
  const asked = source?.kind === "export" ? withDescription(given, source.sections) : given;
  const op = await withAllocatedNodes(ctx, withCommunicationNic(ctx.config, asked));
  const planned = planCreate(op, ctx.config);
  const plan = { ...planned, disks: await withAdoptedSizes(ctx, planned.node, planned.disks) };
  if (!op.ignore_ipolicy) checkPolicy(ctx.config, plan.node, plannedUse(ctx.config, plan));
  await checkName(plan.name, { nameCheck: op.name_check, ipCheck: op.ip_check });
  const identity = newIdentity(plan, ctx.now());
  const creation = {
    plan,
    made: { from: "nothing", plan, identity } as const,
    draft: instanceRow(plan, { ...identity, disks: [] }, drawnNics(plan, ctx.config).nics, null),
    osParameters: osParameterTexts(ctx.config, plan, op.osparams_secret ?? {}),
    start: isStarted(op),
    source,
  };
  const needs = plan.disks.filter(({ adopt }) => adopt === null).flatMap(newDiskNeeds);
  const installed = { ...creation.draft, disks: identity.disks.map(({ uuid }) => uuid) };
  const untrusted = await planInstall(ctx, op, creation, { installed, needs });
  await askNodes(ctx, op, creation, needs);
  return { ...creation, untrusted };
}

async function sourceOf(ctx: PrereqContext, op: CreateOp): Promise<Creation["source"]> {
  switch (op.mode) {
    case "create":
      return null;
    case "import":
      return await findExport(ctx, op);
    case "remote-import":
      return await remoteSource(ctx, op);
  }
}

async function checkCommit(ctx: PrereqContext, op: CreateOp): Promise<Creation> {
  const view = ctx.config;
  const committed = planCommit(op, view);
  const { plan, draft } = committed;
  if (!op.ignore_ipolicy) checkPolicy(view, plan.node, useOf(view, draft));
  await checkName(plan.name, { nameCheck: op.name_check, ipCheck: op.ip_check });
  const creation = {
    plan,
    made: { from: "reservation", committed } as const,
    draft,
    osParameters: osParameterTexts(view, plan, op.osparams_secret ?? {}),
    start: isStarted(op),
    source: null,
  };
  const needs = view.disksOf(draft).flatMap(recreationNeeds);
  const untrusted = await planInstall(ctx, op, creation, { installed: draft, needs });
  await askNodes(ctx, op, creation, needs);
  return { ...creation, untrusted };
}

/** Null where nothing is to be installed by a machine. */
async function planInstall(
  ctx: PrereqContext,
  op: CreateOp,
  { plan, source }: CheckedCreation,
  { installed, needs }: { readonly installed: Instance; readonly needs: readonly SpaceNeed[] },
): Promise<UntrustedInstall | null> {
  if (source !== null || !plan.install) return null;
  const { helper_startup_timeout: startTimeoutS, helper_shutdown_timeout: timeoutS } = op;
  return await planUntrusted(ctx, installed, { startTimeoutS, timeoutS, besides: needs });
}

/** Nothing is on the disks of an instance that is not installed: it is not started (as in Ganeti). */
function isStarted(op: CreateOp): boolean {
  return op.start && op.no_install !== true && !op.forthcoming;
}

/** The nodes' locks are held meanwhile: all that they are asked, they are asked at once. */
async function askNodes(
  ctx: PrereqContext,
  op: CreateOp,
  creation: CheckedCreation,
  needs: readonly SpaceNeed[],
): Promise<void> {
  const { plan } = creation;
  const nodes = nodesOf(plan);
  await Promise.all([
    ...nodes.map((node) => enoughResources(ctx, creation, node, needs)),
    ...nodes.map((node) => validateGuest(ctx, creation, node)),
    validateOs(ctx, creation, { forceVariant: op.force_variant }),
  ]);
}

/** @throws OpPrereqError (insufficient_resources) when the node has not enough memory or space for it now */
async function enoughResources(
  ctx: PrereqContext,
  { plan, draft, start }: CheckedCreation,
  node: Node,
  needs: readonly SpaceNeed[],
): Promise<void> {
  const needsMemory = start && node.uuid === plan.node.uuid;
  if (!needsMemory && needs.length === 0) return;
  const knownStorage = needs.length === 0;
  const state = await ctx.node(node.uuid).node.describe({ knownStorage }, { signal: ctx.signal });
  const memoryMib = Number(plan.filledBeparams.minmem);
  if (needsMemory) checkMemory(node, state, { instanceName: plan.name, memoryMib, reason: "creating" });
  checkDiskSpace(ctx.config, node, state, needs, { except: draft.uuid });
}

/** The node has the OS definition and takes its variant and parameters. */
async function validateOs(
  ctx: PrereqContext,
  { plan, osParameters: parameters }: CheckedCreation,
  { forceVariant }: { readonly forceVariant: boolean },
): Promise<void> {
  if (plan.os === "") return;
  await ctx
    .node(plan.node.uuid)
    .os.validate({ os: plan.os, forceVariant, parameters, runVerifyScript: true }, { signal: ctx.signal });
}

/** A node has the files that the guest's parameters name; that on which it starts, the NICs' links too. */
async function validateGuest(ctx: PrereqContext, { plan, draft }: CheckedCreation, node: Node): Promise<void> {
  const withoutDisks = { ...draft, disks: [] };
  const instance = instanceMessage(
    ctx.config,
    node.uuid === plan.node.uuid ? withoutDisks : { ...withoutDisks, nics: [] },
  );
  await ctx.node(node.uuid).instances.validate({ instance }, { signal: ctx.signal });
}
