/** A live migration, and the clean-up after one that broke off. */
import { allEnded, OpExecError } from "@gannet/errors";
import type { ConfigView } from "@gannet/objects";
import type { MigrationProgress } from "@gannet/rpc";
import type { ExecContext } from "../../executor/context.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { instanceMessage } from "./messages.ts";
import {
  complete,
  connect,
  type Migration,
  mirroredEnds,
  type Steps,
  settleMigration,
  standBy,
  stateOn,
} from "./migration-settling.ts";
import { mirrorReports, waitForSync } from "./mirror-steps.ts";
import type { Relocation } from "./relocation.ts";

/** A guest that is being sent tells its progress each second; a job's log needs less. */
const PROGRESS_EVERY_MS = 2_000;

/** Move the running guest. Whatever fails, the undo settles it. @throws OpExecError and what the agents throw */
export async function migrateGuest(
  ctx: ExecContext,
  { instance, source, target }: Relocation,
  { live }: { readonly live: boolean },
): Promise<void> {
  const { name, hypervisor } = instance;
  const migration = { instance, source: source.uuid, target: target.uuid };
  ctx.feedback.step("checking disk consistency between source and target");
  const [{ info }] = await Promise.all([
    ctx.node(source.uuid).instances.migrationInfo({ name, hypervisor }, { signal: ctx.signal }),
    checkInSync(ctx, { instance, source, target }),
  ]);

  await ctx.undo(undoStep("settle-migration", { instance: instance.uuid, source: source.uuid, target: target.uuid }));
  const steps = (what: string) => ctx.step(`migrate/${what}`);
  await letBothUseDisks(ctx, ctx.config, migration, steps);
  ctx.feedback.step(`preparing ${target.name} to accept the instance`);
  const { port } = await ctx.node(target.uuid).instances.acceptMigration(
    {
      step: steps("accept"),
      instance: instanceMessage(ctx.config, instance, target.uuid),
      info,
      address: target.secondaryIp,
    },
    { signal: ctx.signal },
  );
  ctx.feedback.step(`migrating instance to ${target.name}`);
  const sending = ctx.node(source.uuid).instances.migrate(
    {
      step: steps("send"),
      instance: instanceMessage(ctx.config, instance, source.uuid),
      targetAddress: target.secondaryIp,
      targetPort: port,
      targetNode: target.name,
      live,
    },
    { signal: ctx.signal },
  );
  await followed(ctx, sending);
  await complete(ctx, migration, steps);
  if (!(await waitForSync(ctx, ctx.config, { ...instance, primaryNode: target.uuid }, { until: "connected" })))
    ctx.feedback.warning(`The second copies of the disks of ${name} are not being kept; activate its disks`);
  ctx.feedback.step("done");
}

/** @throws OpExecError unless the last progress is that of a migration that has succeeded */
async function followed(ctx: ExecContext, sending: AsyncIterable<MigrationProgress>): Promise<void> {
  let last: MigrationProgress | undefined;
  let toldAt = performance.now();
  for await (const progress of sending) {
    last = progress;
    if (progress.status !== "active" || performance.now() - toldAt < PROGRESS_EVERY_MS) continue;
    toldAt = performance.now();
    const percent = progress.totalBytes > 0 ? (100 * progress.transferredBytes) / progress.totalBytes : 0;
    ctx.feedback.step(`memory transfer progress: ${Math.min(percent, 100).toFixed(2)} %`);
  }
  if (last?.status !== "completed")
    throw new OpExecError(`The migration ${last?.status ?? "failed"}: ${last?.problem || "the node told no reason"}`);
  const downtime = last.downtimeMs === undefined ? "" : `; the guest stood still for ${last.downtimeMs} ms`;
  ctx.feedback.info(`The guest's memory has been sent${downtime}`);
}

/** Both copies must be whole: from the moment of the switch the target's is the one that is used. */
async function checkInSync(ctx: ExecContext, { instance, source, target }: Relocation): Promise<void> {
  const told = await allEnded(
    [source, target].map(async (node) => ({
      node,
      reports: await mirrorReports(ctx, ctx.config, instance, { node: node.uuid }),
    })),
  );
  for (const { node, reports } of told)
    for (const { index, status, problem } of reports) {
      if (status !== undefined && !status.degraded) continue;
      const how = status === undefined ? problem : `${status.localDisk}, its peer ${status.peerDisk}`;
      throw new OpExecError(
        `disk/${index} is not in sync as node ${node.name} sees it (${how}); ` +
          "wait for it or activate the disks, then migrate again",
      );
    }
}

/**
 * Bring a migration that broke off to its end, at an operator's word (`cleanup`). One that runs on the target has
 * arrived, whatever stands still of it on the source, which may not have heard of that.
 * @throws OpExecError when the guest runs on both nodes, or on none
 */
export async function cleanUpMigration(ctx: ExecContext, { instance, source, target }: Relocation): Promise<void> {
  ctx.feedback.step("checking where the instance actually runs (if this hangs, the node might be dead)");
  const [onSource, onTarget] = (
    await Promise.all([source, target].map(({ uuid }) => stateOn(ctx, instance, uuid)))
  ).map(({ status }) => status);
  const isUp = (status: string | undefined) => status === "running" || status === "paused";
  const hasArrived = onSource === "paused" && onTarget === "running";
  if (isUp(onSource) && isUp(onTarget) && !hasArrived)
    throw new OpExecError(
      `${instance.name} runs on both nodes, ${source.name} and ${target.name}: stop the wrong one by hand, then repeat`,
    );
  if (!isUp(onSource) && !isUp(onTarget))
    throw new OpExecError(
      `${instance.name} runs on neither node; there is nothing to clean up: start it, or fail over`,
    );
  ctx.feedback.info(`instance confirmed to be running on its ${isUp(onTarget) ? "secondary" : "primary"} node`);
  await settleMigration(ctx, { instance, source: source.uuid, target: target.uuid }, "cleanup");
}

async function letBothUseDisks(ctx: ExecContext, view: ConfigView, migration: Migration, steps: Steps): Promise<void> {
  const ends = mirroredEnds(view, migration.instance);
  if (ends.length === 0) return;
  for (const end of ends.filter(({ node }) => node === migration.target)) await standBy(ctx, end, steps);
  ctx.feedback.step("changing disks into dual-master mode");
  await allEnded(ends.map((end) => connect(ctx, end, { dualPrimary: true }, steps)));
  if (!(await waitForSync(ctx, view, migration.instance)))
    throw new OpExecError(`The disks of ${migration.instance.name} do not come into sync`);
}
