/** Setting up the Open vSwitch of a node whose parameters ask for one (`ndparams`: ovs, ovs_name, ovs_link). */
import { type ConfigView, filledNdparams, type Node } from "@gannet/objects";
import type { ExecContext } from "../../executor/context.ts";
import { agentOf, withAgent } from "./agent-checks.ts";

/**
 * Before the node's row is written: what a node cannot do it is not made to promise. A switch that there is stays as it
 * is, so that nothing need be undone.
 */
export async function setUpOpenvswitch(ctx: ExecContext, view: ConfigView, node: Node): Promise<void> {
  const group = view.groups.get(node.group);
  const { ovs, ovs_name, ovs_link } = filledNdparams(view.cluster, { ndparams: group?.ndparams ?? {} }, node);
  if (ovs !== true) return;
  const name = String(ovs_name ?? "");
  const link = String(ovs_link ?? "");
  if (link === "")
    ctx.feedback.warning(`The switch ${name} of node ${node.name} has no link (ovs_link): it leads nowhere outside`);
  const request = { step: ctx.step("configure-openvswitch"), name, link };
  await withAgent(ctx, agentOf(node), async (agent) => {
    await agent.node.configureOpenvswitch(request, { signal: ctx.signal });
  });
}
