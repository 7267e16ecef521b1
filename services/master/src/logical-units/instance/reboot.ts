import { InstanceReboot } from "@gannet/opcodes";
import { implement } from "../../executor/logical-unit.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { instanceHooks } from "../../hooks/instance-hooks.ts";
import { markUp } from "./admin-state-steps.ts";
import { prepareDisks, shutdownDisks } from "./disk-steps.ts";
import { clearCrashedGuest, rebootGuest, startGuest, stopGuest } from "./guest-steps.ts";
import { instanceLock } from "./locks.ts";
import {
  enoughMemory,
  isRunning,
  knownInstance,
  minimumMemoryMib,
  notMarkedOffline,
  onlinePrimary,
} from "./lookups.ts";

/**
 * soft: the agent stops the guest and starts it as it was. hard: it is started as the configuration says now.
 * full: its disks are taken down and up as well.
 */
export const instanceReboot = implement(InstanceReboot, {
  locks: (op, view) => [instanceLock(view, op.instance_name)],

  async checkPrereq(ctx, op) {
    const instance = knownInstance(ctx.config, op.instance_name);
    notMarkedOffline(instance);
    const primary = onlinePrimary(ctx.config, instance);
    const running = isRunning(ctx, instance);
    if (!running) {
      const memoryMib = minimumMemoryMib(ctx.config, instance);
      await enoughMemory(ctx, primary, { instanceName: instance.name, memoryMib, reason: "starting" });
    }
    return { instance, running };
  },

  hooks: (view, op, { instance }) =>
    instanceHooks(view, "instance-reboot", instance, {
      environment: {
        IGNORE_SECONDARIES: op.ignore_secondaries,
        REBOOT_TYPE: op.reboot_type,
        SHUTDOWN_TIMEOUT: op.shutdown_timeout,
      },
    }),

  async exec(ctx, op, { instance, running }) {
    const view = await markUp(ctx, instance);
    if (running && op.reboot_type === "soft") {
      await rebootGuest(ctx, instance, op.shutdown_timeout);
      return null;
    }
    if (running) {
      // Where it cannot be started as the configuration says now, it is tried once more.
      await ctx.undo(undoStep("start-instance", { instance: instance.uuid }));
      await stopGuest(ctx, instance, op.shutdown_timeout);
    } else {
      ctx.feedback.info(`Instance ${instance.name} was stopped; starting it`);
      await clearCrashedGuest(ctx, instance);
    }
    if (op.reboot_type === "full") await shutdownDisks(ctx, view, instance);
    await prepareDisks(ctx, view, instance, { secondaries: op.ignore_secondaries ? "tolerated" : "required" });
    await startGuest(ctx, instance);
    return null;
  },
});
