/** An instance that comes from another cluster: what the other one has proved, and how its disks are received. */
import { isIPv6 } from "node:net";
import { OpExecError, OpPrereqError } from "@gannet/errors";
import type { Instance, Node } from "@gannet/objects";
import type { InstanceCreate, Op } from "@gannet/opcodes";
import type { TransferEnd } from "@gannet/rpc";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { checkCertificate, checkHandshake, signCertificate, signTarget } from "../backup/cluster-trust.ts";
import type { PlacedDisk } from "./disk-ends.ts";
import { knownNode } from "./lookups.ts";
import { blockDeviceMessage } from "./messages.ts";
import { osScriptRequest } from "./os-request.ts";
import { newTransferKey, removeTransferKey } from "./transfer-keys.ts";
import { CONNECT_TIMEOUT_S, forget, newMagic, outcome } from "./transfer-steps.ts";

type CreateOp = Op<typeof InstanceCreate>;

/** An instance of a cluster that shares this one's domain secret. */
export interface RemoteSource {
  readonly kind: "cluster";
  /** Its name there. */
  readonly name: string;
  /** Whose owner alone may connect, PEM. */
  readonly certificatePem: string;
  /** How long it may take there to be shut down, before which nothing is sent. */
  readonly shutdownTimeoutS: number;
}

/** The longest that an agent waits for a connection. */
const LONGEST_CONNECT_TIMEOUT_S = 3600;

/**
 * @throws OpPrereqError: wrong_input for what is missing, or not signed with the cluster domain secret, or not valid
 *   now; environment_error when the cluster has no domain secret
 */
export async function remoteSource(ctx: PrereqContext, op: CreateOp): Promise<RemoteSource> {
  const { source_handshake: greeting, source_x509_ca: certificate, source_instance_name: name } = op;
  const refuseMissing = (what: string): never => {
    throw new OpPrereqError(`Missing ${what}: the source cluster's prepare-export answers it`, "wrong_input");
  };
  if (greeting == null || greeting.length === 0) return refuseMissing("source handshake (source_handshake)");
  if (certificate == null) return refuseMissing("source X509 CA (source_x509_ca)");
  if (name == null) return refuseMissing("source instance name (source_instance_name)");
  if (op.disks.length === 0)
    throw new OpPrereqError("The disks of the instance are missing: name their sizes (disks)", "wrong_input");
  const secret = await ctx.domainSecret();
  checkHandshake(secret, greeting);
  const certificatePem = checkCertificate(secret, certificate, "source");
  return { kind: "cluster", name, certificatePem, shutdownTimeoutS: op.source_shutdown_timeout };
}

/**
 * Listen for each disk's contents, tell the client where in an entry of the job's log, and wait until all have come.
 * @throws OpExecError when one does not: what has been made of the instance is undone
 */
export async function receiveDisks(
  ctx: ExecContext,
  instance: Instance,
  disks: readonly PlacedDisk[],
  source: RemoteSource,
  { parameters, compress }: { readonly parameters: Readonly<Record<string, string>>; readonly compress: string },
): Promise<void> {
  const secret = await ctx.domainSecret();
  const primary = knownNode(ctx.config, instance.primaryNode);
  const key = await newTransferKey(ctx, primary, ctx.step("remote-import/certificate"));
  const { name: keyName, certificatePem } = key;
  const receiving: Receiver[] = [];
  try {
    for (const placed of disks)
      receiving.push(await startReceiver(ctx, { instance, primary, placed, source, parameters, compress, keyName }));
    const targets = receiving.map(({ port, magic }, index) =>
      signTarget(secret, index, { host: primary.primaryIp, port, magic }),
    );
    ctx.feedback.step(`waiting for ${source.name}, disks ${disks.map(({ index }) => index).join(", ")}`);
    ctx.feedback.entry("remote-import", { disks: targets, x509_ca: signCertificate(secret, certificatePem) });
    const ends = await Promise.all(receiving.map(({ name }) => outcome(ctx, primary.uuid, name, () => undefined)));
    const problems = ends.flatMap(({ problem }, index) => (problem === "" ? [] : [`disk/${index}: ${problem}`]));
    if (problems.length > 0)
      throw new OpExecError(`The disks of ${source.name} were not received by ${primary.name}; ${problems.join("; ")}`);
  } finally {
    for (const [index, { name }] of receiving.entries())
      await forget(ctx, primary, name, ctx.step(`remote-import/forget/${index}`));
    await removeTransferKey(ctx, key, ctx.step("remote-import/remove-certificate"));
  }
}

interface Receiver {
  /** The transfer's, on its node. */
  readonly name: string;
  readonly port: number;
  readonly magic: string;
}

async function startReceiver(
  ctx: ExecContext,
  parts: {
    readonly instance: Instance;
    readonly primary: Node;
    readonly placed: PlacedDisk;
    readonly source: RemoteSource;
    readonly parameters: Readonly<Record<string, string>>;
    readonly compress: string;
    readonly keyName: string;
  },
): Promise<Receiver> {
  const { instance, primary, source, compress, keyName } = parts;
  const { index, disk } = parts.placed;
  const view = ctx.config;
  const address = primary.primaryIp;
  const device = blockDeviceMessage(view, instance, disk, index, primary.uuid);
  const request = { ...osScriptRequest(view, instance, parts.parameters), step: undefined };
  const target: TransferEnd =
    instance.os === ""
      ? { end: { $case: "disk", value: { device } } }
      : { end: { $case: "script", value: { instance: request, device, index } } };
  const magic = newMagic();
  const options = {
    compress,
    magic,
    ipv6: isIPv6(address),
    // The other cluster shuts the instance down before it connects.
    connectTimeoutSeconds: Math.min(CONNECT_TIMEOUT_S + source.shutdownTimeoutS, LONGEST_CONNECT_TIMEOUT_S),
    keyName,
    peerCertificatePem: source.certificatePem,
  };
  const component = `remote-import${index}`;
  const { name } = await ctx
    .node(primary.uuid)
    .transfers.startImport(
      { step: ctx.step(component), options, instanceName: instance.name, component, target, address },
      { signal: ctx.signal },
    );
  await ctx.undo(undoStep("end-transfer", { node: primary.uuid, name }));
  const port = await listenPort(ctx, primary, name);
  return { name, port, magic };
}

async function listenPort(ctx: ExecContext, node: Node, name: string): Promise<number> {
  for await (const { transfers } of ctx.node(node.uuid).transfers.follow({ names: [name] }, { signal: ctx.signal }))
    for (const state of transfers) {
      if (state.listenPort !== 0) return state.listenPort;
      if (state.over) throw new OpExecError(`${node.name} does not listen: ${state.problem}`);
    }
  throw new OpExecError(`The node ${node.name} stopped telling of the transfer ${name}`);
}
