import { OpExecError, OpPrereqError } from "@gannet/errors";
import type { Instance, Node } from "@gannet/objects";
import { InstanceReplaceDisks, type Op } from "@gannet/opcodes";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { withMaster } from "../../hooks/hook-plan.ts";
import { instanceHooks } from "../../hooks/instance-hooks.ts";
import { changeSecondary } from "./changed-secondary.ts";
import { mirrorNode } from "./create-plan.ts";
import { endsOf, type PlacedDisk, placedDisks } from "./disk-ends.ts";
import { checkDiskSpace, recreationNeeds } from "./disk-space.ts";
import { assembleDisks, releaseDisks } from "./disk-steps.ts";
import { diskNodeLocks, instanceLock } from "./locks.ts";
import { knownInstance, knownNode, onlineDiskNodes, onlinePrimary } from "./lookups.ts";
import { connect } from "./migration-settling.ts";
import { isFaulty, mirrorReports, waitForSync } from "./mirror-steps.ts";
import { groupLocks, otherNode, releaseOtherNodes } from "./other-node.ts";
import { checkPolicy, useOf } from "./policy-check.ts";
import { type OldVolume, removeOldVolumes, replaceVolumes } from "./replaced-volumes.ts";

type ReplaceOp = Op<typeof InstanceReplaceDisks>;

/** What is to be done, once the faulty side is known. */
type Plan =
  | { readonly way: "nothing" }
  | { readonly way: "volumes"; readonly node: Node; readonly other: Node; readonly disks: readonly PlacedDisk[] }
  | { readonly way: "secondary"; readonly before: Node; readonly after: Node; readonly disks: readonly PlacedDisk[] };

export const instanceReplaceDisks = implement(InstanceReplaceDisks, {
  locks(op, view) {
    const instance = view.findInstance(op.instance_name);
    if (instance === undefined) return [instanceLock(view, op.instance_name)];
    if (typeof op.iallocator === "string")
      return [instanceLock(view, op.instance_name), ...diskNodeLocks(view, instance), ...groupLocks(view, instance)];
    const named = view.findNode(remoteNode(op) ?? "");
    const own = [instance.primaryNode, ...view.secondaryNodes(instance)];
    const further = named === undefined || own.includes(named.uuid) ? [] : [named.uuid];
    return [
      instanceLock(view, op.instance_name),
      ...diskNodeLocks(view, instance),
      ...further.flatMap((uuid) => [exclusive.node(uuid), exclusive.nodeRes(uuid)]),
    ];
  },

  async checkPrereq(ctx, op) {
    const instance = knownInstance(ctx.config, op.instance_name);
    if (instance.diskTemplate !== "drbd")
      throw new OpPrereqError(
        `Only mirrored disks can be replaced; those of ${instance.name} are ${instance.diskTemplate}`,
        "wrong_input",
      );
    const primary = onlinePrimary(ctx.config, instance);
    const [uuid = ""] = ctx.config.secondaryNodes(instance);
    const secondary = knownNode(ctx.config, uuid);
    const plan = await planOf(ctx, op, { instance, primary, secondary });
    if (plan.way === "volumes") {
      onlineDiskNodes(ctx.config, instance);
      await checkRoom(ctx, plan.node, plan.disks);
      await checkSource(ctx, instance, plan.other, plan.disks);
    }
    if (plan.way === "secondary") {
      if (!op.ignore_ipolicy) checkPolicy(ctx.config, plan.after, useOf(ctx.config, instance));
      await checkRoom(ctx, plan.after, plan.disks);
      await checkSource(ctx, instance, primary, plan.disks);
    }
    return { instance, primary, secondary, plan };
  },

  hooks(view, op, { instance, primary, secondary, plan }) {
    const after = plan.way === "secondary" ? plan.after : null;
    const nodes = withMaster(view, primary.uuid, after?.uuid);
    return instanceHooks(view, "mirrors-replace", instance, {
      environment: { MODE: op.mode, NEW_SECONDARY: after?.name ?? null, OLD_SECONDARY: secondary.name },
      ...{ pre: nodes, post: nodes },
    });
  },

  async exec(ctx, op, { instance, primary, plan }) {
    if (typeof op.iallocator === "string" && plan.way === "secondary")
      await releaseOtherNodes(ctx, [primary, plan.before, plan.after]);
    if (plan.way === "nothing") {
      ctx.feedback.info("No disks need replacement");
      return null;
    }
    if (!instance.disksActive) await assembleDisks(ctx, ctx.config, instance, { secondaries: "tolerated" });
    const old =
      plan.way === "volumes"
        ? await replaceVolumes(ctx, ctx.config, instance, plan)
        : await changeSecondary(ctx, { instance, primary, before: plan.before, after: plan.after });
    // The disks are what they shall be, and only have to be filled: going back would be of no use.
    await ctx.pointOfNoReturn();
    await finish(ctx, instance, { old, disks: plan.disks, removeEarly: op.early_release });
    return null;
  },
});

async function finish(
  ctx: ExecContext,
  instance: Instance,
  {
    old,
    disks,
    removeEarly,
  }: { readonly old: readonly OldVolume[]; readonly disks: readonly PlacedDisk[]; readonly removeEarly: boolean },
): Promise<void> {
  const view = ctx.config;
  if (removeEarly) await removeOldVolumes(ctx, old);
  const now = placedDisks(view, instance).filter(({ index }) => disks.some((each) => each.index === index));
  await reconnect(ctx, instance, now);
  const kept = removeEarly ? "" : keptText(old);
  let isWhole = false;
  const failure = await failureOf(ctx, async () => {
    isWhole = await waitForSync(ctx, view, instance, { disks: now });
  });
  if (failure !== undefined) throw new OpExecError(`${failure.message}${kept}`, { cause: failure });
  if (!isWhole)
    throw new OpExecError(
      `Disks of instance ${instance.name} are degraded: their new copies are not being filled${kept}`,
    );
  if (!removeEarly) await removeOldVolumes(ctx, old);
  if (!instance.disksActive) await releaseDisks(ctx, view, instance);
}

/** Ends that have given each other up, as they do in a split brain, do not look for each other again by themselves. */
async function reconnect(ctx: ExecContext, instance: Instance, disks: readonly PlacedDisk[]): Promise<void> {
  const view = ctx.config;
  const ends = disks.flatMap((placed) => endsOf(view, instance, placed));
  for (const node of new Set(ends.map((end) => end.node))) {
    const failure = await failureOf(ctx, async () => {
      const reports = await mirrorReports(ctx, view, instance, { node, disks });
      const alone = reports.filter(({ status }) => status?.connection === "standalone").map(({ index }) => index);
      for (const end of ends.filter((each) => each.node === node && alone.includes(each.index)))
        await connect(ctx, end, { dualPrimary: false }, (what) => ctx.step(`reconnect/${what}`));
    });
    if (failure !== undefined) ctx.feedback.warning(`The copies of the disks may stay apart: ${failure.message}`);
  }
}

/** Somebody may need what is on them, if the other copy is lost before the new one is whole. */
function keptText(old: readonly OldVolume[]): string {
  const names = old.map(({ node, device }) => `${device.logicalId.join("/")} on ${node.name}`);
  return `; the old ones are kept, remove them by hand when they are not needed: ${names.join(", ")}`;
}

function remoteNode(op: ReplaceOp): string | null {
  return op.remote_node_uuid ?? op.remote_node ?? null;
}

interface Sides {
  readonly instance: Instance;
  readonly primary: Node;
  readonly secondary: Node;
}

/** @throws OpPrereqError when the parameters do not fit together */
async function planOf(ctx: PrereqContext, op: ReplaceOp, { instance, primary, secondary }: Sides): Promise<Plan> {
  const view = ctx.config;
  checkNewNode(op);
  const all = placedDisks(view, instance);
  const disks = chosenDisks(instance, all, op.disks);
  switch (op.mode) {
    case "replace_on_primary":
      return { way: "volumes", node: primary, other: secondary, disks };
    case "replace_on_secondary":
      return { way: "volumes", node: secondary, other: primary, disks };
    case "replace_new_secondary": {
      if (disks.length < all.length)
        throw new OpPrereqError("All disks go to the new secondary; name none (disks)", "wrong_input");
      const chosen =
        typeof op.iallocator === "string"
          ? (await otherNode(ctx, instance, { from: secondary, allocator: op.iallocator })).name
          : (remoteNode(op) ?? "");
      const after = mirrorNode(view, chosen, { template: instance.diskTemplate, primary });
      if (after.uuid === secondary.uuid)
        throw new OpPrereqError(`Node ${after.name} is the secondary of ${instance.name} already`, "wrong_input");
      return { way: "secondary", before: secondary, after, disks };
    }
    case "replace_auto": {
      if (op.disks.length > 0)
        throw new OpPrereqError("Disks cannot be named where the faulty ones are looked for", "wrong_input");
      return await faultySide(ctx, { instance, primary, secondary }, all);
    }
  }
}

/** @throws OpPrereqError (wrong_input) unless there is one way to the new secondary, where there is to be one */
function checkNewNode(op: ReplaceOp): void {
  const ways = [remoteNode(op), op.iallocator ?? null].filter((way) => way !== null).length;
  if (op.mode !== "replace_new_secondary" && ways > 0)
    throw new OpPrereqError(
      "A new node or an allocator can only be named when the secondary is changed (mode replace_new_secondary)",
      "wrong_input",
    );
  if (op.mode === "replace_new_secondary" && ways !== 1)
    throw new OpPrereqError(
      "Name either the new secondary (remote_node) or an allocator that chooses it (iallocator)",
      "wrong_input",
    );
}

/** @throws OpPrereqError (wrong_input) */
function chosenDisks(
  instance: Instance,
  all: readonly PlacedDisk[],
  indexes: readonly number[],
): readonly PlacedDisk[] {
  const unknown = indexes.find((index) => all[index] === undefined);
  if (unknown !== undefined)
    throw new OpPrereqError(`Instance ${instance.name} has no disk ${unknown}, only ${all.length}`, "wrong_input");
  return indexes.length === 0 ? all : all.filter(({ index }) => indexes.includes(index));
}

/** The side whose volumes are lost. @throws OpPrereqError (wrong_state) when both are */
async function faultySide(
  ctx: PrereqContext,
  { instance, primary, secondary }: Sides,
  all: readonly PlacedDisk[],
): Promise<Plan> {
  const faultyOn = async ({ uuid }: Node) => {
    const reports = await mirrorReports(ctx, ctx.config, instance, { node: uuid });
    const faulty = reports.filter(isFaulty).map(({ index }) => index);
    return all.filter(({ index }) => faulty.includes(index));
  };
  const [onPrimary, onSecondary] = [await faultyOn(primary), await faultyOn(secondary)];
  if (onPrimary.length > 0 && onSecondary.length > 0)
    throw new OpPrereqError(
      `Instance ${instance.name} has faulty disks on both nodes: replace those of one node yourself`,
      "wrong_state",
    );
  if (onPrimary.length > 0) return { way: "volumes", node: primary, other: secondary, disks: onPrimary };
  if (onSecondary.length > 0) return { way: "volumes", node: secondary, other: primary, disks: onSecondary };
  return { way: "nothing" };
}

/** @throws OpPrereqError (insufficient_resources) */
async function checkRoom(ctx: PrereqContext, node: Node, disks: readonly PlacedDisk[]): Promise<void> {
  const state = await ctx.node(node.uuid).node.describe({ knownStorage: false }, { signal: ctx.signal });
  checkDiskSpace(
    ctx.config,
    node,
    state,
    disks.flatMap(({ disk }) => recreationNeeds(disk)),
  );
}

/** The end that the new one is filled from must be whole. @throws OpPrereqError (wrong_state) */
async function checkSource(
  ctx: PrereqContext,
  instance: Instance,
  node: Node,
  disks: readonly PlacedDisk[],
): Promise<void> {
  // Disks that are not up are brought up first, and checked by the wait for their sync.
  if (!instance.disksActive) return;
  for (const { index, status, problem } of await mirrorReports(ctx, ctx.config, instance, { node: node.uuid, disks })) {
    if (status?.localDisk === "uptodate") continue;
    throw new OpPrereqError(
      `disk/${index} on node ${node.name} is not whole (${status?.localDisk ?? problem}): replacing the other copy ` +
        "would lose data",
      "wrong_state",
    );
  }
}
