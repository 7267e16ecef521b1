import { OpPrereqError } from "@gannet/errors";
import type { ConfigView, Instance, Node } from "@gannet/objects";
import { GroupAssignNodes, type Op } from "@gannet/opcodes";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { knownNode } from "../instance/lookups.ts";
import { knownGroup } from "./lookups.ts";
import { cutOffInstances, splitInstances } from "./split-instances.ts";

export const groupAssignNodes = implement(GroupAssignNodes, {
  locks(op, view) {
    const target = view.findGroup(op.group_name)?.uuid;
    const nodes = namesOf(op).flatMap((name) => view.findNode(name) ?? []);
    const groups = new Set([...(target === undefined ? [] : [target]), ...nodes.map(({ group }) => group)]);
    return [
      ...[...groups].map(exclusive.nodegroup),
      ...[...new Set(nodes.map(({ uuid }) => uuid))].map(exclusive.node),
    ];
  },

  checkPrereq({ config }, op) {
    const group = knownGroup(config, op.group_name);
    const nodes = askedNodes(config, op);
    const { added, kept } = splitInstances(config, nodes, group.uuid);
    if (added.length > 0 && !op.force)
      throw new OpPrereqError(
        `The following instances get split by this change: ${namesIn(added)}; move them first, or force the change`,
        "wrong_state",
      );
    const cutOff = cutOffInstances(config, nodes, group.uuid);
    return {
      group,
      nodes,
      warnings: [
        ...(added.length > 0 ? [`This operation will split the following instances: ${namesIn(added)}`] : []),
        ...(kept.length > 0
          ? [`In addition, these already-split instances continue to be split across groups: ${namesIn(kept)}`]
          : []),
        ...(cutOff.length > 0
          ? [`Group ${group.name} is not connected to all networks of these instances: ${namesIn(cutOff)}`]
          : []),
      ],
    };
  },

  async exec(ctx, _op, { group, nodes, warnings }) {
    for (const warning of warnings) ctx.feedback.warning(warning);
    await ctx.commit((view) =>
      nodes.flatMap(({ uuid }) => {
        const row = view.nodes.get(uuid);
        return row === undefined || row.group === group.uuid
          ? []
          : [{ kind: "node", put: { ...row, group: group.uuid } } as const];
      }),
    );
    return null;
  },
});

/** By UUID where these are given: names may have moved on. */
function namesOf(op: Op<typeof GroupAssignNodes>): readonly string[] {
  return op.node_uuids ?? op.nodes;
}

/** @throws OpPrereqError: unknown_entity; wrong_input when names and UUIDs do not agree */
function askedNodes(view: ConfigView, op: Op<typeof GroupAssignNodes>): readonly Node[] {
  const nodes = new Map(
    namesOf(op)
      .map((name) => knownNode(view, name))
      .map((node) => [node.uuid, node]),
  );
  const other = op.nodes.map((name) => knownNode(view, name)).find(({ uuid }) => !nodes.has(uuid));
  if (other !== undefined)
    throw new OpPrereqError(`Node ${other.name} is not among the UUIDs given with the names`, "wrong_input");
  return [...nodes.values()];
}

function namesIn(instances: readonly Instance[]): string {
  return instances.map(({ name }) => name).join(", ");
}
