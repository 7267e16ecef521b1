import type { MovePlan } from "@gannet/allocator";
import { type ConfigView, DISK_TEMPLATE_TRAITS, type Instance, type NodeGroup } from "@gannet/objects";
import { GroupEvacuate, type WireOpcode } from "@gannet/opcodes";
import { allocatorChoice } from "../../allocator/allocator-choice.ts";
import { askAllocator } from "../../allocator/ask-allocator.ts";
import { jobsOfPlan, joinedPlans, tellOfPlan } from "../../allocator/move-plan.ts";
import { submitting } from "../../executor/follow-up-jobs.ts";
import { shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { withMaster } from "../../hooks/hook-plan.ts";
import { groupInstances, knownGroup } from "./lookups.ts";
import { targetGroupLocks, targetGroups } from "./target-groups.ts";

export const groupEvacuate = implement(GroupEvacuate, {
  locks(op, view) {
    const group = view.findGroup(op.group_name);
    if (group === undefined) return [];
    return [
      ...movableInstances(view, group).map(({ name }) => shared.instance(name)),
      ...targetGroupLocks(view, op.target_groups, [group]),
    ];
  },

  async checkPrereq(ctx, op) {
    const group = knownGroup(ctx.config, op.group_name);
    const targets = targetGroups(ctx.config, op.target_groups, [group]);
    const allocator = allocatorChoice(ctx.config, op.iallocator);
    const instances = movableInstances(ctx.config, group);
    // The allocator knows one kind of space at a time: that of the disks that are to be placed.
    const byStorage = Map.groupBy(instances, ({ diskTemplate }) => DISK_TEMPLATE_TRAITS[diskTemplate].storageType);
    const plans: MovePlan[] = [];
    for (const [storageType, ofType] of byStorage) {
      const request = {
        type: "change-group" as const,
        instances: ofType.map(({ name }) => name),
        target_groups: targets.map(({ uuid }) => uuid),
      };
      plans.push(await askAllocator(ctx, { allocator, request, storageType }));
    }
    return { group, plan: joinedPlans(plans) };
  },

  hooks(view, op, { group }) {
    const nodes = withMaster(view, ...view.nodesOf(group.uuid).map(({ uuid }) => uuid));
    const environment = { GROUP_NAME: group.name, TARGET_GROUPS: op.target_groups ?? [] };
    return { path: "group-evacuate", object: "GROUP", environment, pre: nodes, post: nodes };
  },

  async exec(ctx, op, { plan }) {
    tellOfPlan(ctx.feedback, plan, "evacuate");
    const planned = jobsOfPlan(plan, { earlyRelease: op.early_release });
    const jobs = op.force_failover ? planned.map((opcodes) => opcodes.map(asFailover)) : planned;
    return submitting(op.sequential && jobs.length > 0 ? [jobs.flat()] : jobs);
  },
});

function movableInstances(view: ConfigView, group: NodeGroup): readonly Instance[] {
  return groupInstances(view, group).filter(({ forthcoming }) => !forthcoming);
}

/** The same move without the guest's memory: it is stopped, and started there. */
function asFailover(opcode: WireOpcode): WireOpcode {
  if (opcode.OP_ID !== "OP_INSTANCE_MIGRATE") return opcode;
  const { instance_name, target_node, iallocator, ignore_ipolicy } = opcode;
  const kept = Object.entries({ instance_name, target_node, iallocator, ignore_ipolicy });
  return { OP_ID: "OP_INSTANCE_FAILOVER", ...Object.fromEntries(kept.filter(([, value]) => value !== undefined)) };
}
