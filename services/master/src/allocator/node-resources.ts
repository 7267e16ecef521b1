/** What the nodes have left, asked of them: what they last told may be older than the last guest's start. */
import type { AllocatorLive, AllocatorNodeLive } from "@gannet/allocator";
import { NodeUnreachable } from "@gannet/errors";
import type { NodeUuid, StorageType } from "@gannet/objects";
import type { NodeState } from "@gannet/rpc";
import type { PrereqContext } from "../executor/context.ts";

/** One that takes longer takes no new instance either. */
const PATIENCE_MS = 5_000;

/** Every usable node is asked at once; the values of those that do not answer are missing. */
export async function nodeResources(
  ctx: Pick<PrereqContext, "config" | "live" | "node" | "signal">,
  storageType: StorageType,
): Promise<AllocatorLive> {
  const usable = [...ctx.config.nodes.values()].filter(
    ({ uuid, offline, vmCapable }) => !offline && vmCapable && ctx.live.node(uuid).reachable,
  );
  const states = new Map<NodeUuid, NodeState | undefined>(
    await Promise.all(usable.map(async ({ uuid }) => [uuid, await stateOf(ctx, uuid)] as const)),
  );
  return {
    storageType,
    node: ({ uuid }) => {
      const state = states.get(uuid);
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
    return await ctx.node(uuid).node.describe({}, { signal: ctx.signal, timeoutMs: PATIENCE_MS });
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
