import { OpPrereqError } from "@gannet/errors";
import { NodePowercycle } from "@gannet/opcodes";
import { implement } from "../../executor/logical-unit.ts";
import { knownNode } from "../instance/lookups.ts";
import { agentOf, withAgent } from "./agent-checks.ts";

/** A last resort: it waits for no locks, and is tried on a node that is marked offline, too. */
export const nodePowercycle = implement(NodePowercycle, {
  locks: () => [],

  checkPrereq(ctx, op) {
    const node = knownNode(ctx.config, op.node_uuid ?? op.node_name);
    if (node.uuid === ctx.config.cluster.masterNode && !op.force)
      throw new OpPrereqError(`Node ${node.name} is the master; restart it with force`, "wrong_input");
    return node;
  },

  async exec(ctx, _op, node) {
    const [hypervisor = ""] = ctx.config.cluster.enabledHypervisors;
    const request = { step: ctx.step("powercycle"), hypervisor };
    const { message } = await withAgent(ctx, agentOf(node), (agent) =>
      agent.node.powercycle(request, { signal: ctx.signal }),
    );
    return message;
  },
});
