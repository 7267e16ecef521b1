/** Where an instance goes when it leaves its primary node, and whether it can live there. */

import { OpPrereqError } from "@gannet/errors";
import type { LockWish } from "@gannet/locking";
import { type ConfigView, DISK_TEMPLATE_TRAITS, type Instance, type Node } from "@gannet/objects";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { type HookEnvironment, type HookPlan, withMaster } from "../../hooks/hook-plan.ts";
import { usableNode } from "./create-plan.ts";
import { diskNodeLocks, instanceLock } from "./locks.ts";
import { checkMemory, knownNode, minimumMemoryMib } from "./lookups.ts";
import { instanceMessage } from "./messages.ts";
import { groupLocks, otherNode, releaseOtherNodes } from "./other-node.ts";
import { checkPolicy, useOf } from "./policy-check.ts";

/** What migration and failover have in common of their parameters. */
export interface RelocationOp {
  readonly instance_name: string;
  readonly target_node?: string | null | undefined;
  readonly target_node_uuid?: string | null | undefined;
  readonly iallocator?: string | null | undefined;
  readonly ignore_ipolicy: boolean;
  /** What an interrupted migration left is tidied up; its target is known. */
  readonly cleanup: boolean;
}

/** An instance, the node it leaves, and the node it goes to. */
export interface Relocation {
  readonly instance: Instance;
  readonly source: Node;
  readonly target: Node;
}

/** The instance, and the nodes that its disks are or will be used on (spec/locks.json, LUInstanceMigrate). */
export function relocationLocks(op: RelocationOp, view: ConfigView): readonly LockWish[] {
  const instance = view.findInstance(op.instance_name);
  if (instance === undefined) return [instanceLock(view, op.instance_name)];
  if (isAllocated(op, instance))
    return [instanceLock(view, op.instance_name), ...diskNodeLocks(view, instance), ...groupLocks(view, instance)];
  const target = view.findNode(op.target_node_uuid ?? op.target_node ?? "");
  const further = target === undefined || holdsDisks(view, instance, target) ? [] : [target.uuid];
  return [
    instanceLock(view, op.instance_name),
    ...diskNodeLocks(view, instance),
    ...further.flatMap((uuid) => [exclusive.node(uuid), exclusive.nodeRes(uuid)]),
  ];
}

/** Whether an allocator chooses the target: where every node sees the disks and none is named. */
function isAllocated(op: RelocationOp, { diskTemplate }: Instance): boolean {
  return (
    DISK_TEMPLATE_TRAITS[diskTemplate].mirroring === "external" &&
    !op.cleanup &&
    !op.target_node &&
    !op.target_node_uuid
  );
}

function holdsDisks(view: ConfigView, instance: Instance, { uuid }: Node): boolean {
  return uuid === instance.primaryNode || view.secondaryNodes(instance).includes(uuid);
}

/**
 * A mirrored instance goes to its secondary; one whose disks all nodes see goes to the node that is named, or that an
 * allocator chooses.
 * @param verb - "migrated", "failed over", for messages
 * @throws OpPrereqError when its disks let it go nowhere, or the target is missing or wrong
 */
export async function relocationOf(
  ctx: PrereqContext,
  instance: Instance,
  op: RelocationOp,
  verb: string,
): Promise<Relocation> {
  const view = ctx.config;
  const source = knownNode(view, instance.primaryNode);
  const { mirroring } = DISK_TEMPLATE_TRAITS[instance.diskTemplate];
  const name = op.target_node_uuid ?? op.target_node ?? null;
  const named = name === null ? undefined : knownNode(view, name);
  switch (mirroring) {
    case "none":
      throw new OpPrereqError(
        `Disks of template ${instance.diskTemplate} are on one node only: ${instance.name} cannot be ${verb}; move it`,
        "wrong_state",
      );
    case "internal": {
      const [secondary] = view.secondaryNodes(instance);
      if (secondary === undefined) throw new OpPrereqError(`${instance.name} has no secondary node`, "wrong_state");
      if (typeof op.iallocator === "string" || (named !== undefined && named.uuid !== secondary))
        throw new OpPrereqError(
          `Instances of disk template ${instance.diskTemplate} can only be ${verb} to their secondary node: ` +
            "name no allocator, and no other target",
          "wrong_input",
        );
      return { instance, source, target: knownNode(view, secondary) };
    }
    case "external":
      if (named !== undefined && typeof op.iallocator === "string")
        throw new OpPrereqError("Name either the target_node or an allocator (iallocator), not both", "wrong_input");
      if (named === undefined && op.cleanup)
        throw new OpPrereqError("Name the node that the migration went to (target_node)", "wrong_input");
      if (named === undefined) {
        const target = await otherNode(ctx, instance, { from: source, allocator: op.iallocator });
        return { instance, source, target };
      }
      if (named.uuid === source.uuid)
        throw new OpPrereqError(`${instance.name} is on node ${named.name} already`, "wrong_state");
      return { instance, source, target: named };
  }
}

/** What hooks are told of it. */
export function relocationEnvironment({ instance, source, target }: Relocation): HookEnvironment {
  const isMirrored = DISK_TEMPLATE_TRAITS[instance.diskTemplate].mirroring === "internal";
  return {
    OLD_PRIMARY: source.name,
    NEW_PRIMARY: target.name,
    OLD_SECONDARY: isMirrored ? target.name : "",
    NEW_SECONDARY: isMirrored ? source.name : "",
  };
}

/** Hooks run on the node that it leaves and on that to which it goes. */
export function everyNode(view: ConfigView, { instance, source, target }: Relocation): Pick<HookPlan, "pre" | "post"> {
  const nodes = withMaster(view, source.uuid, ...view.secondaryNodes(instance), target.uuid);
  return { pre: nodes, post: nodes };
}

/** Others may have the nodes that the allocator did not choose. */
export async function releaseRest(ctx: ExecContext, op: RelocationOp, relocation: Relocation): Promise<void> {
  const { instance, source, target } = relocation;
  if (isAllocated(op, instance)) await releaseOtherNodes(ctx, [source, target]);
}

/**
 * Whether the target may and can take the instance.
 * @param willRun - it is going to run there, so that its memory is needed
 * @throws OpPrereqError; NodeUnreachable
 */
export async function checkTarget(
  ctx: PrereqContext,
  { instance, target }: Relocation,
  { ignorePolicy, willRun }: { readonly ignorePolicy: boolean; readonly willRun: boolean },
): Promise<{ readonly memoryFreeMib: number }> {
  usableNode(ctx.config, target.name);
  if (!ignorePolicy) checkPolicy(ctx.config, target, useOf(ctx.config, instance));
  if (!willRun) return { memoryFreeMib: 0 };
  const agent = ctx.node(target.uuid);
  const message = instanceMessage(ctx.config, instance, target.uuid);
  const [state] = await Promise.all([
    agent.node.describe({ knownStorage: true }, { signal: ctx.signal }),
    agent.instances.validate({ instance: message }, { signal: ctx.signal }),
  ]);
  const memoryMib = minimumMemoryMib(ctx.config, instance);
  checkMemory(target, state, { instanceName: instance.name, memoryMib, reason: "taking over" });
  return state;
}
