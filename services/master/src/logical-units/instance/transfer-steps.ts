/** Copying contents from one node to another, with the progress in the job's log. */
import { randomBytes } from "node:crypto";
import { isIPv6 } from "node:net";
import { OpExecError, OpPrereqError } from "@gannet/errors";
import type { ConfigView, Node, NodeUuid } from "@gannet/objects";
import { decodeParameters, type TransferEnd, type TransferState } from "@gannet/rpc";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { newTransferKey, removeTransferKey, type TransferKey } from "./transfer-keys.ts";

/** Where contents come from or go to. */
export interface CopyEnd {
  readonly node: Node;
  readonly end: TransferEnd;
}

export interface Copy {
  readonly instanceName: string;
  /** Names the copy in logs and steps: `disk0`. */
  readonly component: string;
  readonly from: CopyEnd;
  readonly to: CopyEnd;
  /** `none`, or a tool. */
  readonly compress: string;
}

/** spec/os-iallocator-hooks.json, `export_import.timeouts_s`. */
export const CONNECT_TIMEOUT_S = 180;
/** As long as its agent may take to begin sending (libs/rpc, deadlines). */
const COPY_TIMEOUT_S = 900;
const MAGIC_BYTES = 20;
const PROGRESS_EVERY_MS = 60_000;

/**
 * Copy, by way of the nodes' secondary addresses. It has succeeded when both ends say so: a receiver cannot tell a
 * sender that was killed from one that has sent everything.
 * @throws OpExecError telling what both ends said
 */
export async function copyContents(ctx: ExecContext, copy: Copy): Promise<void> {
  const { from, to, instanceName, component, compress } = copy;
  const address = to.node.secondaryIp;
  const options = {
    compress,
    magic: newMagic(),
    ipv6: isIPv6(address),
    connectTimeoutSeconds: isCopiedFirst(from.end) ? COPY_TIMEOUT_S : CONNECT_TIMEOUT_S,
  };
  const receiver = ctx.node(to.node.uuid).transfers;
  const sender = ctx.node(from.node.uuid).transfers;
  const steps = (what: string) => ctx.step(`copy/${component}/${what}`);
  const own = {
    receiver: await newTransferKey(ctx, to.node, steps("receivers-key")),
    sender: await newTransferKey(ctx, from.node, steps("senders-key")),
  };
  const knowing = (key: TransferKey, peer: TransferKey) => {
    return { ...options, keyName: key.name, peerCertificatePem: peer.certificatePem };
  };
  const { name: receiving } = await receiver.startImport(
    {
      ...{ step: steps("receive"), options: knowing(own.receiver, own.sender) },
      ...{ instanceName, component, target: to.end, address },
    },
    { signal: ctx.signal },
  );
  // What was copied to or from is undone after this: no program may have it open then.
  await ctx.undo(undoStep("end-transfer", { node: to.node.uuid, name: receiving }));
  let sending = "";
  try {
    const listening = Promise.withResolvers<number>();
    const received = outcome(ctx, to.node.uuid, receiving, ({ listenPort, over, problem }) => {
      if (listenPort !== 0) listening.resolve(listenPort);
      else if (over) listening.reject(new OpExecError(`${to.node.name} does not receive ${component}: ${problem}`));
    });
    received.catch(listening.reject);
    const started = await sender.startExport(
      {
        step: steps("send"),
        options: knowing(own.sender, own.receiver),
        instanceName,
        component,
        source: from.end,
        host: address,
        port: await listening.promise,
      },
      { signal: ctx.signal },
    );
    sending = started.name;
    await ctx.undo(undoStep("end-transfer", { node: from.node.uuid, name: sending }));
    const [last, sent] = await Promise.all([received, outcome(ctx, from.node.uuid, sending, teller(ctx, component))]);
    const problems = [
      { node: from.node, problem: sent.problem },
      { node: to.node, problem: last.problem },
    ].flatMap(({ node, problem }) => (problem === "" ? [] : [`${node.name}: ${problem}`]));
    if (problems.length > 0) throw new OpExecError(`Copying ${component} failed; ${problems.join("; ")}`);
    ctx.feedback.info(`${component} has been sent, ${sent.transferredMib.toFixed(0)} MiB`);
  } finally {
    await forget(ctx, to.node, receiving, steps("forget-receiver"));
    if (sending !== "") await forget(ctx, from.node, sending, steps("forget-sender"));
    await removeTransferKey(ctx, own.receiver, steps("forget-receivers-key"));
    await removeTransferKey(ctx, own.sender, steps("forget-senders-key"));
  }
}

/** Contents that are kept in a format of their own are copied out of it before they are sent. */
function isCopiedFirst({ end }: TransferEnd): boolean {
  const device = end?.$case === "disk" || end?.$case === "script" ? end.value.device : undefined;
  return device !== undefined && decodeParameters(device.params).format === "qcow2";
}

/** @throws OpPrereqError (wrong_input) for a tool that the cluster does not allow */
export function checkCompression({ cluster }: ConfigView, tool: string): void {
  if (tool === "none" || tool === "" || cluster.compressionTools.includes(tool)) return;
  throw new OpPrereqError(
    `${tool} is not among the cluster's compression tools: ${cluster.compressionTools.join(", ") || "(none)"}`,
    "wrong_input",
  );
}

/** What a sender says first, which nobody else knows. */
export function newMagic(): string {
  return randomBytes(MAGIC_BYTES).toString("hex");
}

/** Follow one transfer to its end. @throws OpExecError when its node stops telling before that */
export async function outcome(
  ctx: ExecContext,
  node: NodeUuid,
  name: string,
  tell: (state: TransferState) => void,
): Promise<TransferState> {
  for await (const { transfers } of ctx.node(node).transfers.follow({ names: [name] }, { signal: ctx.signal }))
    for (const state of transfers) {
      tell(state);
      if (state.over) return state;
    }
  throw new OpExecError(`The node stopped telling of the transfer ${name}`);
}

export function teller(ctx: ExecContext, component: string): (state: TransferState) => void {
  let toldAt = performance.now();
  return ({ transferredMib, mibPerSecond, percent, estimatedSeconds, over }) => {
    if (over || performance.now() - toldAt < PROGRESS_EVERY_MS) return;
    toldAt = performance.now();
    const part = percent === undefined ? "" : ` (${percent.toFixed(1)} %)`;
    const left = estimatedSeconds === undefined ? "" : `, ${estimatedSeconds.toFixed(0)} s left`;
    ctx.feedback.info(`${component}: ${transferredMib.toFixed(0)} MiB${part}, ${mibPerSecond.toFixed(1)} MiB/s${left}`);
  };
}

/** Also ends a transfer that still goes on. */
export async function forget(
  ctx: ExecContext,
  node: Node,
  name: string,
  step: ReturnType<ExecContext["step"]>,
): Promise<void> {
  const request = { step, names: [name] };
  const failure = await failureOf(ctx, () => ctx.node(node.uuid).transfers.end(request, { signal: ctx.signal }));
  if (failure !== undefined) ctx.feedback.warning(`Could not end the transfer on ${node.name}: ${failure.message}`);
}
