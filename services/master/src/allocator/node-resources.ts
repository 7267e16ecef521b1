/** What the nodes have left: asked of them where guests are placed, for what they last told may be older than the last start. */
import type { AllocatorLive, AllocatorNodeLive } from "@gannet/allocator";
import { NodeUnreachable } from "@gannet/errors";
import type { Node, NodeUuid, StorageType } from "@gannet/objects";
import type { NodeState } from "@gannet/rpc";
import type { PrereqContext } from "../executor/context.ts";
import type { LiveState } from "../live-state/live-state-contract.ts";

/** One that takes longer takes no new instance either. */
const PATIENCE_MS = 5_000;

interface Known extends Pick<PrereqContext, "config"> {
  readonly live: Pick<LiveState, "node" | "instance">;
}

/** Every usable node is asked at once; the values of those that do not answer are missing. */
export async function nodeResources(
  ctx: Pick<PrereqContext, "config" | "live" | "node" | "signal">,
  storageType: StorageType,
): Promise<AllocatorLive> {
  const usable = [...ctx.config.nodes.values()].filter((node) => isUsable(ctx, node));
  const states = new Map<NodeUuid, NodeState | undefined>(
    await Promise.all(usable.map(async ({ uuid }) => [uuid, await stateOf(ctx, uuid)] as const)),
  );
  return resources(ctx, storageType, ({ uuid }) => states.get(uuid));
}

/** What the nodes last told by themselves: enough for a plan, which asks none. */
export function knownResources(ctx: Known, storageType: StorageType): AllocatorLive {
  return resources(ctx, storageType, (node) => (isUsable(ctx, node) ? ctx.live.node(node.uuid).node : undefined));
}

function isUsable({ live }: Known, { uuid, offline, vmCapable }: Node): boolean {
  return !offline && vmCapable && live.node(uuid).reachable;
}

function resources(
  ctx: Known,
  storageType: StorageType,
  stateOf: (node: Node) => NodeState | undefined,
): AllocatorLive {
  return {
    storageType,
    node: (node) => {
      const state = stateOf(node);
      return state === undefined ? undefined : liveOf(state, storageType, ctx.config.cluster.volumeGroupName);
    },
    guestMemoryMib: ({ name, primaryNode }) => {
      const seen = ctx.live.instance(name, primaryNode);
      return seen === undefined || seen.state.status === "shutdown" ? undefined : seen.state.memoryMib;
    },
  };
}

async function stateOf(ctx: Pick<PrereqContext, "node" | "signal">, uuid: NodeUuid): Promise<NodeState | undefined> {
  try {
    return await ctx.node(uuid).node.describe({ knownStorage: false }, { signal: ctx.signal, timeoutMs: PATIENCE_MS });
  } catch (error) {
    if (error instanceof NodeUnreachable) return undefined;
    throw error;
  }
}

function liveOf(state: NodeState, storageType: StorageType, volumeGroup: string): AllocatorNodeLive {
  const unit = state.storage.find(
    ({ type, name }) => type === storageType && (type !== "lvm-vg" || name === volumeGroup),
  );
  const spindles = state.storage.find(({ type, name }) => type === "lvm-pv" && name === volumeGroup);
  return {
    memoryTotalMib: state.memoryTotalMib,
    memoryFreeMib: state.memoryFreeMib,
    memoryNodeMib: state.memoryNodeMib,
    diskTotalMib: unit?.totalMib ?? 0,
    diskFreeMib: unit?.freeMib ?? 0,
    spindlesTotal: spindles?.totalMib ?? 0,
    spindlesFree: spindles?.freeMib ?? 0,
    cpuTotal: state.cpuTotal,
    cpuNode: state.cpuNode,
  };
}
