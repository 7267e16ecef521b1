import { OpPrereqError } from "@gannet/errors";
import {
  checkBackendParameters,
  checkHypervisorParameters,
  filledBeparams,
  filledHvparams,
  inheritedBeparams,
  updateBackendParameters,
  updateHypervisorParameters,
} from "@gannet/objects";
import { InstanceStartup } from "@gannet/opcodes";
import { implement } from "../../executor/logical-unit.ts";
import { instanceHooks } from "../../hooks/instance-hooks.ts";
import { isAskedByWatcher, overtaken } from "../../watcher/watcher-jobs.ts";
import { markUp } from "./admin-state-steps.ts";
import { prepareDisks } from "./disk-steps.ts";
import { clearCrashedGuest, startGuest } from "./guest-steps.ts";
import { instanceLock } from "./locks.ts";
import { enoughMemory, isRunning, knownInstance, knownNode, minimumMemoryMib, notMarkedOffline } from "./lookups.ts";

export const instanceStartup = implement(InstanceStartup, {
  locks: (op, view) => [instanceLock(view, op.instance_name)],

  async checkPrereq(ctx, op) {
    const instance = knownInstance(ctx.config, op.instance_name);
    notMarkedOffline(instance);
    if (isAskedByWatcher(op) && instance.adminState !== "up") throw overtaken(`${instance.name} is to be down`);
    const { cluster } = ctx.config;
    const started = {
      ...instance,
      hvparams: updateHypervisorParameters(instance.hypervisor, instance.hvparams, op.hvparams),
      beparams: updateBackendParameters(instance.beparams, op.beparams, inheritedBeparams(cluster)),
    };
    checkHypervisorParameters(instance.hypervisor, filledHvparams(cluster, started));
    checkBackendParameters(filledBeparams(cluster, started));
    const primary = knownNode(ctx.config, instance.primaryNode);
    if (primary.offline && !op.ignore_offline_nodes)
      throw new OpPrereqError(`Primary node ${primary.name} is marked offline`, "wrong_state");
    const running = isRunning(ctx, instance);
    if (!primary.offline && !running) {
      const memoryMib = minimumMemoryMib(ctx.config, started);
      await enoughMemory(ctx, primary, { instanceName: instance.name, memoryMib, reason: "starting" });
    }
    return { instance, started, primary, running };
  },

  hooks: (view, op, { instance }) =>
    instanceHooks(view, "instance-start", instance, { environment: { FORCE: op.force } }),

  async exec(ctx, op, { instance, started, primary, running }) {
    if (!op.no_remember) await markUp(ctx, instance);
    if (primary.offline) ctx.feedback.info(`Primary node ${primary.name} is offline: only marked as to be running`);
    else if (running) ctx.feedback.info(`Instance ${instance.name} is running already`);
    else {
      await clearCrashedGuest(ctx, instance);
      await prepareDisks(ctx, ctx.config, instance, { secondaries: op.force ? "tolerated" : "required" });
      await startGuest(ctx, started, { paused: op.startup_paused });
    }
    return null;
  },
});
