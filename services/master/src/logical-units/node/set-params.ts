import type { ConfigChange } from "@gannet/config-store";
import { candidatePool, type Node, type Parameters } from "@gannet/objects";
import { NodeSetParams } from "@gannet/opcodes";
import type { ExecContext } from "../../executor/context.ts";
import { exclusive, shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { withMaster } from "../../hooks/hook-plan.ts";
import { isAskedByWatcher, overtaken } from "../../watcher/watcher-jobs.ts";
import { tellHostsFiles } from "../cluster/hosts-files.ts";
import { knownNode } from "../instance/lookups.ts";
import { agentOf, answeringAgent } from "./agent-checks.ts";
import { setUpOpenvswitch } from "./openvswitch.ts";
import { checkNewSecondaryIp, replicatedInstances } from "./secondary-ip.ts";
import { mayDemote, type NodeChange, planNodeChange } from "./set-params-plan.ts";

export const nodeSetParams = implement(NodeSetParams, {
  locks(op, view) {
    const node = view.findNode(op.node_uuid ?? op.node_name);
    if (node === undefined) return [];
    const instances = op.secondary_ip ? replicatedInstances(view, node) : [];
    return [
      ...instances.map(({ name }) => shared.instance(name)),
      ...(op.auto_promote && mayDemote(op)
        ? [exclusive.all("node"), exclusive.all("node-res")]
        : [exclusive.node(node.uuid), exclusive.nodeRes(node.uuid)]),
    ];
  },

  async checkPrereq(ctx, op) {
    const node = knownNode(ctx.config, op.node_uuid ?? op.node_name);
    if (isAskedByWatcher(op) && ctx.live.node(node.uuid).reachable) throw overtaken(`node ${node.name} answers again`);
    const change = planNodeChange(ctx.config, node, op);
    if (change.leavesOffline) await answeringAgent(ctx, agentOf(node), "is brought back from offline");
    if (!op.secondary_ip) return change;
    const text = await checkNewSecondaryIp(ctx, node, { address: op.secondary_ip, force: op.force });
    return text === undefined ? change : { ...change, notes: [...change.notes, { kind: "warning", text } as const] };
  },

  hooks(view, op, { node }) {
    const { master_candidate, offline, drained, master_capable, vm_capable } = op;
    const nodes = withMaster(view, node.uuid);
    const environment = {
      OP_TARGET: node.name,
      MASTER_CANDIDATE: master_candidate ?? null,
      OFFLINE: offline ?? null,
      DRAINED: drained ?? null,
      MASTER_CAPABLE: master_capable ?? null,
      VM_CAPABLE: vm_capable ?? null,
    };
    return { path: "node-modify", object: "NODE", environment, pre: nodes, post: nodes };
  },

  async exec(ctx, op, { node, notes, fields, leavesOffline }) {
    for (const { kind, text } of notes) ctx.feedback[kind](text);
    const after = { ...node, ...fields };
    if (asksForSwitch(op.ndparams) && after.vmCapable && !after.offline) await setUpOpenvswitch(ctx, ctx.config, after);
    let promoted: readonly Node[] = [];
    let results: NodeChange["results"] = [];
    // Planned anew: other candidates may have gone meanwhile, whose nodes are not locked here.
    await ctx.commit((view): readonly ConfigChange[] => {
      const row = knownNode(view, node.uuid);
      const change = planNodeChange(view, row, op);
      results = change.results;
      promoted = change.fillsPool ? candidatePool(view.cluster, view.nodes.values(), [row.uuid]).promoted : [];
      return [{ kind: "node", put: { ...row, ...change.fields } }, ...promotions(promoted)];
    });
    tellOfPromotions(ctx, promoted);
    // What changed while it was offline, it was not told.
    if (leavesOffline) await tellHostsFiles(ctx);
    return results;
  },
});

function asksForSwitch(ndparams: Parameters | null | undefined): boolean {
  return Object.keys(ndparams ?? {}).some((name) => name === "ovs" || name.startsWith("ovs_"));
}

/** Nodes that become master candidates. */
export function promotions(nodes: readonly Node[]): readonly ConfigChange[] {
  return nodes.map((node) => ({ kind: "node", put: { ...node, masterCandidate: true } }));
}

export function tellOfPromotions(ctx: ExecContext, nodes: readonly Node[]): void {
  if (nodes.length === 0) return;
  ctx.feedback.info(`Promoted to master candidates: ${nodes.map(({ name }) => name).join(", ")}`);
}
