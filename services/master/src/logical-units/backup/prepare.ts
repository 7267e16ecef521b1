import { BackupPrepare } from "@gannet/opcodes";
import { implement } from "../../executor/logical-unit.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { instanceLock } from "../instance/locks.ts";
import { knownInstance, onlinePrimary } from "../instance/lookups.ts";
import { CERTIFICATE_VALIDITY_S, handshake, signCertificate, signName } from "./cluster-trust.ts";

/**
 * What the other cluster of a remote export is to be given: a greeting, and the certificate of a key that is made for
 * this. An export inside the cluster needs nothing: its nodes know each other by the cluster's certificates.
 */
export const backupPrepare = implement(BackupPrepare, {
  locks: (op, view) => [instanceLock(view, op.instance_name)],

  async checkPrereq(ctx, op) {
    const node = onlinePrimary(ctx.config, knownInstance(ctx.config, op.instance_name));
    // Before anything is made: a cluster without a domain secret can prove nothing.
    if (op.mode === "remote") await ctx.domainSecret();
    return node;
  },

  async exec(ctx, op, node) {
    if (op.mode === "local") return null;
    const secret = await ctx.domainSecret();
    const { name, certificatePem } = await ctx
      .node(node.uuid)
      .transfers.createCertificate(
        { step: ctx.step("certificate"), validitySeconds: CERTIFICATE_VALIDITY_S },
        { signal: ctx.signal },
      );
    await ctx.undo(undoStep("remove-certificate", { node: node.uuid, name }));
    return {
      handshake: handshake(secret),
      x509_key_name: signName(secret, name),
      x509_ca: signCertificate(secret, certificatePem),
    };
  },
});
