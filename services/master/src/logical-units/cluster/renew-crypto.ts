import { OpExecError, OpPrereqError } from "@gannet/errors";
import { ClusterRenewCrypto } from "@gannet/opcodes";
import type { ExecContext } from "../../executor/context.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { changePhase } from "../../membership/cluster-authority.ts";
import type { NodeCertificates } from "../../membership/node-certificates.ts";
import { mastersFollow } from "./masters-follow.ts";
import { onEachNode, tellTrust, type UntoldNode } from "./trust.ts";

const PATIENCE_MS = 60_000;

/**
 * The authority changes in three phases, each of which ends in the configuration: all trust both, then all have
 * certificates of the new one, then nobody trusts the old one. So no call fails on the way, and who takes it up after a
 * failure or the death of the leader goes on where it was.
 */
export const clusterRenewCrypto = implement(ClusterRenewCrypto, {
  unavailable: (op) => (op.renew_ssh_keys ? "renew_ssh_keys: nodes hold no SSH keys of the cluster" : undefined),

  locks: () => [exclusive.all("node")],

  checkPrereq(ctx, op) {
    if (!op.cluster_certificate && !op.node_certificates) return undefined;
    const { certificates } = ctx;
    if (certificates === undefined)
      throw new OpPrereqError("This master looks after no certificates", "environment_error");
    return { certificates, authority: certificates.authority.issuing };
  },

  async exec(ctx, op, prereq) {
    if (prereq === undefined) {
      ctx.feedback.info("Neither certificates nor keys were asked for: nothing was renewed");
      return null;
    }
    const { certificates } = prereq;
    if (op.cluster_certificate || changePhase(ctx.config.cluster) !== "none") await changeAuthority(ctx, certificates);
    else await renewNodes(ctx, certificates, { which: "all" });
    return null;
  },
});

async function changeAuthority(ctx: ExecContext, certificates: NodeCertificates): Promise<void> {
  const { authority, identity } = certificates;
  if (changePhase(ctx.config.cluster) === "none") {
    ctx.feedback.step("making a new authority, which all trust beside the old one");
    const next = await authority.successor();
    await ctx.commit(({ cluster }) =>
      changePhase(cluster) === "none" ? [{ kind: "cluster", put: { ...cluster, authority: next } }] : [],
    );
  }
  await identity.follow(ctx.config.cluster);
  refuseIncomplete(await tellTrust(ctx, certificates), "were not told of the new authority");
  const newest = certificates.newestOf(ctx.config.cluster.authority?.trusted ?? []);
  if (changePhase(ctx.config.cluster) === "trusting") {
    await mastersFollow(ctx, certificates, ({ trusted }) => trusted.includes(newest));
    await ctx.commit(({ cluster }) => {
      if (cluster.authority === undefined || changePhase(cluster) !== "trusting") return [];
      return [{ kind: "cluster", put: { ...cluster, authority: { ...cluster.authority, issuer: newest } } }];
    });
    await identity.follow(ctx.config.cluster);
  }
  await renewNodes(ctx, certificates, { which: "due" });
  await mastersFollow(ctx, certificates, ({ issuer }) => issuer === newest);
  ctx.feedback.step("ending the trust in the old authority");
  await ctx.commit(({ cluster }) => {
    if (cluster.authority === undefined) return [];
    const trusted = cluster.authority.trusted.slice(0, 1);
    return [{ kind: "cluster", put: { ...cluster, authority: { ...cluster.authority, trusted } } }];
  });
  await identity.follow(ctx.config.cluster);
  for (const { node, failure } of await tellTrust(ctx, certificates))
    ctx.feedback.warning(
      `Node ${node.name} still trusts the old authority; it is told when it can be: ${failure.message}`,
    );
  for (const { name, offline } of ctx.config.nodes.values())
    if (offline) ctx.feedback.warning(`Node ${name} is offline and keeps the old authority: it has to join anew`);
  ctx.feedback.info("Clients that trust the cluster's authority need the new one, which is in ca.pem of the masters");
}

/** @param which - all, or those whose certificate ends soon or is of another authority than the one that issues */
async function renewNodes(
  ctx: ExecContext,
  certificates: NodeCertificates,
  { which }: { readonly which: "all" | "due" },
): Promise<void> {
  ctx.feedback.step("renewing the nodes' certificates");
  const failures = await onEachNode(ctx, async (node) => {
    const agent = ctx.node(node.uuid);
    const signal = AbortSignal.any([ctx.signal, AbortSignal.timeout(PATIENCE_MS)]);
    // A leader that has just begun may not have seen its certificate yet.
    if (certificates.seen(node.name) === undefined) await agent.node.describe({ knownStorage: true }, { signal });
    // It is shown when a connection is made; where one was open already it stays unknown, and is renewed.
    if (which === "due" && certificates.seen(node.name) !== undefined && !certificates.isDue(node.name)) return;
    const issued = await certificates.renew(agent, node, { epoch: ctx.epoch, signal });
    await ctx.commit((view) => {
      const row = view.nodes.get(node.uuid);
      if (row === undefined) return [];
      return [{ kind: "node", put: { ...row, certificates: [...(row.certificates ?? []), issued] } }];
    });
  });
  refuseIncomplete(failures, "have no new certificates");
}

function refuseIncomplete(failures: readonly UntoldNode[], what: string): void {
  if (failures.length === 0) return;
  const nodes = failures.map(({ node, failure }) => `${node.name} (${failure.message})`).join(", ");
  throw new OpExecError(
    `Some nodes ${what}: ${nodes}. Everything works as before; run this again when they answer, or after marking them offline`,
  );
}
