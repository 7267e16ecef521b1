import { OpExecError } from "@gannet/errors";
import { InstanceConsole } from "@gannet/opcodes";
import { shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { consoleDescription } from "../../nodes/console-description.ts";
import { instanceLock } from "./locks.ts";
import { isRunning, knownInstance, onlinePrimary } from "./lookups.ts";

export const instanceConsole = implement(InstanceConsole, {
  locks: (op, view) => [shared.instance(instanceLock(view, op.instance_name).name)],

  checkPrereq(ctx, op) {
    const instance = knownInstance(ctx.config, op.instance_name);
    return { instance, node: onlinePrimary(ctx.config, instance) };
  },

  async exec(ctx, _op, { instance, node }) {
    const { name, hypervisor, adminState } = instance;
    if (!isRunning(ctx, instance))
      throw new OpExecError(`Instance ${name} is not running (it is marked to be ${adminState})`);
    const console = await ctx.node(node.uuid).instances.console({ name, hypervisor }, { signal: ctx.signal });
    return consoleDescription(ctx.config.cluster, instance, node, console);
  },
});
