import { OpExecError, OpPrereqError } from "@gannet/errors";
import { type ConfigView, DISK_TEMPLATE_TRAITS, type Instance, type Node } from "@gannet/objects";
import { InstanceMove } from "@gannet/opcodes";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { withMaster } from "../../hooks/hook-plan.ts";
import { instanceHooks } from "../../hooks/instance-hooks.ts";
import { createDisks } from "./disk-creation-steps.ts";
import { placedDisks } from "./disk-ends.ts";
import { reshapedDisks, shapeOf } from "./disk-rows.ts";
import { checkDiskSpace, recreationNeeds } from "./disk-space.ts";
import { assembleDisks, prepareDisks, removeDisks, shutdownDisks } from "./disk-steps.ts";
import { checkDisksFit } from "./exclusive-storage.ts";
import { startGuest, stopGuest } from "./guest-steps.ts";
import { withInstance } from "./instance-rows.ts";
import { diskNodeLocks, instanceLock } from "./locks.ts";
import { knownInstance, knownNode } from "./lookups.ts";
import { blockDeviceMessage } from "./messages.ts";
import { checkConnected } from "./nic-addresses.ts";
import { copyNonvolatile, dropNonvolatile } from "./nonvolatile-steps.ts";
import { checkTarget, type Relocation } from "./relocation.ts";
import { copyContents } from "./transfer-steps.ts";

/** Copies the disks of an instance to another node; until all of them are there it stays where it is. */
export const instanceMove = implement(InstanceMove, {
  locks(op, view) {
    const instance = view.findInstance(op.instance_name);
    const target = view.findNode(op.target_node_uuid ?? op.target_node);
    const own = instance === undefined ? [] : diskNodeLocks(view, instance);
    const isOwn = own.some(({ name }) => name === target?.uuid);
    return [
      instanceLock(view, op.instance_name),
      ...own,
      ...(target === undefined || isOwn ? [] : [exclusive.node(target.uuid), exclusive.nodeRes(target.uuid)]),
    ];
  },

  async checkPrereq(ctx, op) {
    const view = ctx.config;
    const instance = knownInstance(view, op.instance_name);
    const source = knownNode(view, instance.primaryNode);
    const target = knownNode(view, op.target_node_uuid ?? op.target_node);
    if (!DISK_TEMPLATE_TRAITS[instance.diskTemplate].copyable)
      throw new OpPrereqError(
        `Disks of template ${instance.diskTemplate} are not moved by copying: migrate ${instance.name} or fail it over`,
        "wrong_state",
      );
    if (target.uuid === source.uuid)
      throw new OpPrereqError(`Instance ${instance.name} is already on node ${target.name}`, "wrong_state");
    if (source.offline)
      throw new OpPrereqError(
        `The disks of ${instance.name} cannot be copied: its node ${source.name} is marked offline`,
        "wrong_state",
      );
    checkConnected(view, instance, target);
    checkDisksFit(view, { template: instance.diskTemplate, disks: view.disksOf(instance) }, [target]);
    const relocation: Relocation = { instance, source, target };
    const willRun = instance.adminState === "up";
    await checkTarget(ctx, relocation, { ignorePolicy: op.ignore_ipolicy, willRun });
    const state = await ctx.node(target.uuid).node.describe({ knownStorage: false }, { signal: ctx.signal });
    checkDiskSpace(view, target, state, view.disksOf(instance).flatMap(recreationNeeds));
    return relocation;
  },

  hooks(view, op, { instance, source, target }) {
    const nodes = withMaster(view, source.uuid, target.uuid);
    const environment = { TARGET_NODE: target.name, SHUTDOWN_TIMEOUT: op.shutdown_timeout };
    return instanceHooks(view, "instance-move", instance, { environment, pre: nodes, post: nodes });
  },

  async exec(ctx, op, { instance, source, target }) {
    const before = ctx.config;
    ctx.feedback.step(`Shutting down instance ${instance.name} on source node ${source.name}`);
    await ctx.undo(undoStep("start-instance", { instance: instance.uuid }));
    await stop(ctx, instance, source, {
      timeoutS: op.shutdown_timeout,
      failure: op.ignore_consistency ? "told" : "fatal",
    });
    const disks = placedDisks(before, instance);
    await createDisks(ctx, before, { name: instance.name, primaryNode: target.uuid }, disks);
    await assembleDisks(ctx, before, instance);
    for (const { index, disk } of disks) {
      ctx.feedback.step(`copying disk/${index} from ${source.name} to ${target.name}`);
      await copyContents(ctx, {
        instanceName: instance.name,
        component: `disk${index}`,
        compress: op.compress,
        from: end(before, instance, source, { index, disk }),
        to: end(before, instance, target, { index, disk }),
      });
    }
    await copyNonvolatile(ctx, instance, source.uuid, target.uuid);
    const moved = await takeOver(ctx, before, instance, target);

    ctx.feedback.step(`Removing the disks on the original node ${source.name}`);
    const failure =
      (await failureOf(ctx, () => shutdownDisks(ctx, before, instance))) ??
      (await failureOf(ctx, () => removeDisks(ctx, before, instance, disks)));
    await dropNonvolatile(ctx, instance, [source.uuid]);
    if (failure !== undefined) ctx.feedback.warning(`The old disks are left behind: ${failure.message}`);
    if (instance.adminState === "up") {
      ctx.feedback.step(`Starting instance ${instance.name} on node ${target.name}`);
      // The copying made its disks usable there.
      await prepareDisks(ctx, ctx.config, { ...moved, disksActive: false });
      await startGuest(ctx, moved);
    } else if (!instance.disksActive) await letGo(ctx, moved);
    return null;
  },
});

/** @param failure - whether a guest that does not stop ends the operation */
async function stop(
  ctx: ExecContext,
  instance: Instance,
  source: Node,
  { timeoutS, failure: consequence }: { readonly timeoutS: number; readonly failure: "fatal" | "told" },
): Promise<void> {
  const failure = await failureOf(ctx, () => stopGuest(ctx, instance, timeoutS));
  if (failure === undefined) return;
  const text = `Could not shut down instance ${instance.name} on node ${source.name}: ${failure.message}`;
  if (consequence === "fatal") throw new OpExecError(text, { cause: failure });
  ctx.feedback.warning(`${text}; going on. Make sure that it is down`);
}

function end(
  view: ConfigView,
  instance: Instance,
  node: Node,
  { index, disk }: ReturnType<typeof placedDisks>[number],
) {
  const owner = { name: instance.name, primaryNode: node.uuid };
  const device = blockDeviceMessage(view, owner, disk, index, node.uuid);
  return { node, end: { end: { $case: "disk" as const, value: { device } } } };
}

/** From here on the instance is on the target. */
async function takeOver(ctx: ExecContext, before: ConfigView, instance: Instance, target: Node): Promise<Instance> {
  const shapes = before.disksOf(instance).map(shapeOf);
  const { uuid, primaryNode } = instance;
  await ctx.undo(undoStep("restore-disks", { instance: uuid, primaryNode, shapes }));
  const view = await ctx.commit((now) => [
    ...reshapedDisks(
      now,
      shapes.map((shape) => ({ ...shape, nodes: [target.uuid] })),
    ),
    ...withInstance(now, uuid, (row) => ({ ...row, primaryNode: target.uuid })),
  ]);
  await ctx.pointOfNoReturn();
  return view.instances.get(uuid) ?? { ...instance, primaryNode: target.uuid };
}

async function letGo(ctx: ExecContext, instance: Instance): Promise<void> {
  const failure = await failureOf(ctx, () => shutdownDisks(ctx, ctx.config, instance));
  if (failure !== undefined) ctx.feedback.warning(`The disks are left active: ${failure.message}`);
}
