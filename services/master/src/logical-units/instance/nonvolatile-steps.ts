/**
 * What an instance's machine keeps while it is off, its UEFI variables and its TPM, goes where the instance goes and ends
 * with it. A live migration takes it along by itself; these are the steps of operations that move it while it is off.
 */
import { type ConfigView, filledHvparams, type Instance, KEEPS_NONVOLATILE, type NodeUuid } from "@gannet/objects";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { removeNonvolatile } from "./nonvolatile-removal.ts";

type Steps = Pick<ExecContext, "config" | "node" | "step" | "feedback" | "signal">;

/** Whether it has UEFI variables or a TPM as its parameters are now. */
export function keepsNonvolatile({ cluster }: ConfigView, instance: Instance): boolean {
  const { uefi, vtpm } = filledHvparams(cluster, instance);
  return KEEPS_NONVOLATILE[instance.hypervisor] && (uefi === true || vtpm === true);
}

/** Nothing to do for an instance with neither. @throws what the agents throw; both nodes have what they had then */
export async function copyNonvolatile(ctx: Steps, instance: Instance, from: NodeUuid, to: NodeUuid): Promise<void> {
  if (from === to || !keepsNonvolatile(ctx.config, instance)) return;
  const { name, uuid, hypervisor } = instance;
  const { state } = await ctx.node(from).instances.readNonvolatile({ name, uuid, hypervisor }, { signal: ctx.signal });
  if (state.length === 0) return;
  ctx.feedback.step("carrying over the instance's UEFI variables and its TPM");
  const request = { step: ctx.step(`write-nonvolatile/${to}`), name, uuid, hypervisor, state };
  await ctx.node(to).instances.writeNonvolatile(request, { signal: ctx.signal });
}

/** A new instance gets it at its first start; if the operation fails nothing of the instance is to be left. */
export async function registerNonvolatile(ctx: ExecContext, instance: Instance): Promise<void> {
  if (!keepsNonvolatile(ctx.config, instance)) return;
  const { primaryNode: node, name, uuid, hypervisor } = instance;
  await ctx.undo(undoStep("remove-nonvolatile", { node, name, uuid, hypervisor }));
}

/** After the point from which on the instance is elsewhere, or nowhere. What a node does not let go of is told. */
export async function dropNonvolatile(ctx: ExecContext, instance: Instance, nodes: readonly NodeUuid[]): Promise<void> {
  if (!KEEPS_NONVOLATILE[instance.hypervisor]) return;
  for (const node of nodes) {
    const failure = await failureOf(ctx, () => removeNonvolatile(ctx, instance, node, `remove-nonvolatile/${node}`));
    if (failure === undefined) continue;
    const nodeName = ctx.config.nodes.get(node)?.name ?? node;
    ctx.feedback.warning(
      `UEFI variables and the TPM of ${instance.name}, if it has any, are left behind on ${nodeName}: ${failure.message}`,
    );
  }
}
