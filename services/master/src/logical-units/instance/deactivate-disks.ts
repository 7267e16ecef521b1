import { InstanceDeactivateDisks } from "@gannet/opcodes";
import { failureOf } from "../../executor/attempt.ts";
import { implement } from "../../executor/logical-unit.ts";
import { markDisksInactive } from "./admin-state-steps.ts";
import { shutdownDisks } from "./disk-steps.ts";
import { instanceLock, nodeLocks } from "./locks.ts";
import { knownInstance, notRunning } from "./lookups.ts";

/** With `force` whatever can be released is, and the state of the guest is not asked for. */
export const instanceDeactivateDisks = implement(InstanceDeactivateDisks, {
  locks(op, view) {
    const instance = view.findInstance(op.instance_name);
    return [instanceLock(view, op.instance_name), ...(instance ? nodeLocks(view, instance) : [])];
  },

  async checkPrereq(ctx, op) {
    const instance = knownInstance(ctx.config, op.instance_name);
    if (!op.force) await notRunning(ctx, instance, "its disks are in use: shut it down first");
    return instance;
  },

  async exec(ctx, op, instance) {
    const failure = await failureOf(ctx, () =>
      shutdownDisks(ctx, ctx.config, instance, { secondaries: op.force ? "tolerated" : "required" }),
    );
    if (failure !== undefined && !op.force) throw failure;
    if (failure !== undefined) ctx.feedback.warning(`${failure.message}; going on as asked`);
    await markDisksInactive(ctx, instance);
    return null;
  },
});
