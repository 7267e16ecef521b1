import { OpExecError, OpPrereqError } from "@gannet/errors";
import { type ConfigView, DISK_TEMPLATE_TRAITS, type Instance, type Node } from "@gannet/objects";
import { BackupExport, type Op } from "@gannet/opcodes";
import type { BlockDevice, TransferEnd } from "@gannet/rpc";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { onDevice, undoStep } from "../../executor/undo-actions.ts";
import { withMaster } from "../../hooks/hook-plan.ts";
import { instanceHooks } from "../../hooks/instance-hooks.ts";
import { endsOf, type PlacedDisk, placedDisks } from "../instance/disk-ends.ts";
import { assembleDisks, removeDisks, shutdownDisks } from "../instance/disk-steps.ts";
import { resumeGuest, stopGuest } from "../instance/guest-steps.ts";
import { removeInstanceRows } from "../instance/instance-rows.ts";
import { diskNodeLocks, instanceLock } from "../instance/locks.ts";
import { isRunning, knownInstance, knownNode, onlinePrimary } from "../instance/lookups.ts";
import { osParameterTexts, osScriptRequest } from "../instance/os-request.ts";
import { copyContents } from "../instance/transfer-steps.ts";
import { describeExport } from "./export-description.ts";
import { removeOtherExports } from "./remove.ts";

type ExportOp = Op<typeof BackupExport>;

const NOT_SUPPORTED_YET: readonly (readonly [what: string, asked: (op: ExportOp) => boolean])[] = [
  ["an export to another cluster (mode remote)", (op) => op.mode !== "local"],
  ["overwriting unused space (zero_free_space)", (op) => op.zero_free_space],
];

/** Copies the disks of an instance into a folder of a node, with a description from which it can be made again. */
export const backupExport = implement(BackupExport, {
  unavailable: (op) => NOT_SUPPORTED_YET.find(([, asked]) => asked(op))?.[0],

  locks(op, view) {
    const instance = view.findInstance(op.instance_name);
    return [
      instanceLock(view, op.instance_name),
      exclusive.all("node"),
      ...(instance === undefined ? [] : diskNodeLocks(view, instance).filter(({ level }) => level === "node-res")),
    ];
  },

  checkPrereq(ctx, op) {
    const instance = knownInstance(ctx.config, op.instance_name);
    const source = onlinePrimary(ctx.config, instance);
    if (op.target_node_uuid === null && typeof op.target_node !== "string")
      throw new OpPrereqError("An export within the cluster goes to one node: name it (target_node)", "wrong_input");
    const target = knownNode(ctx.config, op.target_node_uuid ?? String(op.target_node));
    if (target.offline || target.drained)
      throw new OpPrereqError(
        `Node ${target.name} cannot keep the export: it is ${target.offline ? "offline" : "drained"}`,
        "wrong_state",
      );
    const running = isRunning(ctx, instance);
    const isUp = instance.adminState === "up" || running;
    if (op.remove_instance && isUp && !op.shutdown)
      throw new OpPrereqError(
        `${instance.name} cannot be removed without being shut down for the export before`,
        "wrong_input",
      );
    if (instance.disks.length === 0)
      throw new OpPrereqError(`${instance.name} has no disks, so that there is nothing to export`, "wrong_state");
    const snapshots = DISK_TEMPLATE_TRAITS[instance.diskTemplate].snapshotForExport;
    if (!snapshots && running && !(op.shutdown && op.long_sleep))
      throw new OpPrereqError(
        `Disks of template ${instance.diskTemplate} cannot be copied while ${instance.name} uses them: shut it down, ` +
          "or ask for shutdown and long_sleep",
        "wrong_state",
      );
    return { instance, source, target, running, snapshots };
  },

  hooks(view, op, { instance, source, target }) {
    const nodes = withMaster(view, source.uuid, target.uuid);
    return instanceHooks(view, "instance-export", instance, {
      environment: {
        EXPORT_MODE: op.mode,
        EXPORT_NODE: target.name,
        EXPORT_DO_SHUTDOWN: op.shutdown,
        SHUTDOWN_TIMEOUT: op.shutdown_timeout,
        REMOVE_INSTANCE: op.remove_instance,
      },
      ...{ pre: nodes, post: nodes },
    });
  },

  async exec(ctx, op, { instance, source, target, running, snapshots }) {
    const view = ctx.config;
    const stops = running && op.shutdown;
    if (stops) {
      ctx.feedback.step(`shutting down instance ${instance.name}`);
      await ctx.undo(undoStep("start-instance", { instance: instance.uuid }));
      await stopGuest(ctx, instance, op.shutdown_timeout);
    }
    if (!instance.disksActive) await assembleDisks(ctx, view, instance);
    const disks = placedDisks(view, instance);
    const copies = snapshots ? await snapshotsOf(ctx, view, instance, disks) : primaryDevices(view, instance, disks);
    const startsAgain = stops && !op.remove_instance;
    if (startsAgain && snapshots) await start(ctx, instance);

    await copyAll(ctx, { view, instance, source, target, disks, copies, compress: op.compress });
    const description = describeExport(view, {
      instance,
      source: source.name,
      compression: op.compress,
      now: ctx.now(),
      disks: disks.map(({ disk }) => ({
        dump: disk.uuid,
        sizeMib: disk.sizeMib,
        ivName: disk.ivName,
        name: disk.name,
      })),
    });
    ctx.feedback.step(`finalizing export on ${target.name}`);
    await ctx
      .node(target.uuid)
      .transfers.finalizeExport(
        { step: ctx.step("finalize"), instanceName: instance.name, description },
        { signal: ctx.signal },
      );
    // The export is there, whatever becomes of the rest.
    await ctx.pointOfNoReturn();
    if (snapshots) await removeSnapshots(ctx, source, copies);
    if (startsAgain && !snapshots) await start(ctx, instance);
    else if (!instance.disksActive && !op.remove_instance) await shutdownDisks(ctx, view, instance);
    if (op.remove_instance) await removeInstance(ctx, instance, op.ignore_remove_failures);
    await removeOtherExports(ctx, instance.name, target);
    return [true, disks.map(() => true)] as [boolean, boolean[]];
  },
});

async function start(ctx: ExecContext, instance: Instance): Promise<void> {
  ctx.feedback.step(`starting instance ${instance.name}`);
  await resumeGuest(ctx, instance);
}

function primaryDevices(view: ConfigView, instance: Instance, disks: readonly PlacedDisk[]): readonly BlockDevice[] {
  return disks.flatMap((placed) =>
    endsOf(view, instance, placed).flatMap(({ role, device }) => (role === "primary" ? [device] : [])),
  );
}

/** Of a mirrored disk it is the volume on the primary node that is held. */
async function snapshotsOf(
  ctx: ExecContext,
  view: ConfigView,
  instance: Instance,
  disks: readonly PlacedDisk[],
): Promise<readonly BlockDevice[]> {
  const snapshots: BlockDevice[] = [];
  for (const [index, device] of primaryDevices(view, instance, disks).entries()) {
    ctx.feedback.step(`creating a snapshot of disk/${index}`);
    const [data = device] = device.children;
    const step = ctx.step(`snapshot/${index}`);
    const { primaryNode } = instance;
    const snapshot = await ctx
      .node(primaryNode)
      .blockDevices.snapshot({ step, device: data, name: undefined, sizeMib: data.sizeMib }, { signal: ctx.signal });
    await ctx.undo(undoStep("remove-block-device", onDevice(primaryNode, snapshot)));
    snapshots.push(snapshot);
  }
  return snapshots;
}

interface CopyAll {
  readonly view: ConfigView;
  readonly instance: Instance;
  readonly source: Node;
  readonly target: Node;
  readonly disks: readonly PlacedDisk[];
  readonly copies: readonly BlockDevice[];
  readonly compress: string;
}

/** By the OS definition's export script; as they are when the instance has no OS. */
async function copyAll(ctx: ExecContext, all: CopyAll): Promise<void> {
  const { view, instance, source, target, disks, copies, compress } = all;
  await ctx.undo(undoStep("remove-unfinished-export", { node: target.uuid, instanceName: instance.name }));
  for (const { index, disk } of disks) {
    const device = copies[index];
    if (device === undefined) throw new OpExecError(`disk/${index} of ${instance.name} has no copy to be exported`);
    ctx.feedback.step(`exporting disk/${index} from ${source.name} to ${target.name}`);
    const file: TransferEnd = {
      end: { $case: "file", value: { instanceName: instance.name, file: disk.uuid } },
    };
    await copyContents(ctx, {
      instanceName: instance.name,
      component: `disk${index}`,
      compress,
      from: { node: source, end: sourceEnd(view, instance, device, index) },
      to: { node: target, end: file },
    });
  }
}

function sourceEnd(view: ConfigView, instance: Instance, device: BlockDevice, index: number): TransferEnd {
  if (instance.os === "") return { end: { $case: "disk", value: { device } } };
  const request = osScriptRequest(view, instance, osParameterTexts(view, instance));
  return { end: { $case: "script", value: { instance: { ...request, step: undefined }, device, index } } };
}

async function removeSnapshots(ctx: ExecContext, node: Node, snapshots: readonly BlockDevice[]): Promise<void> {
  for (const [index, device] of snapshots.entries()) {
    const request = { step: ctx.step(`remove-snapshot/${index}`), device };
    const failure = await failureOf(ctx, () =>
      ctx.node(node.uuid).blockDevices.remove(request, { signal: ctx.signal }),
    );
    if (failure !== undefined)
      ctx.feedback.warning(
        `Could not remove the snapshot ${device.logicalId.join("/")} on ${node.name}: ${failure.message}`,
      );
  }
}

async function removeInstance(ctx: ExecContext, instance: Instance, ignoreFailures: boolean): Promise<void> {
  ctx.feedback.step(`removing instance ${instance.name}`);
  const view = ctx.config;
  const failure = await failureOf(ctx, () => removeDisks(ctx, view, instance, placedDisks(view, instance)));
  if (failure !== undefined) {
    if (!ignoreFailures) throw failure;
    ctx.feedback.warning(`Could not remove the disks of ${instance.name}, going on as asked: ${failure.message}`);
  }
  await ctx.commit((now) => removeInstanceRows(now, instance.uuid));
}
