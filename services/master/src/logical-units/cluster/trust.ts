/** Telling all nodes whom the cluster trusts. */
import type { Node } from "@gannet/objects";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import type { NodeCertificates } from "../../membership/node-certificates.ts";

const PATIENCE_MS = 30_000;

export interface UntoldNode {
  readonly node: Node;
  readonly failure: Error;
}

/** @returns the nodes that could not be told, of those that are not marked offline */
export async function tellTrust(ctx: ExecContext, certificates: NodeCertificates): Promise<readonly UntoldNode[]> {
  const told = await onEachNode(ctx, (node) => {
    const call = { epoch: ctx.epoch, signal: AbortSignal.any([ctx.signal, AbortSignal.timeout(PATIENCE_MS)]) };
    return certificates.tellTrust(ctx.node(node.uuid), ctx.config.cluster, call);
  });
  return told;
}

/** Do something with each node that is not marked offline. @returns those with which it failed */
export async function onEachNode(
  ctx: ExecContext,
  work: (node: Node) => Promise<unknown>,
): Promise<readonly UntoldNode[]> {
  const nodes = [...ctx.config.nodes.values()].filter(({ offline }) => !offline);
  const outcomes = await Promise.all(
    nodes.map(async (node) => ({ node, failure: await failureOf(ctx, () => work(node)) })),
  );
  return outcomes.flatMap(({ node, failure }) => (failure === undefined ? [] : [{ node, failure }]));
}
