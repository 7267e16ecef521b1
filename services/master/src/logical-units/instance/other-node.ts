/** Another node for an instance that there is, chosen by an allocator in its node group. */
import { nicMessage } from "@gannet/allocator";
import { OpExecError } from "@gannet/errors";
import type { LockWish } from "@gannet/locking";
import {
  type ConfigView,
  DISK_TEMPLATE_TRAITS,
  type Disk,
  diskUsageMib,
  filledBeparams,
  type Instance,
  type Node,
  nicparamsOf,
} from "@gannet/objects";
import { allocatorChoice } from "../../allocator/allocator-choice.ts";
import { askAllocator } from "../../allocator/ask-allocator.ts";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { exclusive, shared } from "../../executor/lock-wishes.ts";
import { knownNode } from "./lookups.ts";

/** Every node of the instance's group is locked until one of them is chosen (spec/locks.json, LUInstanceReplaceDisks). */
export function groupLocks(view: ConfigView, instance: Instance): readonly LockWish[] {
  const group = view.nodes.get(instance.primaryNode)?.group;
  if (group === undefined) return [];
  const nodes = view.nodesOf(group).map(({ uuid }) => uuid);
  return [shared.nodegroup(group), ...nodes.map(exclusive.node), ...nodes.map(exclusive.nodeRes)];
}

/**
 * The node to which what the instance has on `from` can go: its second copies, or itself where every node sees its
 * disks.
 * @param allocator - as opcodes name it
 * @throws OpPrereqError (insufficient_resources) with the allocator's reasons
 */
export async function otherNode(
  ctx: PrereqContext,
  instance: Instance,
  { from, allocator }: { readonly from: Node; readonly allocator: string | null | undefined },
): Promise<Node> {
  const disks = ctx.config.disksOf(instance);
  const [chosen] = await askAllocator(ctx, {
    allocator: allocatorChoice(ctx.config, allocator),
    request: {
      type: "relocate",
      name: instance.name,
      disk_space_total: disks.reduce((sum, { template, sizeMib }) => sum + diskUsageMib(template, sizeMib), 0),
      required_nodes: 1,
      relocate_from: [from.name],
    },
    storageType: DISK_TEMPLATE_TRAITS[instance.diskTemplate].storageType,
  });
  if (chosen === undefined) throw new OpExecError(`The allocator named no node for ${instance.name}`);
  return knownNode(ctx.config, chosen);
}

/**
 * Nodes of its group for an instance whose disks are lost and will be made again, the primary first.
 * @param disks - as they will be
 * @throws OpPrereqError (insufficient_resources) with the allocator's reasons
 */
export async function newNodes(
  ctx: PrereqContext,
  instance: Instance,
  { disks, allocator }: { readonly disks: readonly Disk[]; readonly allocator: string },
): Promise<readonly string[]> {
  const view = ctx.config;
  const { name, diskTemplate, os, tags, hypervisor } = instance;
  const beparams = filledBeparams(view.cluster, instance);
  const group = view.nodes.get(instance.primaryNode)?.group;
  return await askAllocator(ctx, {
    allocator: allocatorChoice(view, allocator),
    request: {
      type: "allocate",
      ...{ name, disk_template: diskTemplate, os, tags, hypervisor },
      group_name: (group && view.groups.get(group)?.name) ?? null,
      vcpus: Number(beparams.vcpus),
      memory: Number(beparams.maxmem),
      spindle_use: Number(beparams.spindle_use),
      disks: disks.map(({ sizeMib, mode, spindles }) => ({ type: diskTemplate, size: sizeMib, mode, spindles })),
      disk_space_total: disks.reduce((sum, { sizeMib }) => sum + diskUsageMib(diskTemplate, sizeMib), 0),
      nics: instance.nics.map((nic) => nicMessage(nic, nicparamsOf(view, instance, nic))),
      required_nodes: DISK_TEMPLATE_TRAITS[diskTemplate].needsSecondary ? 2 : 1,
    },
    storageType: DISK_TEMPLATE_TRAITS[diskTemplate].storageType,
    without: name,
  });
}

/** Let others have the nodes that were not chosen. */
export async function releaseOtherNodes(ctx: ExecContext, chosen: readonly Node[]): Promise<void> {
  const ours = new Set<string>(chosen.map(({ uuid }) => uuid));
  const others = (await ctx.heldLocks()).filter(
    ({ level, name }) => (level === "node" || level === "node-res") && !ours.has(name),
  );
  if (others.length > 0) await ctx.releaseLocks(others);
}
