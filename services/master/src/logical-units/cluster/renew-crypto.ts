import { ClusterRenewCrypto } from "@gannet/opcodes";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";

/**
 * Certificates are issued where the cluster's authority is, which no logical unit reaches, and agents read theirs when
 * they start. What remains of the operation is one that is asked for nothing.
 */
export const clusterRenewCrypto = implement(ClusterRenewCrypto, {
  unavailable(op) {
    if (op.node_certificates)
      return "node_certificates: issue them where the cluster's authority is, and restart the agents";
    return op.renew_ssh_keys ? "renew_ssh_keys: nodes hold no SSH keys of the cluster" : undefined;
  },

  locks: () => [exclusive.all("node")],
  checkPrereq: () => undefined,

  async exec(ctx) {
    ctx.feedback.info("Neither certificates nor keys were asked for: nothing was renewed");
    return null;
  },
});
