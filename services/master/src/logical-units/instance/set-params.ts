import type { ConfigChange } from "@gannet/config-store";
import { type ConfigView, DISK_TEMPLATE_TRAITS, type Instance } from "@gannet/objects";
import { InstanceSetParams } from "@gannet/opcodes";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { exclusive, shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { instanceHooks } from "../../hooks/instance-hooks.ts";
import { instanceEnvironment } from "../../hooks/object-environment.ts";
import { letGoOfDisks, makeDisks, settleDisks } from "./changed-disk-steps.ts";
import { diskChanges, writtenDisks } from "./changed-disks.ts";
import { balloon } from "./changed-memory.ts";
import { nicChanges, writtenNics } from "./changed-nics.ts";
import { type ChangeList, parameterChanges, type SetParamsOp } from "./changed-parameters.ts";
import { convertDisks } from "./convert-disks.ts";
import { changeNicsOfGuest, type HotplugOutcomes, plugDisks, unplugDisks } from "./device-hotplug.ts";
import { type PlacedDisk, placedDisks } from "./disk-ends.ts";
import { prepareDisks } from "./disk-steps.ts";
import { instanceLock } from "./locks.ts";
import { knownInstance } from "./lookups.ts";
import { copyNonvolatile, dropNonvolatile } from "./nonvolatile-steps.ts";
import { releaseOtherNodes } from "./other-node.ts";
import { planSetParams, type SetParamsPlan } from "./set-params-plan.ts";

/**
 * All that can fail is done before the instance's row is written, which makes the change; what the guest or a node
 * does not take after that is told.
 */
export const instanceSetParams = implement(InstanceSetParams, {
  locks(op, view) {
    const instance = view.findInstance(op.instance_name);
    const own = instance ? [instance.primaryNode, ...view.secondaryNodes(instance)] : [];
    const groups = new Set(own.flatMap((uuid) => view.nodes.get(uuid)?.group ?? []));
    const converts = op.disk_template != null;
    const further = [op.pnode_uuid ?? op.pnode, converts ? (op.remote_node_uuid ?? op.remote_node) : null];
    const named = further.flatMap((name) => view.findNode(name ?? "")?.uuid ?? []);
    const choosable = choosesSecondary(op) ? [...groups].flatMap((group) => view.nodesOf(group)) : [];
    const nodes = [...new Set([...own, ...named, ...choosable.map(({ uuid }) => uuid)])];
    return [
      instanceLock(view, op.instance_name),
      ...[...groups].map(shared.nodegroup),
      ...nodes.map(exclusive.node),
      ...(converts ? nodes.map(exclusive.nodeRes) : []),
    ];
  },

  checkPrereq: (ctx, op) => planSetParams(ctx, knownInstance(ctx.config, op.instance_name), op),

  hooks: (view, op, plan) =>
    instanceHooks(view, "instance-modify", plan.instance, {
      environment: {
        ...instanceEnvironment(view, changedInstance(view, plan)),
        ...(op.disk_template == null ? {} : { NEW_DISK_TEMPLATE: op.disk_template }),
        ...(op.runtime_mem == null ? {} : { RUNTIME_MEMORY: op.runtime_mem }),
      },
    }),

  async exec(ctx, op, plan) {
    for (const warning of plan.warnings) ctx.feedback.warning(warning);
    const { instance, nics, disks, conversion, ballooning } = plan;
    const before = ctx.config;
    const leaving = disks === null ? [] : [...disks.removed, ...disks.detached];
    const outcomes: HotplugOutcomes = new Map();

    if (choosesSecondary(op))
      await releaseOtherNodes(ctx, [plan.primary, ...(conversion?.secondary == null ? [] : [conversion.secondary])]);
    if (conversion !== null) await convertDisks(ctx, conversion, { waitForSync: op.wait_for_sync });
    const made = disks === null ? [] : await makeDisks(ctx, instance, disks, { waits: op.wait_for_sync });
    if (plan.hotplug) await unplugDisks(ctx, instance, leaving);
    if (ballooning !== null) await balloon(ctx, instance, ballooning);
    await copyNonvolatile(ctx, instance, instance.primaryNode, plan.primary.uuid);
    const view = await ctx.commit((now) => changedRows(now, plan));
    await ctx.pointOfNoReturn();
    if (plan.primary.uuid !== instance.primaryNode) await dropNonvolatile(ctx, instance, [instance.primaryNode]);

    const after = view.instances.get(instance.uuid) ?? instance;
    await bringUpAttached(ctx, view, instance, after, made);
    if (plan.hotplug) {
      for (const { disk } of leaving) outcomes.set(disk.uuid, "hotplug:done");
      await plugDisks(ctx, after, newDisks(view, after, instance), outcomes);
    }
    await settleDisks(ctx, instance, made);
    if (disks !== null) await letGoOfDisks(ctx, before, instance, disks);
    await ctx.releaseLocks([instance.primaryNode, ...before.secondaryNodes(instance)].map(exclusive.node));
    if (plan.hotplug && nics !== null) {
      const modified = new Set(
        nics.changes.flatMap(({ operation, item }) => (operation === "modify" ? item.uuid : [])),
      );
      await changeNicsOfGuest(ctx, { before: instance, after, modified }, outcomes);
    }

    return [
      ...told("runtime_memory", ballooning?.memoryMib),
      ...(disks === null ? [] : diskChanges(disks, outcomes)),
      ...told("disk_template", conversion?.template),
      ...(nics === null ? [] : nicChanges(view, after, nics, outcomes)),
      ...parameterChanges(op),
      ...told("admin_state", plan.adminState),
    ];
  },
});

function told(name: string, value: unknown): ChangeList {
  return value == null ? [] : [[name, value]];
}

/** The instance as it is going to be while it is not yet, so that hooks can refuse what they are told of. */
function changedInstance(view: ConfigView, { instance, parameters, nics }: SetParamsPlan): Instance {
  const now = view.instances.get(instance.uuid) ?? instance;
  if (now.serialNo !== instance.serialNo) return now;
  return { ...now, ...parameters, ...(nics === null ? {} : { nics: [...nics.nics] }) };
}

/** Whether an allocator says where the second copies are to be. */
function choosesSecondary(op: SetParamsOp): boolean {
  if (op.disk_template == null || !DISK_TEMPLATE_TRAITS[op.disk_template].needsSecondary) return false;
  return op.remote_node == null && op.remote_node_uuid == null;
}

/** Everything in one commit; a view that has moved on draws other addresses and nothing else. */
function changedRows(view: ConfigView, plan: SetParamsPlan): readonly ConfigChange[] {
  const { parameters, primary, nics, disks, adminState } = plan;
  const row = view.instances.get(plan.instance.uuid);
  if (row === undefined) return [];
  const written = nics === null ? null : writtenNics(view, row, nics);
  const changed: Instance = {
    ...row,
    ...parameters,
    primaryNode: primary.uuid,
    ...(written === null ? {} : { nics: written.nics }),
    ...(disks === null ? {} : { disks: disks.drafts.map(({ uuid }) => uuid), diskTemplate: disks.template }),
    ...(adminState === null ? {} : { adminState, adminStateSource: "admin" as const, disksActive: false }),
  };
  return [
    { kind: "instance", put: changed },
    ...(written?.networks ?? []),
    ...(disks === null ? [] : writtenDisks(view, row, disks)),
  ];
}

/** Of disks that are in use, an attached one's second copy stands by; the guest, or its next start, does the rest. */
async function bringUpAttached(
  ctx: ExecContext,
  view: ConfigView,
  before: Instance,
  after: Instance,
  made: readonly PlacedDisk[],
): Promise<void> {
  const present = new Set([...before.disks, ...made.map(({ disk }) => disk.uuid)]);
  const disks = placedDisks(view, after).filter(({ disk }) => !present.has(disk.uuid));
  if (disks.length === 0 || !before.disksActive) return;
  const failure = await failureOf(ctx, () => prepareDisks(ctx, view, after, { disks, secondaries: "tolerated" }));
  if (failure !== undefined) ctx.feedback.warning(`Attached disks are not ready for use: ${failure.message}`);
}

function newDisks(view: ConfigView, after: Instance, before: Instance) {
  return view.disksOf(after).filter(({ uuid }) => !before.disks.includes(uuid));
}
