/** The guests of a node that nobody watches, because it is marked offline. */
import { NodeUnreachable } from "@gannet/errors";
import { type InstanceState, type NodeClient, OBSERVER_EPOCH } from "@gannet/rpc";

/** More than is waited for: what counts is the snapshot, which comes at once. */
const HEARTBEAT_MS = 60_000;

/** All of which its agent knows anything, those that have ended, too. @throws NodeUnreachable */
export async function guestsOn(
  agent: Pick<NodeClient, "node" | "nodeName">,
  signal: AbortSignal,
): Promise<readonly InstanceState[]> {
  const enough = new AbortController();
  const updates = agent.node.watch(
    { epoch: OBSERVER_EPOCH, heartbeatMs: HEARTBEAT_MS },
    { signal: AbortSignal.any([signal, enough.signal]) },
  );
  try {
    for await (const { update } of updates) if (update?.$case === "snapshot") return update.value.instances;
  } finally {
    enough.abort();
  }
  throw new NodeUnreachable(agent.nodeName, "it does not say which guests it has");
}
