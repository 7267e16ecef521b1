import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import { SSH_KEY_TYPES } from "../enums.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const ClusterRenewCrypto = defineOpcode({
  id: "OP_CLUSTER_RENEW_CRYPTO",
  doc: "Renew the cluster's certificates and keys.",
  params: {
    node_certificates: p.flag("Renew the nodes' certificates."),
    cluster_certificate: p.flag(
      "Replace the cluster's authority, and with it all certificates (not in Ganeti's opcode).",
    ),
    renew_ssh_keys: p.flag("Renew the nodes' SSH keys."),
    ssh_key_type: p.optional(z.enum(SSH_KEY_TYPES), "Type of the new SSH keys."),
    ssh_key_bits: p.optional(p.positive, "Length of the new SSH keys."),
    verbose: p.verbose,
    debug: p.flag("Report every command."),
  },
  result: r.nothing,
  summary: null,
  rapi: [],
  cli: command("cluster renew-crypto"),
  needsRoot: true,
});
