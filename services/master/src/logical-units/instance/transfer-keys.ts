/**
 * Keys that nodes make for single transfers. Each end is told of the other's certificate and takes no other: one of the
 * cluster's authority is not enough, be it revoked or not (socat(1) knows no lists of revoked ones).
 */
import type { Node } from "@gannet/objects";
import type { Step } from "@gannet/rpc";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { CERTIFICATE_VALIDITY_S } from "../backup/cluster-trust.ts";

export interface TransferKey {
  readonly node: Node;
  /** By which its node knows it. */
  readonly name: string;
  readonly certificatePem: string;
}

/** The key is taken back when the job fails. */
export async function newTransferKey(ctx: ExecContext, node: Node, step: Step): Promise<TransferKey> {
  const request = { step, validitySeconds: CERTIFICATE_VALIDITY_S };
  const { name, certificatePem } = await ctx
    .node(node.uuid)
    .transfers.createCertificate(request, { signal: ctx.signal });
  await ctx.undo(undoStep("remove-certificate", { node: node.uuid, name }));
  return { node, name, certificatePem };
}

/** One that cannot be removed is told of. */
export async function removeTransferKey(
  ctx: ExecContext,
  { node, name }: Pick<TransferKey, "node" | "name">,
  step: Step,
): Promise<void> {
  const failure = await failureOf(ctx, () =>
    ctx.node(node.uuid).transfers.removeCertificate({ step, name }, { signal: ctx.signal }),
  );
  if (failure !== undefined)
    ctx.feedback.warning(`The key of this transfer is left on ${node.name} until it expires: ${failure.message}`);
}
