import { NodeUnreachable, OpExecError } from "@gannet/errors";
import type { ConfigView, Instance } from "@gannet/objects";
import { InstanceFailover } from "@gannet/opcodes";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { implement } from "../../executor/logical-unit.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { withMaster } from "../../hooks/hook-plan.ts";
import { instanceHooks } from "../../hooks/instance-hooks.ts";
import { isAskedByWatcher, overtaken } from "../../watcher/watcher-jobs.ts";
import { assembleDisks, shutdownDisks } from "./disk-steps.ts";
import { startGuest, stopGuest } from "./guest-steps.ts";
import { withInstance } from "./instance-rows.ts";
import { isRunning, knownInstance, notMarkedOffline } from "./lookups.ts";
import { cleanUpMigration } from "./migration-steps.ts";
import { isFaulty, mirrorReports } from "./mirror-steps.ts";
import { copyNonvolatile, dropNonvolatile, keepsNonvolatile } from "./nonvolatile-steps.ts";
import {
  checkTarget,
  everyNode,
  type Relocation,
  releaseRest,
  relocationEnvironment,
  relocationLocks,
  relocationOf,
} from "./relocation.ts";

export const instanceFailover = implement(InstanceFailover, {
  locks: relocationLocks,

  async checkPrereq(ctx, op) {
    const instance = knownInstance(ctx.config, op.instance_name);
    notMarkedOffline(instance);
    const relocation = await relocationOf(ctx, instance, op, "failed over");
    if (isAskedByWatcher(op) && !relocation.source.offline)
      throw overtaken(`node ${relocation.source.name} of ${instance.name} is not marked offline`);
    if (!op.cleanup) {
      const willRun = instance.adminState === "up";
      await checkTarget(ctx, relocation, { ignorePolicy: op.ignore_ipolicy, willRun });
    }
    return relocation;
  },

  hooks: (view, op, relocation) =>
    instanceHooks(view, "instance-failover", relocation.instance, {
      environment: {
        IGNORE_CONSISTENCY: op.ignore_consistency,
        SHUTDOWN_TIMEOUT: op.shutdown_timeout,
        FAILOVER_CLEANUP: op.cleanup,
        ...relocationEnvironment(relocation),
      },
      // The primary may be dead.
      pre: withMaster(view, relocation.target.uuid),
      post: everyNode(view, relocation).post,
    }),

  async exec(ctx, op, relocation) {
    await releaseRest(ctx, op, relocation);
    if (op.cleanup) await cleanUpMigration(ctx, relocation);
    else
      await failOver(ctx, relocation, {
        shutdownTimeoutS: op.shutdown_timeout,
        ignoreConsistency: op.ignore_consistency,
      });
    return null;
  },
});

/**
 * Stop the instance, make the target its primary node, and start it there if it is meant to run. When the source
 * cannot be asked the operator has said, by marking it offline or with `ignoreConsistency`, that the guest is dead.
 * @throws OpExecError when the target's copy of a disk cannot be relied upon, or the source does not let go
 */
export async function failOver(
  ctx: ExecContext,
  { instance, source, target }: Relocation,
  { shutdownTimeoutS, ignoreConsistency }: { readonly shutdownTimeoutS: number; readonly ignoreConsistency: boolean },
): Promise<void> {
  const sourceMayFail = source.offline || ignoreConsistency;
  if (instance.disksActive) {
    ctx.feedback.step("checking disk consistency between source and target");
    await checkCopies(ctx, { instance, source, target }, ignoreConsistency);
  } else ctx.feedback.step("not checking disk consistency as the disks are not in use");

  ctx.feedback.step("shutting down instance on source node");
  // A source that may be dead is not asked to take it back.
  if (!sourceMayFail && isRunning(ctx, instance))
    await ctx.undo(undoStep("start-instance", { instance: instance.uuid }));
  const failure = await onSource("shut down the instance", () => stopGuest(ctx, instance, shutdownTimeoutS));
  // A node that does not answer is not asked again for each disk: that would take half a minute and more each time.
  const isSilent = failure instanceof NodeUnreachable;
  if (!isSilent) {
    ctx.feedback.step("deactivating the instance's disks on source node");
    await onSource("shut down the instance's disks", () => shutdownDisks(ctx, ctx.config, instance));
  }

  if (!isSilent)
    await onSource("fetch the UEFI variables and the TPM", () =>
      copyNonvolatile(ctx, instance, source.uuid, target.uuid),
    );
  else if (keepsNonvolatile(ctx.config, instance))
    ctx.feedback.warning(`The UEFI variables and the TPM stay on ${source.name}; the instance gets new ones`);

  // Where the target cannot have the disks, a silent source may have them still: then nothing has moved.
  await ctx.undo(undoStep("restore-disks", { instance: instance.uuid, primaryNode: source.uuid, shapes: [] }));
  const view = await ctx.commit((current) =>
    withInstance(current, instance.uuid, (row) => ({ ...row, primaryNode: target.uuid })),
  );
  const moved = { ...instance, primaryNode: target.uuid };
  if (instance.adminState === "up") await startOnTarget(view, moved);
  // From here on nothing goes back to the source.
  await ctx.pointOfNoReturn();
  if (!isSilent) await dropNonvolatile(ctx, instance, [source.uuid]);

  async function startOnTarget(view: ConfigView, moved: Instance): Promise<void> {
    ctx.feedback.step(`activating the instance's disks on target node ${target.name}`);
    const silent = isSilent ? source.uuid : undefined;
    // The disks that a silent source may still use have not been shut down, and are not shut down by the undo.
    await assembleDisks(ctx, view, { ...moved, disksActive: isSilent }, { secondaries: "tolerated", silent });
    ctx.feedback.step(`starting the instance on the target node ${target.name}`);
    await startGuest(ctx, moved);
  }

  async function onSource(what: string, work: () => Promise<void>): Promise<Error | undefined> {
    const failure = await failureOf(ctx, work);
    if (failure === undefined) return undefined;
    const text = `Could not ${what} on the source node ${source.name}: ${failure.message}`;
    if (!sourceMayFail)
      throw new OpExecError(`${text}; if that node is dead, mark it offline, or repeat with ignore_consistency`, {
        cause: failure,
      });
    ctx.feedback.warning(`${text}; going on. Make sure that node is down`);
    return failure;
  }
}

async function checkCopies(
  ctx: ExecContext,
  { instance, source, target }: Relocation,
  ignoreConsistency: boolean,
): Promise<void> {
  for (const report of await mirrorReports(ctx, ctx.config, instance, { node: target.uuid })) {
    const whole = report.status?.localDisk === "uptodate";
    // A copy whose peer has died is degraded and complete.
    if (whole && (!isFaulty(report) || source.offline)) continue;
    const text = `disk/${report.index} on the target node ${target.name} is not complete (${
      report.status === undefined ? report.problem : `${report.status.localDisk}, ${report.status.connection}`
    })`;
    if (!ignoreConsistency) throw new OpExecError(`${text}; not failing over without ignore_consistency`);
    ctx.feedback.warning(`${text}; going on`);
  }
}
