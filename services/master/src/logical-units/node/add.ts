import { randomUUID } from "node:crypto";
import { lookup } from "node:dns/promises";
import { OpPrereqError } from "@gannet/errors";
import type { ConfigView, Node, NodeUuid } from "@gannet/objects";
import { NodeAdd } from "@gannet/opcodes";
import type { NodeState } from "@gannet/rpc";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { joiningChanges } from "../../membership/node-certificates.ts";
import { tellHostsFiles } from "../cluster/hosts-files.ts";
import { type AddOp, memberBefore, plannedNode } from "./add-plan.ts";
import { agentOf, answeringAgent, checkReplicationAddress, portOf, withAgent } from "./agent-checks.ts";
import { setUpOpenvswitch } from "./openvswitch.ts";

/** As the cluster's `primary_ip_family` has it (address_families(7)). */
const AF_INET6 = 10;

/** The node's agent must be set up: it proves by its certificate that it is one of this cluster's. */
export const nodeAdd = implement(NodeAdd, {
  unavailable: (op) => (op.node_setup ? "node_setup: install the agent with a certificate of the cluster" : undefined),

  locks: () => [exclusive.bigLock],

  async checkPrereq(ctx, op) {
    const before = memberBefore(ctx.config, op);
    const primaryIp = op.primary_ip ?? before?.primaryIp ?? (await addressOf(ctx.config, op.node_name));
    const joining = { uuid: randomUUID() as NodeUuid, primaryIp, now: ctx.now() };
    const node = plannedNode(ctx.config, op, joining);
    const target = agentOf(node);
    const state = await answeringAgent(ctx, target, op.readd ? "is to be readded" : "is to be added");
    await checkReplication(ctx, node);
    return { node, joining, state };
  },

  hooks(view, _op, { node }) {
    const { uuid, name, primaryIp, secondaryIp, masterCapable, vmCapable } = node;
    const others = [...view.nodes.keys()].filter((other) => other !== uuid);
    const environment = {
      OP_TARGET: name,
      NODE_NAME: name,
      NODE_PIP: primaryIp,
      NODE_SIP: secondaryIp,
      MASTER_CAPABLE: masterCapable,
      VM_CAPABLE: vmCapable,
    };
    return { path: "node-add", object: "NODE", environment, pre: others, post: [...others, uuid] };
  },

  async exec(ctx, op, { node, joining, state }) {
    tellOfHypervisors(ctx, node, state);
    if (node.vmCapable) await setUpOpenvswitch(ctx, ctx.config, node);
    await ctx.commit((view) => joiningChanges(ctx.certificates, view, plannedNode(view, op, joining)));
    if (node.masterCandidate) ctx.feedback.info("Node will be a master candidate");
    tellOfReadding(ctx, op, node);
    await tellHostsFiles(ctx);
    return null;
  },
});

async function addressOf({ cluster }: ConfigView, name: string): Promise<string> {
  const { address } = await lookup(name, { family: cluster.primaryIpFamily === AF_INET6 ? 6 : 4 }).catch(
    (cause: Error) => {
      throw new OpPrereqError(
        `The name ${name} does not resolve (${cause.message}); name the node's address (primary_ip)`,
        "resolver_error",
        { cause },
      );
    },
  );
  return address;
}

async function checkReplication(ctx: PrereqContext, node: Node): Promise<void> {
  if (node.secondaryIp === node.primaryIp) return;
  const target = agentOf(node);
  const place = { name: node.name, address: node.secondaryIp, port: portOf(target) };
  await withAgent(ctx, target, (agent) => checkReplicationAddress(ctx, agent, place));
}

/** A node may join before everything is installed on it; instances are not placed where it matters. */
function tellOfHypervisors(ctx: ExecContext, node: Node, { hypervisors }: NodeState): void {
  if (!node.vmCapable) return;
  for (const enabled of ctx.config.cluster.enabledHypervisors) {
    const facts = hypervisors.find(({ name }) => name === enabled);
    const problem = facts === undefined ? "its agent does not serve it" : facts.problem;
    if (problem !== "") ctx.feedback.warning(`Node ${node.name} cannot run guests of ${enabled}: ${problem}`);
  }
}

function tellOfReadding(ctx: ExecContext, { readd }: AddOp, { name }: Node): void {
  if (readd) ctx.feedback.info(`Readding node ${name}, the offline/drained flags were reset`);
}
