/** Removing what an instance's machine keeps on a node while it is off: as a step, and as the undo of one. */
import type { Instance, NodeUuid } from "@gannet/objects";
import type { ExecContext } from "../../executor/context.ts";

/** @param step - names the call */
export async function removeNonvolatile(
  ctx: Pick<ExecContext, "node" | "step" | "signal">,
  { name, uuid, hypervisor }: Pick<Instance, "name" | "uuid" | "hypervisor">,
  node: NodeUuid,
  step: string,
): Promise<void> {
  const request = { step: ctx.step(step), name, uuid, hypervisor };
  await ctx.node(node).instances.removeNonvolatile(request, { signal: ctx.signal });
}
