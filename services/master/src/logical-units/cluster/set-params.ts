import { randomUUID } from "node:crypto";
import { type CandidatePool, type ConfigView, candidatePool, type NetworkUuid } from "@gannet/objects";
import { ClusterSetParams } from "@gannet/opcodes";
import type { ExecContext } from "../../executor/context.ts";
import { shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { masterHooks } from "../../hooks/cluster-hooks.ts";
import { newPolicyViolations } from "../group/policy-violations.ts";
import { promotions, tellOfPromotions } from "../node/set-params.ts";
import { changedCluster, type SetParamsOp } from "./cluster-changes.ts";
import { refuse, refuseConsequences } from "./cluster-consequences.ts";
import { withCommunicationNetwork } from "./communication-network.ts";
import { tellHostsFiles } from "./hosts-files.ts";
import { commitWithMasterAddress } from "./master-address-move.ts";
import { nodeFindings, refuseUnknownAllocator } from "./node-suitability.ts";

export const clusterSetParams = implement(ClusterSetParams, {
  locks: () => [shared.all("instance"), shared.all("nodegroup"), shared.all("node")],

  async checkPrereq(ctx, op) {
    const { cluster, notes } = changedCluster(op, ctx.config.cluster);
    refuseConsequences(op, ctx.config, cluster);
    await refuseUnknownAllocator(ctx, op);
    const { reasons, warnings } = await nodeFindings(ctx, op, cluster);
    if (!op.force) refuse(reasons, "wrong_state");
    return {
      identity: { uuid: randomUUID() as NetworkUuid, now: ctx.now() },
      notes,
      warnings: [...warnings, ...reasons, ...newPolicyViolations(ctx.config, { cluster })],
    };
  },

  hooks: (view, op) => masterHooks(view, "cluster-modify", "CLUSTER", { NEW_VG_NAME: op.vg_name }),

  async exec(ctx, op, { identity, notes, warnings }) {
    for (const note of notes) ctx.feedback.info(note);
    for (const warning of warnings) ctx.feedback.warning(warning);
    let pool: CandidatePool | null = null;
    const commit = () =>
      ctx.commit((view) => {
        pool = poolAfter(op, view);
        return [
          { kind: "cluster", put: changedCluster(op, view.cluster).cluster },
          ...promotions(pool?.promoted ?? []),
          ...(op.instance_communication_network
            ? withCommunicationNetwork(view, op.instance_communication_network, identity)
            : []),
        ];
      });
    await commitWithMasterAddress(ctx, op, commit);
    tellOfCandidates(ctx, pool);
    if (op.modify_etc_hosts) await tellHostsFiles(ctx);
    return null;
  },
});

/** Who becomes a master candidate because there are to be more; those beyond the wanted number stay what they are. */
function poolAfter(op: SetParamsOp, view: ConfigView): CandidatePool | null {
  const { candidate_pool_size: candidatePoolSize } = op;
  return candidatePoolSize === null ? null : candidatePool({ candidatePoolSize }, view.nodes.values());
}

function tellOfCandidates(ctx: ExecContext, pool: CandidatePool | null): void {
  if (pool === null) return;
  tellOfPromotions(ctx, pool.promoted);
  if (pool.candidates > pool.wanted)
    ctx.feedback.info(`More nodes are master candidates (${pool.candidates}) than desired (${pool.wanted})`);
}
