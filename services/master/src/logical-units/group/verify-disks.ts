import type { ConfigView, Instance, Node, NodeUuid } from "@gannet/objects";
import { GroupVerifyDisks } from "@gannet/opcodes";
import { failureOf } from "../../executor/attempt.ts";
import { shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { type InspectedDisk, inspectDisks } from "./disk-inspection.ts";
import { groupInstances, knownGroup } from "./lookups.ts";

/**
 * Finds disks that should be in use and are not. Not strict, it looks at the nodes that nobody works with just now, and
 * at the instances that are on these alone.
 */
export const groupVerifyDisks = implement(GroupVerifyDisks, {
  locks(op, view) {
    const { instances, nodes, groups } = scopeOf(view, op.group_name);
    const own = [...groups].map(shared.nodegroup);
    if (!op.is_strict) return own;
    return [
      ...instances.map(({ name }) => shared.instance(name)),
      ...own,
      ...nodes.map(({ uuid }) => shared.node(uuid)),
    ];
  },

  candidates(op, view) {
    const { nodes } = scopeOf(view, op.group_name);
    if (op.is_strict || nodes.length === 0) return undefined;
    return { levels: ["node"], names: nodes.map(({ uuid }) => uuid), mode: "shared", atLeast: 1 };
  },

  async checkPrereq(ctx, op) {
    knownGroup(ctx.config, op.group_name);
    const { instances, nodes } = scopeOf(ctx.config, op.group_name);
    if (op.is_strict) return { instances, nodes };
    const held = new Set((await ctx.heldLocks()).map(({ level, name }) => `${level}/${name}`));
    const isHeld = (uuid: NodeUuid) => held.has(`node/${uuid}`);
    return {
      instances: instances.filter((instance) => nodesOf(ctx.config, instance).every(isHeld)),
      nodes: nodes.filter(({ uuid }) => isHeld(uuid)),
    };
  },

  async exec(ctx, _op, { instances, nodes }) {
    const errors: Record<string, string> = {};
    const found = await Promise.all(
      nodes.map(async (node) => {
        let disks: readonly InspectedDisk[] = [];
        const failure = await failureOf(ctx, async () => {
          disks = await inspectDisks(ctx, node, instances);
        });
        if (failure !== undefined) errors[node.name] = failure.message;
        return disks.map((disk) => ({ node, disk }));
      }),
    );
    return resultOf(errors, found.flat());
  },
});

/** Instances of the group whose disks should be in use, and the nodes that can be asked about them. */
function scopeOf(view: ConfigView, name: string) {
  const group = view.findGroup(name);
  const instances = group === undefined ? [] : groupInstances(view, group).filter(({ disksActive }) => disksActive);
  const members = group === undefined ? [] : view.nodesOf(group.uuid).map(({ uuid }) => uuid);
  const uuids = new Set([...members, ...instances.flatMap((instance) => nodesOf(view, instance))]);
  const nodes = [...uuids].flatMap((uuid) => view.nodes.get(uuid) ?? []);
  return {
    instances,
    groups: new Set([...(group === undefined ? [] : [group.uuid]), ...nodes.map((node) => node.group)]),
    nodes: nodes.filter(({ vmCapable, offline }) => vmCapable && !offline),
  };
}

function nodesOf(view: ConfigView, instance: Instance): readonly NodeUuid[] {
  return [instance.primaryNode, ...view.secondaryNodes(instance)];
}

type Result = [Record<string, string>, string[], Record<string, string[][]>];

/** Errors by node; instances to be activated; what is missing of each, `[node, volume]` (spec/opcodes.json). */
function resultOf(
  errors: Record<string, string>,
  found: readonly { readonly node: Node; readonly disk: InspectedDisk }[],
): Result {
  const inactive = found.filter(({ disk }) => disk.condition === "inactive").map(({ disk }) => disk.instance.name);
  const missing: Record<string, string[][]> = {};
  for (const { node, disk } of found)
    for (const volume of disk.missing)
      missing[disk.instance.name] = [...(missing[disk.instance.name] ?? []), [node.name, volume]];
  return [errors, [...new Set(inactive)].sort(), missing];
}
