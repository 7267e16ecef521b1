/**
 * What can be undone, by name. An undo list outlives the process that wrote it, so each action takes plain
 * data that it parses again, is idempotent, and succeeds when there is nothing left to undo.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { ConfigChange } from "@gannet/config-store";
import { NodeUnreachable, OpExecError } from "@gannet/errors";
import type { UndoStep } from "@gannet/job-ledger";
import {
  ADMIN_STATE_SOURCES,
  ADMIN_STATES,
  type ConfigView,
  diskUuid,
  HYPERVISORS,
  instanceUuid,
  type NodeUuid,
  nodeUuid,
} from "@gannet/objects";
import { BlockDevice } from "@gannet/rpc";
import { z } from "zod";
import { activateMasterAddress, masterAddress } from "../logical-units/cluster/master-address.ts";
import { plugDisk } from "../logical-units/instance/device-plugging.ts";
import { diskShape, reshapedDisks } from "../logical-units/instance/disk-rows.ts";
import { removeDiskRows, removeInstanceRows, withInstance } from "../logical-units/instance/instance-rows.ts";
import { instanceMessage, withoutSecret } from "../logical-units/instance/messages.ts";
import { settleMigration } from "../logical-units/instance/migration-settling.ts";
import { removeNonvolatile } from "../logical-units/instance/nonvolatile-removal.ts";
import { reconnectDisks, restoreVolumes, standBySecondaries } from "../logical-units/instance/volume-restoring.ts";
import type { ExecContext } from "./context.ts";

/** How long a node may be unreachable before its part of an undo list is given up. */
const PATIENCE_MS = 60_000;
const RETRY_MS = 500;

/** The part of an opcode's context that undoing needs. */
export type UndoContext = Pick<
  ExecContext,
  "config" | "commit" | "node" | "step" | "feedback" | "logger" | "live" | "signal"
>;

interface UndoAction<Args> {
  readonly args: z.ZodType<Args>;
  /** `step` names the call on the node; it differs from every step of the opcode itself. */
  run(ctx: UndoContext, args: Args, step: string): Promise<void>;
}

function action<Args>(args: z.ZodType<Args>, run: UndoAction<Args>["run"]): UndoAction<Args> {
  return { args, run };
}

/** What undoing something on one node's disk needs: the device as its message's own JSON has it. */
const deviceOnNode = z.object({ node: nodeUuid, device: z.unknown() });

/**
 * A disk of one node, to be written into an undo list: in a form that is read back whole, and without the secret of a
 * DRBD disk, by which nothing is undone.
 */
export function onDevice(node: NodeUuid, device: BlockDevice): z.infer<typeof deviceOnNode> {
  return { node, device: BlockDevice.toJSON(withoutSecret(device)) };
}

const UNDO_ACTIONS = {
  "remove-block-device": action(deviceOnNode, async (ctx, { node, device }, step) => {
    await ctx
      .node(node)
      .blockDevices.remove({ step: ctx.step(step), device: BlockDevice.fromJSON(device) }, { signal: ctx.signal });
  }),

  /** One that holds secrets. */
  "erase-block-device": action(deviceOnNode, async (ctx, { node, device: json }, step) => {
    const device = BlockDevice.fromJSON(json);
    const { blockDevices } = ctx.node(node);
    if (!(await blockDevices.status({ device }, { signal: ctx.signal })).exists) return;
    const whole = { step: ctx.step(`${step}/wipe`), device, offsetMib: 0, sizeMib: device.sizeMib };
    await blockDevices.wipe(whole, { signal: ctx.signal });
    await blockDevices.remove({ step: ctx.step(`${step}/remove`), device }, { signal: ctx.signal });
  }),

  /** Unless an instance has the disk by now: then the operation was done. */
  "remove-unused-device": action(deviceOnNode, async (ctx, { node, device: json }, step) => {
    const device = BlockDevice.fromJSON(json);
    if (isDiskOfInstance(ctx.config, device.uuid)) return;
    await ctx.node(node).blockDevices.remove({ step: ctx.step(step), device }, { signal: ctx.signal });
  }),

  "shutdown-block-device": action(deviceOnNode, async (ctx, { node, device }, step) => {
    await ctx
      .node(node)
      .blockDevices.shutdown({ step: ctx.step(step), device: BlockDevice.fromJSON(device) }, { signal: ctx.signal });
  }),

  /** `device` as it is named now; `logicalId` is what it was. */
  "rename-block-device": action(
    deviceOnNode.extend({ logicalId: z.array(z.string()) }),
    async (ctx, { node, device, logicalId }, step) => {
      const request = { step: ctx.step(step), device: BlockDevice.fromJSON(device), logicalId };
      await ctx.node(node).blockDevices.rename(request, { signal: ctx.signal });
    },
  ),

  "resume-sync": action(deviceOnNode, async (ctx, { node, device }, step) => {
    const request = { step: ctx.step(step), device: BlockDevice.fromJSON(device), paused: false };
    await ctx.node(node).blockDevices.pauseSync(request, { signal: ctx.signal });
  }),

  "restore-volumes": action(
    deviceOnNode.extend({ aside: z.array(z.array(z.string())) }),
    async (ctx, { node, device, aside }, step) => {
      await restoreVolumes(ctx, { node, device: BlockDevice.fromJSON(device), aside }, step);
    },
  ),

  "reconnect-disks": action(z.object({ instance: instanceUuid }), async (ctx, { instance: uuid }, step) => {
    const instance = ctx.config.instances.get(uuid);
    if (instance !== undefined) await reconnectDisks(ctx, instance, step);
  }),

  "settle-migration": action(
    z.object({ instance: instanceUuid, source: nodeUuid, target: nodeUuid }),
    async (ctx, { instance: uuid, source, target }, step) => {
      const instance = ctx.config.instances.get(uuid);
      if (instance !== undefined) await settleMigration(ctx, { instance, source, target }, step);
    },
  ),

  "stop-instance": action(
    z.object({ node: nodeUuid, name: z.string(), hypervisor: z.string() }),
    async (ctx, { node, name, hypervisor }, step) => {
      const stop = { step: ctx.step(step), name, hypervisor, force: true, timeoutMs: 0 };
      const { asOfMs } = await ctx.node(node).instances.stop(stop, { signal: ctx.signal });
      ctx.live.noteInstanceGone(node, name, asOfMs);
    },
  ),

  /** What the machine of a new instance has kept. */
  "remove-nonvolatile": action(
    z.object({ node: nodeUuid, name: z.string(), uuid: instanceUuid, hypervisor: z.enum(HYPERVISORS) }),
    async (ctx, { node, ...instance }, step) => removeNonvolatile(ctx, instance, node, step),
  ),

  /** A machine that worked on an instance's disks, while its own disk is there: the instance itself may run after it. */
  "end-helper": action(
    deviceOnNode.extend({ name: z.string(), hypervisor: z.string() }),
    async (ctx, { node, device: json, name, hypervisor }, step) => {
      const device = BlockDevice.fromJSON(json);
      const { blockDevices, instances } = ctx.node(node);
      if (!(await blockDevices.status({ device }, { signal: ctx.signal })).exists) return;
      const stop = { step: ctx.step(`${step}/stop`), name, hypervisor, force: true, timeoutMs: 0 };
      const { asOfMs } = await instances.stop(stop, { signal: ctx.signal });
      ctx.live.noteInstanceGone(node, name, asOfMs);
      await blockDevices.remove({ step: ctx.step(`${step}/remove`), device }, { signal: ctx.signal });
    },
  ),

  /** It was stopped for the time of an operation. */
  "start-instance": action(z.object({ instance: instanceUuid }), async (ctx, { instance: uuid }, step) => {
    const row = ctx.config.instances.get(uuid);
    if (row === undefined || row.adminState !== "up") return;
    await standBySecondaries(ctx, row, step);
    const request = { step: ctx.step(step), instance: instanceMessage(ctx.config, row), paused: false };
    const state = await ctx.node(row.primaryNode).instances.start(request, { signal: ctx.signal });
    ctx.live.noteInstance(row.primaryNode, state);
  }),

  "end-transfer": action(z.object({ node: nodeUuid, name: z.string() }), async (ctx, { node, name }, step) => {
    await ctx.node(node).transfers.end({ step: ctx.step(step), names: [name] }, { signal: ctx.signal });
  }),

  "remove-certificate": action(z.object({ node: nodeUuid, name: z.string() }), async (ctx, { node, name }, step) => {
    await ctx.node(node).transfers.removeCertificate({ step: ctx.step(step), name }, { signal: ctx.signal });
  }),

  "remove-unfinished-export": action(
    z.object({ node: nodeUuid, instanceName: z.string() }),
    async (ctx, { node, instanceName }, step) => {
      const request = { step: ctx.step(step), export: instanceName, unfinishedOnly: true };
      await ctx.node(node).transfers.removeExport(request, { signal: ctx.signal });
    },
  ),

  "activate-master-address": action(masterAddress, async (ctx, where, step) => {
    await activateMasterAddress(ctx, where, ctx.step(step));
  }),

  "remove-instance-rows": action(z.object({ instance: instanceUuid }), async (ctx, { instance }) => {
    await ctx.commit((view) => removeInstanceRows(view, instance));
  }),

  /** What was reserved and became real is only reserved again: its disks go by other steps. */
  "reserve-again": action(z.object({ instance: instanceUuid }), async (ctx, { instance }) => {
    const reserved = { forthcoming: true, adminState: "down", adminStateSource: "admin", disksActive: false } as const;
    await ctx.commit((view) => withInstance(view, instance, (row) => ({ ...row, ...reserved })));
  }),

  /** Of disks that no instance has. */
  "remove-disk-rows": action(z.object({ disks: z.array(diskUuid) }), async (ctx, { disks }) => {
    await ctx.commit((view) =>
      removeDiskRows(
        view,
        disks.filter((uuid) => !isDiskOfInstance(view, uuid)),
      ),
    );
  }),

  /** Into the running guest again, where the instance still has it. */
  "plug-disk": action(z.object({ instance: instanceUuid, disk: diskUuid }), async (ctx, { instance, disk }, step) => {
    const row = ctx.config.instances.get(instance);
    const found = ctx.config.disks.get(disk);
    if (row === undefined || found === undefined || !row.disks.includes(disk)) return;
    await plugDisk(ctx, row, found, ctx.step(step));
  }),

  "set-memory": action(
    z.object({ node: nodeUuid, name: z.string(), hypervisor: z.string(), memoryMib: z.int() }),
    async (ctx, { node, ...request }, step) => {
      await ctx.node(node).instances.setMemory({ step: ctx.step(step), ...request }, { signal: ctx.signal });
    },
  ),

  /** Where disks were, and which node was their instance's primary. */
  "restore-disks": action(
    z.object({ instance: instanceUuid, primaryNode: nodeUuid, shapes: z.array(diskShape) }),
    async (ctx, { instance, primaryNode, shapes }) => {
      await ctx.commit((view) => [
        ...reshapedDisks(view, shapes),
        ...withInstance(view, instance, (row) => ({ ...row, primaryNode })),
      ]);
    },
  ),

  /** An instance's name, and the places of those of its disks that bear it. */
  "restore-names": action(
    z.object({
      instance: instanceUuid,
      name: z.string(),
      disks: z.array(z.object({ disk: diskUuid, logicalId: z.array(z.union([z.string(), z.int()])) })),
    }),
    async (ctx, { instance, name, disks }) => {
      await ctx.commit((view) => [
        ...withInstance(view, instance, (row) => ({ ...row, name })),
        ...disks.flatMap(({ disk, logicalId }): ConfigChange[] => {
          const row = view.disks.get(disk);
          return row === undefined ? [] : [{ kind: "disk", put: { ...row, logicalId } }];
        }),
      ]);
    },
  ),

  "set-admin-state": action(
    z.object({
      instance: instanceUuid,
      adminState: z.enum(ADMIN_STATES),
      adminStateSource: z.enum(ADMIN_STATE_SOURCES),
      disksActive: z.boolean(),
    }),
    async (ctx, { instance, ...state }) => {
      await ctx.commit((view) => withInstance(view, instance, (row) => ({ ...row, ...state })));
    },
  ),
};

function isDiskOfInstance(view: ConfigView, uuid: string): boolean {
  return [...view.instances.values()].some(({ disks }) => disks.some((each) => each === uuid));
}

type UndoActionName = keyof typeof UNDO_ACTIONS;
type ArgsOf<Name extends UndoActionName> = (typeof UNDO_ACTIONS)[Name] extends UndoAction<infer Args> ? Args : never;

/** An entry for an opcode's undo list. */
export function undoStep<Name extends UndoActionName>(name: Name, args: ArgsOf<Name>): UndoStep {
  return { action: name, args: args as Readonly<Record<string, unknown>> };
}

/**
 * Undo what an opcode had done, last step first. A step that cannot be undone is told in the job's log and
 * does not keep the others from being undone.
 *
 * @returns what could not be undone, in words
 * @throws the reason of the context's signal once it is aborted: the next leader undoes it all
 */
export async function runUndo(ctx: UndoContext, steps: readonly UndoStep[]): Promise<readonly string[]> {
  const problems: string[] = [];
  for (const [index, step] of [...steps.entries()].reverse()) {
    try {
      await patiently(ctx, () => undoOne(ctx, step, `undo/${index}/${step.action}`));
    } catch (error) {
      ctx.signal.throwIfAborted();
      const text = `Could not undo "${step.action}": ${error instanceof Error ? error.message : String(error)}`;
      problems.push(text);
      ctx.logger.error({ err: error, step }, text);
      ctx.feedback.warning(text);
    }
  }
  return problems;
}

/** An agent that was killed is back within seconds: a node that cannot be reached is asked again for a while. */
async function patiently(ctx: UndoContext, undo: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      await undo();
      return;
    } catch (error) {
      if (!(error instanceof NodeUnreachable) || ctx.signal.aborted || performance.now() > deadline) throw error;
      ctx.logger.info({ node: error.node }, "undo waits for the node to be reachable again");
      await delay(RETRY_MS, undefined, { signal: ctx.signal });
    }
  }
}

async function undoOne(ctx: UndoContext, step: UndoStep, name: string): Promise<void> {
  if (!Object.hasOwn(UNDO_ACTIONS, step.action)) throw new OpExecError(`No undo action is named "${step.action}"`);
  const known: UndoAction<unknown> = UNDO_ACTIONS[step.action as UndoActionName] as UndoAction<unknown>;
  await known.run(ctx, known.args.parse(step.args), name);
}
