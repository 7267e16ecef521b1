/** The live state in the form that @gannet/query reads. */
import type { StorageType } from "@gannet/objects";
import type { LiveInstance, LiveNode, LiveValues } from "@gannet/query";
import type { NodeState } from "@gannet/rpc";
import type { LiveState, NodeLiveState } from "./live-state-contract.ts";

export function liveValuesOf(live: Pick<LiveState, "node" | "instance">): LiveValues {
  return {
    node: (uuid) => {
      const { reachable, node, os } = live.node(uuid);
      return reachable && node !== undefined ? liveNode(node, os) : undefined;
    },
    instance: ({ name, primaryNode }) => {
      const seen = live.instance(name, primaryNode);
      if (seen === undefined) return undefined;
      const { status, memoryMib, vcpus } = seen.state;
      return { node: seen.node, status: status as LiveInstance["status"], memoryMib, vcpus };
    },
    // Only its agent knows a console; the console resource asks it, and no list shows one.
    console: () => undefined,
  };
}

function liveNode(node: NodeState, os: NodeLiveState["os"]): LiveNode {
  return {
    bootId: node.bootId,
    memoryTotalMib: node.memoryTotalMib,
    memoryFreeMib: node.memoryFreeMib,
    memoryNodeMib: node.memoryNodeMib,
    cpuTotal: node.cpuTotal,
    cpuSockets: node.cpuSockets,
    cpuNumaNodes: node.cpuNumaNodes,
    cpuNode: node.cpuNode,
    storage: node.storage.map((space) => ({ ...space, type: space.type as StorageType })),
    os,
    extStorage: node.extStorage,
  };
}
