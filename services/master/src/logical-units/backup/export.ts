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
import { assembleDisks, releaseDisks, removeDisks } from "../instance/disk-steps.ts";
import { resumeGuest, stopGuest } from "../instance/guest-steps.ts";
import { runHelper } from "../instance/helper-machine.ts";
import { removeInstanceRows } from "../instance/instance-rows.ts";
import { diskNodeLocks, instanceLock } from "../instance/locks.ts";
import { isRunning, knownInstance, knownNode, onlinePrimary } from "../instance/lookups.ts";
import { osParameterTexts, osScriptRequest } from "../instance/os-request.ts";
import { removeTransferKey } from "../instance/transfer-keys.ts";
import { checkCompression, copyContents } from "../instance/transfer-steps.ts";
import { describeExport } from "./export-description.ts";
import { remoteTarget, sendDisks } from "./remote-target.ts";
import { removeOtherExports } from "./remove.ts";
import { planZeroing } from "./zeroing.ts";

type ExportOp = Op<typeof BackupExport>;

interface LocalTarget {
  readonly kind: "node";
  readonly node: Node;
}

/**
 * Copies the disks of an instance: into a folder of a node, with a description from which it can be made again, or to
 * another cluster, which makes an instance of them.
 */
export const backupExport = implement(BackupExport, {
  locks(op, view) {
    const instance = view.findInstance(op.instance_name);
    return [
      instanceLock(view, op.instance_name),
      ...(op.mode === "local" ? [exclusive.all("node")] : []),
      ...(instance === undefined ? [] : diskNodeLocks(view, instance).filter(({ level }) => level === "node-res")),
    ];
  },

  async checkPrereq(ctx, op) {
    const instance = knownInstance(ctx.config, op.instance_name);
    const source = onlinePrimary(ctx.config, instance);
    checkCompression(ctx.config, op.compress);
    const target = op.mode === "local" ? localTarget(ctx.config, op) : await remoteTarget(ctx, op, instance);
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
    const zeroing = await planZeroing(ctx, instance, op, { isUp, running });
    return { instance, source, target, running, snapshots, zeroing };
  },

  hooks(view, op, { instance, source, target }) {
    const nodes = withMaster(view, source.uuid, ...(target.kind === "node" ? [target.node.uuid] : []));
    return instanceHooks(view, "instance-export", instance, {
      environment: {
        EXPORT_MODE: op.mode,
        ...(target.kind === "node" ? { EXPORT_NODE: target.node.name } : {}),
        EXPORT_DO_SHUTDOWN: op.shutdown,
        SHUTDOWN_TIMEOUT: op.shutdown_timeout,
        REMOVE_INSTANCE: op.remove_instance,
      },
      ...{ pre: nodes, post: nodes },
    });
  },

  async exec(ctx, op, { instance, source, target, running, snapshots, zeroing }) {
    const view = ctx.config;
    if (target.kind === "cluster")
      await ctx.undo(undoStep("remove-certificate", { node: source.uuid, name: target.keyName }));
    const stops = running && op.shutdown;
    if (stops) {
      ctx.feedback.step(`shutting down instance ${instance.name}`);
      await ctx.undo(undoStep("start-instance", { instance: instance.uuid }));
      await stopGuest(ctx, instance, op.shutdown_timeout);
    }
    if (!instance.disksActive) await assembleDisks(ctx, view, instance);
    if (zeroing !== null) await runHelper(ctx, instance, zeroing.helper, zeroing);
    const disks = placedDisks(view, instance);
    const copies = snapshots ? await snapshotsOf(ctx, view, instance, disks) : primaryDevices(view, instance, disks);
    const startsAgain = stops && !op.remove_instance;
    if (startsAgain && snapshots) await start(ctx, instance);

    const ends = disks.map(({ index }) => sourceEnd(view, instance, copies[index], index));
    if (target.kind === "node")
      await exportToNode(ctx, target.node, { view, instance, source, disks, ends, compress: op.compress });
    else await sendDisks(ctx, target, { instanceName: instance.name, source, ends, compress: op.compress });
    // While it is still known that it has to be.
    if (startsAgain && !snapshots) await start(ctx, instance);
    // The export is there, whatever becomes of the rest.
    await ctx.pointOfNoReturn();
    if (target.kind === "cluster")
      await removeTransferKey(ctx, { node: source, name: target.keyName }, ctx.step("remove-certificate"));
    if (snapshots) await removeSnapshots(ctx, source, copies);
    if (!instance.disksActive && !op.remove_instance) await releaseDisks(ctx, view, instance);
    if (op.remove_instance) await removeInstance(ctx, instance, op.ignore_remove_failures);
    if (target.kind === "node") await removeOtherExports(ctx, instance.name, target.node);
    return [true, disks.map(() => true)] as [boolean, boolean[]];
  },
});

/** The node that keeps the export. @throws OpPrereqError: wrong_input, unknown_entity, wrong_state */
function localTarget(view: ConfigView, op: ExportOp): LocalTarget {
  if (op.target_node_uuid === null && typeof op.target_node !== "string")
    throw new OpPrereqError("An export within the cluster goes to one node: name it (target_node)", "wrong_input");
  const node = knownNode(view, op.target_node_uuid ?? String(op.target_node));
  if (node.offline || node.drained)
    throw new OpPrereqError(
      `Node ${node.name} cannot keep the export: it is ${node.offline ? "offline" : "drained"}`,
      "wrong_state",
    );
  return { kind: "node", node };
}

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

interface LocalExport {
  readonly view: ConfigView;
  readonly instance: Instance;
  readonly source: Node;
  readonly disks: readonly PlacedDisk[];
  /** Where each disk's contents come from. */
  readonly ends: readonly TransferEnd[];
  readonly compress: string;
}

/** Into the node's folder of exports, with the description. */
async function exportToNode(ctx: ExecContext, target: Node, exported: LocalExport): Promise<void> {
  const { view, instance, source, disks, ends, compress } = exported;
  await ctx.undo(undoStep("remove-unfinished-export", { node: target.uuid, instanceName: instance.name }));
  for (const [index, end] of ends.entries()) {
    ctx.feedback.step(`exporting disk/${index} from ${source.name} to ${target.name}`);
    const file = disks[index]?.disk.uuid ?? "";
    await copyContents(ctx, {
      instanceName: instance.name,
      component: `disk${index}`,
      compress,
      from: { node: source, end },
      to: { node: target, end: { end: { $case: "file", value: { instanceName: instance.name, file } } } },
    });
  }
  const description = describeExport(view, {
    instance,
    source: source.name,
    compression: compress,
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
}

/** By the OS definition's export script; as it is when the instance has no OS. */
function sourceEnd(view: ConfigView, instance: Instance, device: BlockDevice | undefined, index: number): TransferEnd {
  if (device === undefined) throw new OpExecError(`disk/${index} of ${instance.name} has no copy to be exported`);
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
