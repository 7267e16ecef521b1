import { OpExecError } from "@gannet/errors";
import { diskIvName } from "@gannet/objects";
import { InstanceActivateDisks } from "@gannet/opcodes";
import { implement } from "../../executor/logical-unit.ts";
import { isAskedByWatcher, overtaken } from "../../watcher/watcher-jobs.ts";
import { markDisksActive } from "./admin-state-steps.ts";
import { assembleDisks } from "./disk-steps.ts";
import { instanceLock, nodeLocks } from "./locks.ts";
import { knownInstance, onlinePrimary } from "./lookups.ts";
import { tellSplitBrain, waitForSync } from "./mirror-steps.ts";

/** `ignore_size` changes nothing: agents make a disk usable whatever size is recorded for it. */
export const instanceActivateDisks = implement(InstanceActivateDisks, {
  locks(op, view) {
    const instance = view.findInstance(op.instance_name);
    return [instanceLock(view, op.instance_name), ...(instance ? nodeLocks(view, instance) : [])];
  },

  checkPrereq(ctx, op) {
    const instance = knownInstance(ctx.config, op.instance_name);
    if (isAskedByWatcher(op) && !instance.disksActive)
      throw overtaken(`disks of ${instance.name} are not to be in use`);
    return { instance, primary: onlinePrimary(ctx.config, instance) };
  },

  async exec(ctx, op, { instance, primary }) {
    await markDisksActive(ctx, instance);
    const assembled = await assembleDisks(ctx, ctx.config, instance);
    if (!op.wait_for_sync) await tellSplitBrain(ctx, ctx.config, instance);
    else if (!(await waitForSync(ctx, ctx.config, instance)))
      throw new OpExecError(`Some disks of instance ${instance.name} are degraded`);
    return assembled.map(({ index, path }): [string, string, string] => [primary.name, diskIvName(index), path]);
  },
});
