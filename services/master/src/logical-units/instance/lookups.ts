/** Prerequisites that many instance operations share. */
import { OpPrereqError } from "@gannet/errors";
import { type ConfigView, filledBeparams, type Instance, type Node } from "@gannet/objects";
import { isRunning as isRunningStatus, type LiveInstance } from "@gannet/query";
import type { InstanceState, NodeState } from "@gannet/rpc";
import type { PrereqContext } from "../../executor/context.ts";

/**
 * An instance that is more than a reservation.
 * @throws OpPrereqError: unknown_entity, or wrong_state for a forthcoming one
 */
export function knownInstance(view: ConfigView, name: string): Instance {
  const instance = knownOrForthcoming(view, name);
  if (instance.forthcoming)
    throw new OpPrereqError(
      `Instance ${instance.name} is forthcoming: it has its resources reserved and no disks yet. Make it real ` +
        "(create with commit) or remove it",
      "wrong_state",
    );
  return instance;
}

/** @throws OpPrereqError (unknown_entity) */
export function knownOrForthcoming(view: ConfigView, name: string): Instance {
  const instance = view.findInstance(name);
  if (instance === undefined) throw new OpPrereqError(`Instance '${name}' is not known`, "unknown_entity");
  return instance;
}

/** @throws OpPrereqError (unknown_entity) */
export function knownNode(view: ConfigView, name: string): Node {
  const node = view.findNode(name);
  if (node === undefined) throw new OpPrereqError(`Node '${name}' is not known`, "unknown_entity");
  return node;
}

/** The instance's primary node. @throws OpPrereqError (wrong_state) when it is marked offline */
export function onlinePrimary(view: ConfigView, instance: Instance): Node {
  const node = knownNode(view, instance.primaryNode);
  if (node.offline)
    throw new OpPrereqError(`Primary node ${node.name} of ${instance.name} is marked offline`, "wrong_state");
  return node;
}

/** @throws OpPrereqError (wrong_state) when the instance is marked offline */
export function notMarkedOffline(instance: Instance): void {
  if (instance.adminState === "offline")
    throw new OpPrereqError(
      `Instance ${instance.name} is marked offline; bring it back with modify and offline=false first`,
      "wrong_state",
    );
}

/** The nodes that hold the instance's disks. @throws OpPrereqError (wrong_state) when one is marked offline */
export function onlineDiskNodes(view: ConfigView, instance: Instance): readonly Node[] {
  return [instance.primaryNode, ...view.secondaryNodes(instance)].map((uuid) => {
    const node = knownNode(view, uuid);
    if (node.offline) throw new OpPrereqError(`Node ${node.name} of ${instance.name} is marked offline`, "wrong_state");
    return node;
  });
}

/**
 * The instance does not run, by what its agents say now.
 * @param undone - "the disks cannot be recreated", for the message
 * @throws OpPrereqError (wrong_state) when it runs, or is meant to; NodeUnreachable when nobody knows. What ran on a
 *   node that is marked offline is taken to be over.
 */
export async function notRunning(ctx: PrereqContext, instance: Instance, undone: string): Promise<void> {
  if (instance.adminState === "up")
    throw new OpPrereqError(`Instance ${instance.name} is marked to be running; ${undone}`, "wrong_state");
  if (ctx.config.nodes.get(instance.primaryNode)?.offline === true) return;
  const request = { name: instance.name, hypervisor: instance.hypervisor };
  const state = await ctx.node(instance.primaryNode).instances.state(request, { signal: ctx.signal });
  if (guestRuns(state)) throw new OpPrereqError(`Instance ${instance.name} is running; ${undone}`, "wrong_state");
}

/** Whether the instance's agent last said that its guest runs, be it paused. */
export function isRunning(ctx: Pick<PrereqContext, "live">, instance: Instance): boolean {
  const seen = ctx.live.instance(instance.name, instance.primaryNode);
  return seen !== undefined && guestRuns(seen.state);
}

/** One that has crashed does not, though something of it may be there still. */
export function guestRuns({ status }: Pick<InstanceState, "status">): boolean {
  return isRunningStatus({ status: status as LiveInstance["status"] });
}

/** What wants a node's memory, for the message. */
export interface WantedMemory {
  readonly instanceName: string;
  readonly memoryMib: number;
  /** "starting", "creating" */
  readonly reason: string;
}

/** Ask a node whether it has enough memory now. @throws OpPrereqError (insufficient_resources) */
export async function enoughMemory(ctx: PrereqContext, node: Node, wanted: WantedMemory): Promise<void> {
  checkMemory(node, await ctx.node(node.uuid).node.describe({ knownStorage: true }, { signal: ctx.signal }), wanted);
}

/** @throws OpPrereqError (insufficient_resources) */
export function checkMemory(node: Node, { memoryFreeMib }: NodeState, wanted: WantedMemory): void {
  if (memoryFreeMib >= wanted.memoryMib) return;
  throw new OpPrereqError(
    `Not enough memory on node ${node.name} for ${wanted.reason} instance ${wanted.instanceName}: ` +
      `needed ${wanted.memoryMib} MiB, available ${memoryFreeMib} MiB`,
    "insufficient_resources",
  );
}

/** Memory an instance needs at least to start, in MiB. */
export function minimumMemoryMib(view: ConfigView, instance: Instance): number {
  return Number(filledBeparams(view.cluster, instance).minmem);
}
