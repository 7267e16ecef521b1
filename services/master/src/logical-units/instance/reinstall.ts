import { OpPrereqError } from "@gannet/errors";
import { checkOsParameterNames, type Instance, updateOsParameters } from "@gannet/objects";
import { InstanceReinstall } from "@gannet/opcodes";
import { failureOf } from "../../executor/attempt.ts";
import { implement } from "../../executor/logical-unit.ts";
import { instanceHooks } from "../../hooks/instance-hooks.ts";
import { assembleDisks, shutdownDisks } from "./disk-steps.ts";
import { withInstance } from "./instance-rows.ts";
import { instanceLock } from "./locks.ts";
import { knownInstance, notMarkedOffline, notRunning, onlinePrimary } from "./lookups.ts";
import { osParameterTexts, osScriptRequest } from "./os-request.ts";
import { installInside, planUntrusted } from "./untrusted-install.ts";

/** The OS parameters are for this once: of the instance nothing changes but its OS, once that is installed. */
export const instanceReinstall = implement(InstanceReinstall, {
  locks: (op, view) => [instanceLock(view, op.instance_name)],

  async checkPrereq(ctx, op) {
    const instance = knownInstance(ctx.config, op.instance_name);
    const primary = onlinePrimary(ctx.config, instance);
    notMarkedOffline(instance);
    if (instance.disks.length === 0)
      throw new OpPrereqError(`Instance ${instance.name} has no disks to install an OS on`, "wrong_input");
    const os = op.os_type ?? instance.os;
    if (os === "") throw new OpPrereqError(`Instance ${instance.name} has no OS: name one (os_type)`, "wrong_input");
    await notRunning(ctx, instance, "cannot reinstall");
    const installed: Instance = {
      ...instance,
      os,
      osparams: updateOsParameters(instance.osparams, op.osparams ?? {}),
      osparamsPrivate: updateOsParameters(instance.osparamsPrivate, op.osparams_private ?? {}),
    };
    const secret = op.osparams_secret ?? {};
    checkOsParameterNames(installed.osparams, installed.osparamsPrivate, secret);
    const parameters = osParameterTexts(ctx.config, installed, secret);
    const request = { os, forceVariant: op.force_variant, parameters, runVerifyScript: true };
    await ctx.node(primary.uuid).os.validate(request, { signal: ctx.signal });
    return { instance, installed, parameters, untrusted: await planUntrusted(ctx, installed) };
  },

  hooks: (view, _op, { instance }) => instanceHooks(view, "instance-reinstall", instance),

  async exec(ctx, op, { instance, installed, parameters, untrusted }) {
    const view = ctx.config;
    await assembleDisks(ctx, view, instance);
    ctx.feedback.step("Running the instance OS create scripts...");
    const script = osScriptRequest(view, installed, parameters, { debugLevel: op.debug_level ?? 0 });
    const request = { ...script, reinstall: true };
    if (untrusted !== null) await installInside(ctx, installed, request, untrusted);
    else
      await ctx
        .node(instance.primaryNode)
        .os.create({ step: ctx.step("os-reinstall"), ...request }, { signal: ctx.signal });
    if (installed.os !== instance.os) {
      ctx.feedback.step(`Changing OS to '${installed.os}'...`);
      await ctx.commit((now) => withInstance(now, instance.uuid, (row) => ({ ...row, os: installed.os })));
    }
    // It is installed, whatever becomes of the rest.
    await ctx.pointOfNoReturn();
    if (!instance.disksActive) {
      const failure = await failureOf(ctx, () => shutdownDisks(ctx, view, instance));
      if (failure !== undefined) ctx.feedback.warning(`The disks are left active: ${failure.message}`);
    }
    return null;
  },
});
