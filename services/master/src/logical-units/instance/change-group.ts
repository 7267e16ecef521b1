import { OpPrereqError } from "@gannet/errors";
import { type ConfigView, DISK_TEMPLATE_TRAITS, type Instance, type NodeGroup } from "@gannet/objects";
import { InstanceChangeGroup } from "@gannet/opcodes";
import { allocatorChoice } from "../../allocator/allocator-choice.ts";
import { askAllocator } from "../../allocator/ask-allocator.ts";
import { jobsOfPlan, tellOfPlan } from "../../allocator/move-plan.ts";
import { submitting } from "../../executor/follow-up-jobs.ts";
import { shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { withMaster } from "../../hooks/hook-plan.ts";
import { instanceHooks } from "../../hooks/instance-hooks.ts";
import { targetGroupLocks, targetGroups } from "../group/target-groups.ts";
import { knownInstance } from "./lookups.ts";

export const instanceChangeGroup = implement(InstanceChangeGroup, {
  locks(op, view) {
    const instance = view.findInstance(op.instance_name);
    if (instance === undefined) return [];
    return [shared.instance(instance.name), ...targetGroupLocks(view, op.target_groups, groupsOf(view, instance))];
  },

  async checkPrereq(ctx, op) {
    const instance = knownInstance(ctx.config, op.instance_name);
    const targets = targetGroups(ctx.config, op.target_groups, groupsOf(ctx.config, instance));
    const plan = await askAllocator(ctx, {
      allocator: allocatorChoice(ctx.config, op.iallocator),
      request: {
        type: "change-group",
        instances: [instance.name],
        target_groups: targets.map(({ uuid }) => uuid),
      },
      storageType: DISK_TEMPLATE_TRAITS[instance.diskTemplate].storageType,
    });
    const [failure] = plan.failed;
    if (failure !== undefined)
      throw new OpPrereqError(
        `Instance ${failure[0]} cannot be moved to another group: ${failure[1] ?? "no reason given"}`,
        "insufficient_resources",
      );
    return { instance, plan };
  },

  hooks(view, op, { instance }) {
    const environment = { TARGET_GROUPS: op.target_groups ?? [] };
    const nodes = withMaster(view);
    return instanceHooks(view, "instance-change-group", instance, { environment, pre: nodes, post: nodes });
  },

  async exec(ctx, op, { plan }) {
    tellOfPlan(ctx.feedback, plan, "move");
    return submitting(jobsOfPlan(plan, { earlyRelease: op.early_release }));
  },
});

function groupsOf(view: ConfigView, instance: Instance): readonly NodeGroup[] {
  const nodes = [instance.primaryNode, ...view.secondaryNodes(instance)];
  const uuids = new Set(nodes.flatMap((uuid) => view.nodes.get(uuid)?.group ?? []));
  return [...uuids].flatMap((uuid) => view.groups.get(uuid) ?? []);
}
