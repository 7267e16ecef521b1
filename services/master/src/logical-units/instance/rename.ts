import path from "node:path";
import type { ConfigChange } from "@gannet/config-store";
import { OpPrereqError } from "@gannet/errors";
import type { ConfigView, Disk, Instance } from "@gannet/objects";
import { InstanceRename } from "@gannet/opcodes";
import type { ExecContext } from "../../executor/context.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { instanceHooks } from "../../hooks/instance-hooks.ts";
import { renameDevice } from "./disk-creation-steps.ts";
import { placedDisks } from "./disk-ends.ts";
import { assembleDisks, noteInstance, shutdownDisks } from "./disk-steps.ts";
import { stopGuest } from "./guest-steps.ts";
import { instanceLock } from "./locks.ts";
import { knownInstance, notRunning, onlinePrimary } from "./lookups.ts";
import { checkName } from "./name-check.ts";
import { osParameterTexts, osScriptRequest } from "./os-request.ts";

/**
 * The configuration first, so that files, which lie in folders named after their instance, are always looked for under
 * the name that they are to have; everything is taken back when a step fails, the OS definition's script included.
 */
export const instanceRename = implement(InstanceRename, {
  locks(op, view) {
    const own = instanceLock(view, op.instance_name);
    return own.name === op.new_name ? [own] : [own, exclusive.instance(op.new_name)];
  },

  async checkPrereq(ctx, op) {
    const { config } = ctx;
    const instance = knownInstance(config, op.instance_name);
    onlinePrimary(config, instance);
    if (instance.name === op.new_name)
      throw new OpPrereqError(`Instance ${instance.name} has that name already`, "already_exists");
    if ([...config.instances.values()].some(({ name }) => name === op.new_name))
      throw new OpPrereqError(`Instance '${op.new_name}' is already in the cluster`, "already_exists");
    await notRunning(ctx, instance, "cannot rename");
    await checkName(op.new_name, { nameCheck: op.name_check, ipCheck: op.ip_check });
    return instance;
  },

  hooks: (view, op, instance) =>
    instanceHooks(view, "instance-rename", instance, { environment: { INSTANCE_NEW_NAME: op.new_name } }),

  async exec(ctx, op, instance) {
    // What is left of a guest that ended by itself bears the old name.
    await stopGuest(ctx, instance, 0);
    const moved = placedDisks(ctx.config, instance).filter(({ disk }) => lies(disk, instance.name));
    const disks = moved.map(({ disk }) => ({ disk: disk.uuid, logicalId: disk.logicalId }));
    await ctx.undo(undoStep("restore-names", { instance: instance.uuid, name: instance.name, disks }));
    const view = await ctx.commit((now) => renamedRows(now, instance, op.new_name));
    const renamed = view.instances.get(instance.uuid);
    if (renamed === undefined) throw new Error(`the row of ${instance.name} is missing after its commit`);
    for (const { index, disk: was } of moved) {
      const disk = view.disks.get(was.uuid);
      if (disk === undefined) throw new Error(`the row of disk ${was.uuid} is missing after its commit`);
      await renameDevice(ctx, view, renamed, { index, disk }, { from: was.logicalId, was });
    }
    if (renamed.os !== "" && renamed.disks.length > 0) {
      await assembleDisks(ctx, view, renamed);
      await runRenameScript(ctx, renamed, instance.name, op.debug_level ?? 0);
      if (!renamed.disksActive) await shutdownDisks(ctx, view, renamed);
    }
    // Last, so that nothing is left to be taken back.
    await noteInstance(ctx, view, renamed);
    return renamed.name;
  },
});

async function runRenameScript(ctx: ExecContext, instance: Instance, oldName: string, debugLevel: number) {
  ctx.feedback.step("running the instance OS rename script...");
  const parameters = osParameterTexts(ctx.config, instance);
  const request = osScriptRequest(ctx.config, instance, parameters, { debugLevel });
  await ctx
    .node(instance.primaryNode)
    .os.rename({ instance: { step: ctx.step("os-rename"), ...request }, oldName }, { signal: ctx.signal });
}

/** Whether the disk is a file in a folder of this name. */
function lies({ template, logicalId }: Disk, folder: string): boolean {
  if (template !== "file" && template !== "sharedfile") return false;
  return path.posix.basename(path.posix.dirname(String(logicalId[1]))) === folder;
}

function renamedRows(view: ConfigView, { uuid, name: oldName }: Instance, name: string): readonly ConfigChange[] {
  const row = view.instances.get(uuid);
  if (row === undefined) return [];
  const files = view.disksOf(row).filter((disk) => lies(disk, oldName));
  return [
    { kind: "instance", put: { ...row, name } },
    ...files.map((disk): ConfigChange => {
      const [driver = "", file = ""] = disk.logicalId;
      const root = path.posix.dirname(path.posix.dirname(String(file)));
      const logicalId = [driver, path.posix.join(root, name, path.posix.basename(String(file)))];
      return { kind: "disk", put: { ...disk, logicalId } };
    }),
  ];
}
