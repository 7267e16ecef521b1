import { OpPrereqError } from "@gannet/errors";
import {
  type ConfigView,
  DISK_TEMPLATE_TRAITS,
  type Disk,
  drbdMinorsInUse,
  type Instance,
  type Node,
  type NodeUuid,
} from "@gannet/objects";
import { InstanceRecreateDisks, type Op } from "@gannet/opcodes";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { instanceHooks } from "../../hooks/instance-hooks.ts";
import { mirrorNode, usableNode } from "./create-plan.ts";
import { createDisks, wipeDisks } from "./disk-creation-steps.ts";
import { placedDisks } from "./disk-ends.ts";
import { allocateMinors, type DiskShape, reshapedDisks, shapeOf, withShape } from "./disk-rows.ts";
import { checkDiskSpace, recreationNeeds } from "./disk-space.ts";
import { shutdownDisks } from "./disk-steps.ts";
import { checkDisksFit } from "./exclusive-storage.ts";
import { withInstance } from "./instance-rows.ts";
import { diskNodeLocks, instanceLock } from "./locks.ts";
import { knownInstance, notRunning, onlineDiskNodes } from "./lookups.ts";
import { blockDeviceMessage } from "./messages.ts";
import { copyNonvolatile, dropNonvolatile } from "./nonvolatile-steps.ts";
import { groupLocks, newNodes, releaseOtherNodes } from "./other-node.ts";

type RecreateOp = Op<typeof InstanceRecreateDisks>;
type Settings = RecreateOp["disks"][number][1];

/** What a disk that is made again may be given another value of. */
const CHANGEABLE = ["size", "mode", "spindles"];

/** Disks whose devices are lost are made again, empty; on other nodes, if nodes are named. */
export const instanceRecreateDisks = implement(InstanceRecreateDisks, {
  locks(op, view) {
    const instance = view.findInstance(op.instance_name);
    if (instance !== undefined && op.iallocator)
      return [instanceLock(view, op.instance_name), ...diskNodeLocks(view, instance), ...groupLocks(view, instance)];
    const own = instance ? [instance.primaryNode, ...view.secondaryNodes(instance)] : [];
    const named = namesOf(op).flatMap((name) => view.findNode(name)?.uuid ?? []);
    const nodes = [...new Set(named.length > 0 ? named : own)];
    return [instanceLock(view, op.instance_name), ...nodes.map(exclusive.node), ...nodes.map(exclusive.nodeRes)];
  },

  async checkPrereq(ctx, op) {
    const view = ctx.config;
    const instance = knownInstance(view, op.instance_name);
    const { diskTemplate: template } = instance;
    if (DISK_TEMPLATE_TRAITS[template].adopt === "must" || template === "diskless")
      throw new OpPrereqError(`Disks of template ${template} are not made by the cluster`, "wrong_input");
    await notRunning(ctx, instance, "its disks cannot be made again");
    const shapes = changedShapes(view, instance, op);
    const nodes = plannedNodes(view, instance, await namedNodes(ctx, instance, op, shapes));
    const moves = nodes.some(({ uuid }, position) => uuid !== nodesOf(view, instance)[position]);
    if (moves && shapes.length < instance.disks.length)
      throw new OpPrereqError("All disks must be made again when their nodes change", "wrong_input");
    const disks = shapes.flatMap((shape) => {
      const row = view.disks.get(shape.disk);
      return row === undefined ? [] : [withShape(row, shape)];
    });
    checkDisksFit(view, { template, disks }, nodes);
    await Promise.all(nodes.map((node) => checkRoom(ctx, node, disks)));
    // Nor is what would be left behind where they are now.
    const present = nodesOf(view, instance).flatMap((uuid) => view.nodes.get(uuid) ?? []);
    const places = new Set([...nodes, ...present.filter(({ offline }) => !offline)]);
    await refuseExisting(ctx, instance, { nodes: [...places], disks });
    return { instance, nodes, shapes, moves };
  },

  hooks: (view, _op, { instance }) => instanceHooks(view, "instance-recreate-disks", instance),

  async exec(ctx, op, { instance, nodes, shapes, moves }) {
    if (op.iallocator) await releaseOtherNodes(ctx, nodes);
    const { uuid, name, primaryNode: before } = instance;
    const uuids = nodes.map((node) => node.uuid);
    const [primaryNode = before] = uuids;
    const old = shapes.flatMap(({ disk }) => ctx.config.disks.get(disk) ?? []);
    await ctx.undo(undoStep("restore-disks", { instance: uuid, primaryNode: before, shapes: old.map(shapeOf) }));
    const view = await ctx.commit((now) => [
      ...reshapedDisks(now, moves ? movedShapes(now, shapes, uuids) : shapes),
      ...withInstance(now, uuid, (row) => ({ ...row, primaryNode })),
    ]);
    const placed = placedDisks(view, instance).filter(({ disk }) => shapes.some((shape) => shape.disk === disk.uuid));
    const moved = { ...instance, primaryNode };
    ctx.feedback.step(`creating disks of instance ${name} again...`);
    await createDisks(ctx, view, moved, placed);
    if (view.cluster.preallocWipeDisks) {
      const whole = placed.map((disk) => ({ ...disk, fromMib: 0 }));
      await wipeDisks(ctx, view, moved, whole);
    }
    // A mirrored disk's ends are connected from their creation on.
    if (!instance.disksActive) await shutdownDisks(ctx, view, moved, { disks: placed });
    if (primaryNode !== before) await leave(ctx, instance, before, primaryNode);
    return null;
  },
});

/** The node that it leaves has lost the disks, and may have died with them. */
async function leave(ctx: ExecContext, instance: Instance, before: NodeUuid, now: NodeUuid): Promise<void> {
  const failure = await failureOf(ctx, () => copyNonvolatile(ctx, instance, before, now));
  // What could not be fetched is better left where it is.
  if (failure !== undefined)
    ctx.feedback.warning(`The UEFI variables and the TPM could not be carried over: ${failure.message}`);
  await ctx.pointOfNoReturn();
  if (failure === undefined) await dropNonvolatile(ctx, instance, [before]);
}

function namesOf(op: RecreateOp): readonly string[] {
  return op.node_uuids && op.node_uuids.length > 0 ? op.node_uuids : op.nodes;
}

function nodesOf(view: ConfigView, instance: Instance): readonly NodeUuid[] {
  return [instance.primaryNode, ...view.secondaryNodes(instance)];
}

/** Names of the nodes that are asked for, or that an allocator chose; none for those of before. */
async function namedNodes(
  ctx: PrereqContext,
  instance: Instance,
  op: RecreateOp,
  shapes: readonly DiskShape[],
): Promise<readonly string[]> {
  const names = namesOf(op);
  if (!op.iallocator) return names;
  if (names.length > 0)
    throw new OpPrereqError("Name either the nodes or an allocator (iallocator), not both", "wrong_input");
  const disks = ctx.config.disksOf(instance).map((disk) => {
    const shape = shapes.find((each) => each.disk === disk.uuid);
    return shape === undefined ? disk : withShape(disk, shape);
  });
  return await newNodes(ctx, instance, { disks, allocator: op.iallocator });
}

/** The nodes that the disks are to be on, the primary first. @throws OpPrereqError */
function plannedNodes(view: ConfigView, instance: Instance, names: readonly string[]): readonly Node[] {
  if (names.length === 0) return onlineDiskNodes(view, instance);
  const { diskTemplate: template } = instance;
  const count = DISK_TEMPLATE_TRAITS[template].needsSecondary ? 2 : 1;
  if (names.length !== count)
    throw new OpPrereqError(
      `Disks of template ${template} need ${count} node(s); ${names.length} were named`,
      "wrong_input",
    );
  const [first = "", second] = names;
  const primary = usableNode(view, first);
  return second === undefined ? [primary] : [primary, mirrorNode(view, second, { template, primary })];
}

/** The disks to be made again with what changes of them. @throws OpPrereqError (wrong_input) */
function changedShapes(view: ConfigView, instance: Instance, op: RecreateOp): readonly DiskShape[] {
  const all = placedDisks(view, instance);
  const asked: readonly (readonly [number, Settings])[] =
    op.disks.length > 0 ? op.disks : all.map(({ index }) => [index, {}] as const);
  if (new Set(asked.map(([index]) => index)).size < asked.length)
    throw new OpPrereqError("A disk is named twice", "wrong_input");
  return asked.map(([index, settings]) => {
    const disk = all[index]?.disk;
    if (disk === undefined)
      throw new OpPrereqError(`Instance ${instance.name} has no disk ${index}, only ${all.length}`, "wrong_input");
    const foreign = Object.keys(settings).find((key) => !CHANGEABLE.includes(key));
    if (foreign !== undefined)
      throw new OpPrereqError(`Disk ${index}: '${foreign}' cannot be changed by making it again`, "wrong_input");
    const shape = shapeOf(disk);
    return {
      ...shape,
      sizeMib: settings.size ?? shape.sizeMib,
      mode: settings.mode ?? shape.mode,
      spindles: settings.spindles ?? shape.spindles,
    };
  });
}

/** The disks on their new nodes, with minors that are free there. @throws OpPrereqError (insufficient_resources) */
function movedShapes(view: ConfigView, shapes: readonly DiskShape[], nodes: readonly NodeUuid[]): readonly DiskShape[] {
  const moving = new Set(shapes.map(({ disk }) => disk));
  let inUse = drbdMinorsInUse([...view.disks.values()].filter(({ uuid }) => !moving.has(uuid)));
  const [primary, secondary] = nodes;
  return shapes.map((shape): DiskShape => {
    if (shape.pair === null || primary === undefined || secondary === undefined) return { ...shape, nodes: [...nodes] };
    const [first, second] = allocateMinors(view, inUse, [primary, secondary]);
    inUse = second.inUse;
    return { ...shape, nodes: [...nodes], pair: { nodes: [primary, secondary], minors: [first.minor, second.minor] } };
  });
}

async function checkRoom(ctx: PrereqContext, node: Node, disks: readonly Disk[]): Promise<void> {
  const needs = disks.flatMap(recreationNeeds);
  if (needs.length === 0) return;
  checkDiskSpace(
    ctx.config,
    node,
    await ctx.node(node.uuid).node.describe({ knownStorage: false }, { signal: ctx.signal }),
    needs,
  );
}

/** What is still there is never overwritten. @throws OpPrereqError (already_exists) naming it */
async function refuseExisting(
  ctx: PrereqContext,
  instance: Instance,
  { nodes, disks }: { readonly nodes: readonly Node[]; readonly disks: readonly Disk[] },
): Promise<void> {
  const view = ctx.config;
  const devices = disks.flatMap((disk) =>
    nodes.flatMap(({ uuid }) =>
      (disk.children.length > 0 ? disk.children : [disk]).map((each) => ({ each, node: uuid })),
    ),
  );
  await Promise.all(
    devices.map(async ({ each, node }) => {
      const device = blockDeviceMessage(view, instance, each, 0, node);
      const { exists } = await ctx.node(node).blockDevices.status({ device }, { signal: ctx.signal });
      if (!exists) return;
      const name = view.nodes.get(node)?.name ?? node;
      throw new OpPrereqError(
        `Device ${device.logicalId.join("/")} still exists on node ${name}: it would be overwritten; remove it first`,
        "already_exists",
      );
    }),
  );
}
