import { OpPrereqError } from "@gannet/errors";
import { filledBeparams, filledHvparams, type Instance, type NodeUuid } from "@gannet/objects";
import { InstanceMigrate } from "@gannet/opcodes";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { implement } from "../../executor/logical-unit.ts";
import { instanceHooks } from "../../hooks/instance-hooks.ts";
import { failOver } from "./failover.ts";
import { fitsForMigration } from "./hypervisor-versions.ts";
import { isRunning, knownInstance, notMarkedOffline } from "./lookups.ts";
import { cleanUpMigration, migrateGuest } from "./migration-steps.ts";
import {
  checkTarget,
  everyNode,
  type Relocation,
  releaseRest,
  relocationEnvironment,
  relocationLocks,
  relocationOf,
} from "./relocation.ts";

/** Of a failover in place of a migration; Ganeti's default of `shutdown_timeout`. */
const SHUTDOWN_TIMEOUT_S = 120;

export const instanceMigrate = implement(InstanceMigrate, {
  locks: relocationLocks,

  async checkPrereq(ctx, op) {
    const instance = knownInstance(ctx.config, op.instance_name);
    notMarkedOffline(instance);
    const relocation = await relocationOf(ctx, instance, op, "migrated");
    if (op.cleanup) return { ...relocation, way: "cleanup", live: false, balloonToMib: null } as const;
    const live = isLive(ctx, instance, op);
    const running = instance.adminState === "up" && isRunning(ctx, instance);
    if (!running && !op.allow_failover)
      throw new OpPrereqError(
        `Instance ${instance.name} does not run, so that there is nothing to migrate; fail it over (allow_failover)`,
        "wrong_state",
      );
    const willRun = instance.adminState === "up";
    const [{ memoryFreeMib }] = await Promise.all([
      checkTarget(ctx, relocation, { ignorePolicy: op.ignore_ipolicy, willRun }),
      ...(running ? [checkVersions(ctx, relocation, op.ignore_hvversions)] : []),
    ]);
    if (!running) return { ...relocation, way: "failover", live, balloonToMib: null } as const;
    const balloonToMib = neededBalloon(ctx, instance, memoryFreeMib, op.allow_runtime_changes);
    return { ...relocation, way: "migrate", live, balloonToMib } as const;
  },

  hooks: (view, op, relocation) =>
    instanceHooks(view, "instance-migrate", relocation.instance, {
      environment: {
        MIGRATE_LIVE: relocation.live,
        MIGRATE_CLEANUP: op.cleanup,
        ALLOW_RUNTIME_CHANGES: op.allow_runtime_changes,
        ...relocationEnvironment(relocation),
      },
      ...everyNode(view, relocation),
    }),

  async exec(ctx, op, { way, live, balloonToMib, ...relocation }) {
    await releaseRest(ctx, op, relocation);
    switch (way) {
      case "cleanup":
        await cleanUpMigration(ctx, relocation);
        break;
      case "failover":
        ctx.feedback.info(`Instance ${relocation.instance.name} does not run, failing over instead`);
        await failOver(ctx, relocation, { shutdownTimeoutS: SHUTDOWN_TIMEOUT_S, ignoreConsistency: false });
        break;
      case "migrate":
        if (balloonToMib !== null) await balloon(ctx, relocation, balloonToMib);
        await migrateGuest(ctx, relocation, { live });
    }
    return null;
  },
});

/** @throws OpPrereqError (wrong_input) when both the present and the older parameter say how */
function isLive(
  ctx: PrereqContext,
  instance: Instance,
  op: { readonly mode?: string | null | undefined; readonly live?: boolean | null | undefined },
): boolean {
  const { mode = null, live = null } = op;
  if (mode !== null && live !== null)
    throw new OpPrereqError("Only one of the parameters mode and live may be given", "wrong_input");
  if (live !== null) return live;
  return (mode ?? filledHvparams(ctx.config.cluster, instance).migration_mode ?? "live") !== "non-live";
}

/** @throws OpPrereqError (wrong_state) when the target's hypervisor cannot take a guest of the source's */
async function checkVersions(
  ctx: PrereqContext,
  { instance, source, target }: Relocation,
  ignore: boolean,
): Promise<void> {
  const versionOn = async (node: NodeUuid) => {
    const { hypervisors } = await ctx.node(node).node.describe({ knownStorage: true }, { signal: ctx.signal });
    return hypervisors.find(({ name }) => name === instance.hypervisor)?.version ?? "";
  };
  const [from, to] = await Promise.all([versionOn(source.uuid), versionOn(target.uuid)]);
  if (ignore || fitsForMigration(instance.hypervisor, from, to)) return;
  throw new OpPrereqError(
    `Versions of ${instance.hypervisor} do not fit for a migration: ${from} on ${source.name}, ${to} on ` +
      `${target.name}; ignore_hvversions tries nevertheless`,
    "wrong_state",
  );
}

/**
 * The memory that the guest must come down to before the target can take it; null when it need not.
 * @throws OpPrereqError (insufficient_resources) when it must, and may not
 */
function neededBalloon(ctx: PrereqContext, instance: Instance, memoryFreeMib: number, allowed: boolean): number | null {
  const present = ctx.live.instance(instance.name, instance.primaryNode)?.state.memoryMib;
  const memoryMib = present ?? Number(filledBeparams(ctx.config.cluster, instance).maxmem);
  if (memoryMib <= memoryFreeMib) return null;
  if (allowed) return memoryFreeMib;
  throw new OpPrereqError(
    `The target has ${memoryFreeMib} MiB free and ${instance.name} uses ${memoryMib} MiB; ` +
      "allow_runtime_changes lets it give some back",
    "insufficient_resources",
  );
}

async function balloon(ctx: ExecContext, { instance, source }: Relocation, memoryMib: number): Promise<void> {
  const { name, hypervisor } = instance;
  ctx.feedback.info(`Bringing the memory of ${name} down to ${memoryMib} MiB`);
  await ctx
    .node(source.uuid)
    .instances.setMemory({ step: ctx.step("balloon"), name, hypervisor, memoryMib }, { signal: ctx.signal });
}
