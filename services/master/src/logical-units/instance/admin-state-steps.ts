/** Recording whether an instance is meant to run; the undo restores what was recorded before. */
import type { AdminStateSource, ConfigView, Instance } from "@gannet/objects";
import type { ExecContext } from "../../executor/context.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { withInstance } from "./instance-rows.ts";

/** What of an instance's row says that it should run. */
export const MEANT_TO_RUN = { adminState: "up", adminStateSource: "admin", disksActive: true } as const;

/** Record that it should run, unless that is recorded already. */
export async function markUp(ctx: ExecContext, instance: Instance): Promise<ConfigView> {
  if (instance.adminState === "up") return ctx.config;
  await undoAdminState(ctx, instance);
  return await ctx.commit((view) => withInstance(view, instance.uuid, (row) => ({ ...row, ...MEANT_TO_RUN })));
}

/** Record that it should not run, unless that is recorded already. */
export async function markDown(ctx: ExecContext, instance: Instance, source: AdminStateSource): Promise<void> {
  if (instance.adminState !== "up") return;
  await undoAdminState(ctx, instance);
  await ctx.commit((view) =>
    withInstance(view, instance.uuid, (row) => ({ ...row, adminState: "down", adminStateSource: source })),
  );
}

/** Record that its disks need not be assembled any more. */
export async function markDisksInactive(ctx: ExecContext, instance: Instance): Promise<void> {
  await ctx.commit((view) => withInstance(view, instance.uuid, (row) => ({ ...row, disksActive: false })));
}

/** Record that its disks are to be kept assembled, unless that is recorded already. */
export async function markDisksActive(ctx: ExecContext, instance: Instance): Promise<void> {
  if (instance.disksActive) return;
  await undoAdminState(ctx, instance);
  await ctx.commit((view) => withInstance(view, instance.uuid, (row) => ({ ...row, disksActive: true })));
}

function undoAdminState(
  ctx: ExecContext,
  { uuid, adminState, adminStateSource, disksActive }: Instance,
): Promise<void> {
  return ctx.undo(undoStep("set-admin-state", { instance: uuid, adminState, adminStateSource, disksActive }));
}
