import { OpPrereqError } from "@gannet/errors";
import { InstanceShutdown } from "@gannet/opcodes";
import { implement } from "../../executor/logical-unit.ts";
import { instanceHooks } from "../../hooks/instance-hooks.ts";
import { isAskedByWatcher, overtaken } from "../../watcher/watcher-jobs.ts";
import { markDisksInactive, markDown } from "./admin-state-steps.ts";
import { shutdownDisks } from "./disk-steps.ts";
import { stopGuest } from "./guest-steps.ts";
import { instanceLock } from "./locks.ts";
import { isRunning, knownInstance, knownNode, notMarkedOffline } from "./lookups.ts";

/** The wish to be down is recorded first, so that nothing starts the guest again while it goes down. */
export const instanceShutdown = implement(InstanceShutdown, {
  locks: (op, view) => [instanceLock(view, op.instance_name)],

  checkPrereq(ctx, op) {
    const instance = knownInstance(ctx.config, op.instance_name);
    if (!op.force) notMarkedOffline(instance);
    if (isAskedByWatcher(op) && isRunning(ctx, instance)) throw overtaken(`${instance.name} runs again`);
    const primary = knownNode(ctx.config, instance.primaryNode);
    if (primary.offline && !op.ignore_offline_nodes)
      throw new OpPrereqError(`Primary node ${primary.name} is marked offline`, "wrong_state");
    return { instance, primary };
  },

  hooks: (view, op, { instance }) =>
    instanceHooks(view, "instance-stop", instance, { environment: { TIMEOUT: op.timeout } }),

  async exec(ctx, op, { instance, primary }) {
    if (!op.no_remember) await markDown(ctx, instance, op.admin_state_source ?? "admin");
    if (primary.offline) {
      ctx.feedback.info(`Primary node ${primary.name} is offline: only marked as down`);
      return null;
    }
    await stopGuest(ctx, instance, op.timeout);
    // The guest is gone: from here on going back would be wrong.
    await ctx.pointOfNoReturn();
    await shutdownDisks(ctx, ctx.config, instance);
    if (!op.no_remember) await markDisksInactive(ctx, instance);
    return null;
  },
});
