/** The other cluster of a remote export: what it has proved, and how an instance's disks are sent to it. */
import { isIPv6 } from "node:net";
import { OpExecError, OpPrereqError } from "@gannet/errors";
import type { Instance, Node } from "@gannet/objects";
import type { BackupExport, Op } from "@gannet/opcodes";
import type { TransferEnd } from "@gannet/rpc";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { CONNECT_TIMEOUT_S, forget, outcome, teller } from "../instance/transfer-steps.ts";
import { checkCertificate, checkName, checkTarget, type DiskTarget } from "./cluster-trust.ts";

/** What the client has brought from the cluster that takes the instance. */
export interface RemoteTarget {
  readonly kind: "cluster";
  /** Of the key that was made on the instance's node for this export. */
  readonly keyName: string;
  /** Whose owner alone is sent anything, PEM. */
  readonly certificatePem: string;
  /** Of each disk. */
  readonly disks: readonly DiskTarget[];
}

/**
 * @throws OpPrereqError: wrong_input for what is missing, or not signed with the cluster domain secret, or not valid
 *   now; environment_error when the cluster has no domain secret
 */
export async function remoteTarget(
  ctx: PrereqContext,
  op: Op<typeof BackupExport>,
  instance: Instance,
): Promise<RemoteTarget> {
  const refuse = (text: string): never => {
    throw new OpPrereqError(text, "wrong_input");
  };
  const { x509_key_name: signedName, destination_x509_ca: certificate, target_node: targets } = op;
  if (signedName == null || signedName.length === 0)
    return refuse("Missing X509 key name for encryption (x509_key_name): prepare-export answers it");
  if (certificate == null)
    return refuse("Missing destination X509 CA (destination_x509_ca): the target's job log has it");
  if (!Array.isArray(targets) || targets.length !== instance.disks.length)
    return refuse(
      `Received destination information for only ${Array.isArray(targets) ? targets.length : 0} disks, but instance ` +
        `${instance.name} has ${instance.disks.length} disks`,
    );
  const secret = await ctx.domainSecret();
  return {
    kind: "cluster",
    keyName: checkName(secret, signedName),
    certificatePem: checkCertificate(secret, certificate, "destination"),
    disks: targets.map((target, index) => checkTarget(secret, index, target)),
  };
}

export interface DiskSending {
  readonly instanceName: string;
  readonly source: Node;
  readonly ends: readonly TransferEnd[];
  readonly compress: string;
}

/**
 * Send all disks at once: the other cluster waits for each of them, and not for long.
 * @throws OpExecError telling what became of those that were not sent
 */
export async function sendDisks(ctx: ExecContext, target: RemoteTarget, sending: DiskSending): Promise<void> {
  const { source, ends } = sending;
  const names: string[] = [];
  try {
    for (const [index, end] of ends.entries()) names.push(await startSending(ctx, target, sending, { index, end }));
    const outcomes = await Promise.all(
      names.map((name, index) => outcome(ctx, source.uuid, name, teller(ctx, `disk/${index}`))),
    );
    const problems = outcomes.flatMap(({ problem }, index) => (problem === "" ? [] : [`disk/${index}: ${problem}`]));
    if (problems.length > 0) throw new OpExecError(`Export failed on ${source.name}; ${problems.join("; ")}`);
    for (const [index, { transferredMib }] of outcomes.entries())
      ctx.feedback.info(`disk/${index} has been sent, ${transferredMib.toFixed(0)} MiB`);
  } finally {
    for (const [index, name] of names.entries())
      await forget(ctx, source, name, ctx.step(`remote-export/forget/${index}`));
  }
}

async function startSending(
  ctx: ExecContext,
  target: RemoteTarget,
  { instanceName, source, compress }: DiskSending,
  { index, end }: { readonly index: number; readonly end: TransferEnd },
): Promise<string> {
  const { host, port, magic } = target.disks[index] ?? { host: "", port: 0, magic: "" };
  const component = `remote-export${index}`;
  ctx.feedback.step(`sending disk/${index} from ${source.name} to ${host}:${port}`);
  const { name } = await ctx.node(source.uuid).transfers.startExport(
    {
      step: ctx.step(component),
      options: {
        compress,
        magic,
        ipv6: isIPv6(host),
        connectTimeoutSeconds: CONNECT_TIMEOUT_S,
        keyName: target.keyName,
        peerCertificatePem: target.certificatePem,
      },
      instanceName,
      component,
      source: end,
      host,
      port,
    },
    { signal: ctx.signal },
  );
  await ctx.undo(undoStep("end-transfer", { node: source.uuid, name }));
  return name;
}
