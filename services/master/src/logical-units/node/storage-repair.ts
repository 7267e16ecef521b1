import { OpPrereqError } from "@gannet/errors";
import type { Instance, Node, StorageType } from "@gannet/objects";
import { type Op, RepairNodeStorage } from "@gannet/opcodes";
import type { ExecContext } from "../../executor/context.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { knownNode } from "../instance/lookups.ts";
import { isFaulty, mirrorReports } from "../instance/mirror-steps.ts";

/** Types whose units can lose parts and be made consistent again (spec/config.json, `storage_operations`). */
const REPAIRABLE: readonly StorageType[] = ["lvm-vg"];

/**
 * A repair may give up what the node had of disks: it is refused while another node has lost the other copy, unless
 * that is to be ignored.
 */
export const repairNodeStorage = implement(RepairNodeStorage, {
  locks(op, view) {
    const node = view.findNode(op.node_uuid ?? op.node_name);
    return node === undefined ? [] : [exclusive.node(node.uuid)];
  },

  checkPrereq(ctx, op) {
    if (!REPAIRABLE.includes(op.storage_type))
      throw new OpPrereqError(`Storage units of type ${op.storage_type} cannot be repaired`, "wrong_input");
    if (!op.name) throw new OpPrereqError("The storage unit's name is missing", "wrong_input");
    return { node: knownNode(ctx.config, op.node_uuid ?? op.node_name), name: op.name };
  },

  async exec(ctx, op, { node, name }) {
    await checkOtherCopies(ctx, op, node);
    ctx.feedback.step(`Repairing storage unit '${name}' on ${node.name}...`);
    const request = { step: ctx.step("repair-storage"), type: op.storage_type, name };
    await ctx.node(node.uuid).storage.repair(request, { signal: ctx.signal });
    return null;
  },
});

/** @throws OpPrereqError (wrong_state) naming the instance whose only good copy may be on this node */
async function checkOtherCopies(ctx: ExecContext, op: Op<typeof RepairNodeStorage>, node: Node): Promise<void> {
  const view = ctx.config;
  const instances = [...view.primaryInstances(node.uuid), ...view.secondaryInstances(node.uuid)];
  for (const instance of instances.filter(({ disksActive }) => disksActive)) {
    const problem = await problemElsewhere(ctx, instance, node);
    if (problem === undefined) continue;
    if (!op.ignore_consistency) throw new OpPrereqError(problem, "wrong_state");
    ctx.feedback.warning(problem);
  }
}

async function problemElsewhere(ctx: ExecContext, instance: Instance, node: Node): Promise<string | undefined> {
  const view = ctx.config;
  for (const uuid of [instance.primaryNode, ...view.secondaryNodes(instance)]) {
    const other = view.nodes.get(uuid);
    if (other === undefined || uuid === node.uuid) continue;
    if (other.offline) return `Instance ${instance.name} has its other copy on ${other.name}, which is marked offline`;
    const faulty = (await mirrorReports(ctx, view, instance, { node: uuid })).filter(isFaulty);
    const [first] = faulty;
    if (first !== undefined) return `Instance ${instance.name} has a faulty disk/${first.index} on node ${other.name}`;
  }
  return undefined;
}
