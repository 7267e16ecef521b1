import { InstanceRemove } from "@gannet/opcodes";
import { failureOf } from "../../executor/attempt.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { withMaster } from "../../hooks/hook-plan.ts";
import { instanceHooks } from "../../hooks/instance-hooks.ts";
import { placedDisks } from "./disk-ends.ts";
import { removeDisks } from "./disk-steps.ts";
import { stopGuest } from "./guest-steps.ts";
import { removeInstanceRows } from "./instance-rows.ts";
import { diskNodeLocks } from "./locks.ts";
import { knownOrForthcoming } from "./lookups.ts";
import { dropNonvolatile } from "./nonvolatile-steps.ts";

/** The configuration goes last: a removal that dies half-way can be repeated until nothing is left. */
export const instanceRemove = implement(InstanceRemove, {
  locks(op, view) {
    const instance = view.findInstance(op.instance_name);
    return [exclusive.instance(instance?.name ?? op.instance_name), ...(instance ? diskNodeLocks(view, instance) : [])];
  },

  checkPrereq: (ctx, op) => knownOrForthcoming(ctx.config, op.instance_name),

  hooks: (view, op, instance) =>
    instanceHooks(view, "instance-remove", instance, {
      environment: { SHUTDOWN_TIMEOUT: op.shutdown_timeout },
      pre: withMaster(view),
    }),

  async exec(ctx, op, instance) {
    const tolerant = async (what: string, work: () => Promise<void>) => {
      const failure = await failureOf(ctx, work);
      if (failure === undefined) return;
      if (!op.ignore_failures) throw failure;
      ctx.feedback.warning(`Could not ${what}, going on as asked: ${failure.message}`);
    };
    const view = ctx.config;
    // Of a forthcoming one the nodes know nothing.
    if (!instance.forthcoming) {
      await tolerant(`shut down ${instance.name}`, () => stopGuest(ctx, instance, op.shutdown_timeout));
      await tolerant(`remove the disks of ${instance.name}`, () =>
        removeDisks(ctx, view, instance, placedDisks(view, instance)),
      );
      await dropNonvolatile(ctx, instance, [instance.primaryNode, ...view.secondaryNodes(instance)]);
    }
    await ctx.commit((now) => removeInstanceRows(now, instance.uuid));
    return null;
  },
});
