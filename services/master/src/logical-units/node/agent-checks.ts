/** What agents are asked before a node is taken into the cluster's service, or its addresses change. */
import { GannetError, OpPrereqError } from "@gannet/errors";
import type { Node } from "@gannet/objects";
import type { NodeClient, NodeState } from "@gannet/rpc";
import type { PrereqContext } from "../../executor/context.ts";
import { type AgentTarget, agentAddress } from "../../nodes/node-directory.ts";
import { GANNET_VERSION, worksWith } from "../../version.ts";

/**
 * Ask an agent by a connection of its own.
 * @param reason - "is brought back from offline": why it is asked, for the message
 * @throws OpPrereqError (wrong_state) when it does not answer, or its version does not fit the master's
 */
export async function answeringAgent(ctx: PrereqContext, target: AgentTarget, reason: string): Promise<NodeState> {
  const state = await withAgent(ctx, target, (agent) =>
    agent.node.describe({ knownStorage: false }, { signal: ctx.signal }),
  ).catch((error: unknown) => {
    if (!(error instanceof GannetError)) throw error;
    throw new OpPrereqError(`Node ${target.name} ${reason} and does not answer: ${error.message}`, "wrong_state", {
      cause: error,
    });
  });
  if (worksWith(state.agentVersion)) return state;
  throw new OpPrereqError(
    `Node ${target.name} ${reason} and runs version ${state.agentVersion}, which does not fit the master's ` +
      `${GANNET_VERSION}; install the same on both`,
    "wrong_state",
  );
}

/** Use an agent by a connection of its own, which is closed afterwards. */
export async function withAgent<T>(
  ctx: PrereqContext,
  target: AgentTarget,
  work: (agent: NodeClient) => Promise<T>,
): Promise<T> {
  const agent = ctx.agentAt(target);
  try {
    return await work(agent);
  } finally {
    agent.close();
  }
}

/** How a node's agent is reached, whatever the node's role. */
export function agentOf(node: Node): AgentTarget {
  return { name: node.name, address: agentAddress(node) };
}

/**
 * An address of a node must be on it, and be reached from the master's address of the same network.
 * @param agent - of the node
 * @throws OpPrereqError (environment_error)
 */
export async function checkReplicationAddress(
  ctx: PrereqContext,
  agent: NodeClient,
  { name, address, port }: { readonly name: string; readonly address: string; readonly port: number },
): Promise<void> {
  const { foreign } = await agent.node.checkAddresses({ own: [address], peers: [], from: "" }, { signal: ctx.signal });
  if (foreign.length > 0)
    throw new OpPrereqError(`Node ${name} does not have the address ${address}`, "environment_error");
  const master = ctx.config.nodes.get(ctx.config.cluster.masterNode);
  if (master === undefined || master.name === name) return;
  const request = { own: [], peers: [{ address, port }], from: master.secondaryIp };
  const { silent } = await ctx.node(master.uuid).node.checkAddresses(request, { signal: ctx.signal });
  if (silent.length > 0)
    throw new OpPrereqError(
      `The address ${address} of node ${name} is not reached from ${master.secondaryIp} of the master`,
      "environment_error",
    );
}

/** TCP port of a node's agent. */
export function portOf({ address }: AgentTarget): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}
