/** Steps on the second copies of an instance's disks: how far they are, waiting for them, holding them up. */
import { setTimeout as delay } from "node:timers/promises";
import { NodeUnreachable, OpExecError } from "@gannet/errors";
import { type ConfigView, DISK_TEMPLATE_TRAITS, type Instance, type NodeUuid } from "@gannet/objects";
import type { MirrorStatus } from "@gannet/rpc";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { onDevice, undoStep } from "../../executor/undo-actions.ts";
import { type DiskEnd, endsOf, type PlacedDisk, placedDisks } from "./disk-ends.ts";

/** How often a node that cannot be asked, or knows nothing of a disk, is asked again; 6 s apart. */
const UNANSWERED_LIMIT = 10;
const UNANSWERED_PAUSE_MS = 6_000;
/** How often a disk that is whole on one side only is looked at again: the ends may be about to find each other. */
const DEGRADED_LIMIT = 12;
const DEGRADED_PAUSE = { firstMs: 100, mostMs: 1_000 } as const;
/** How often ends that are about to meet are looked at, before they are said to be as they are. */
const MEETING_LIMIT = 10;
const MEETING_PAUSE_MS = 200;
/**
 * Between two looks at copies that are being made: so much of the time that is left by the estimate, so that the end is
 * seen soon; and no more than that of the time that has passed, because the first estimates are wild.
 */
const SYNC_PAUSE = { share: 0.5, leastMs: 200, mostMs: 60_000 } as const;

/** A disk's state as one node sees it. */
export interface MirrorReport {
  readonly index: number;
  /** Undefined when the node cannot tell; `problem` says why. */
  readonly status: MirrorStatus | undefined;
  readonly problem: string;
}

/** Those disks that keep a second copy themselves. */
function mirrored(disks: readonly PlacedDisk[]): readonly PlacedDisk[] {
  return disks.filter(({ disk }) => DISK_TEMPLATE_TRAITS[disk.template].mirroring === "internal");
}

function endsOn(view: ConfigView, instance: Instance, disks: readonly PlacedDisk[], node: NodeUuid) {
  return mirrored(disks).flatMap((placed) => endsOf(view, instance, placed).filter((end) => end.node === node));
}

/**
 * How the mirrored disks of an instance are, as one of its nodes sees them; those that are not are left out.
 * @throws NodeUnreachable, OpPrereqError when the node is marked offline
 */
export async function mirrorReports(
  ctx: PrereqContext,
  view: ConfigView,
  instance: Instance,
  { node, disks = placedDisks(view, instance) }: { readonly node: NodeUuid; readonly disks?: readonly PlacedDisk[] },
): Promise<readonly MirrorReport[]> {
  const ends = endsOn(view, instance, disks, node);
  if (ends.length === 0) return [];
  const devices = ends.map(({ device }) => device);
  const reply = await ctx.node(node).blockDevices.mirrorStatus({ devices }, { signal: ctx.signal });
  return ends.map(({ index }, position) => ({
    index,
    status: reply.disks[position]?.status,
    problem: reply.disks[position]?.problem ?? "the node did not answer for it",
  }));
}

/** Whether this end has lost its data, or has given up its peer: the copy cannot be relied upon (Ganeti's `faulty`). */
export function isFaulty({ status }: MirrorReport): boolean {
  return status === undefined || status.localDisk === "diskless" || status.connection === "standalone";
}

/**
 * Tell in the job's log of disks whose copies were changed apart from each other: nothing but a person's choice brings
 * them together again. Both ends are asked: the one that finds it out lets go, the other may go on waiting for it. Ends
 * that are about to find each other, and so may be about to find it out, are given a moment.
 */
export async function tellSplitBrain(ctx: ExecContext, view: ConfigView, instance: Instance): Promise<void> {
  const nodes = [instance.primaryNode, ...view.secondaryNodes(instance)].filter(
    (node) => view.nodes.get(node)?.offline !== true,
  );
  for (let looks = 1; ; looks += 1) {
    const { reports, failures } = await reportsOf(ctx, view, instance, nodes);
    const isMeeting = reports.some(({ status }) => status?.connection === "connecting");
    const split = new Set(reports.flatMap(({ index, status }) => (status?.splitBrain === true ? [index] : [])));
    // A node that does not answer is waited for once: nor does its end meet another.
    if (isMeeting && split.size === 0 && failures.length === 0 && nodes.length > 1 && looks < MEETING_LIMIT) {
      await delay(MEETING_PAUSE_MS, undefined, { signal: ctx.signal });
      continue;
    }
    for (const { message } of failures) ctx.feedback.warning(`Cannot tell how the copies of the disks are: ${message}`);
    for (const index of split) ctx.feedback.warning(splitBrainText(index));
    return;
  }
}

/** What each of these nodes says of the mirrored disks, and why others say nothing. */
async function reportsOf(ctx: ExecContext, view: ConfigView, instance: Instance, nodes: readonly NodeUuid[]) {
  const reports: MirrorReport[] = [];
  const failures: Error[] = [];
  for (const node of nodes) {
    const failure = await failureOf(ctx, async () => {
      reports.push(...(await mirrorReports(ctx, view, instance, { node })));
    });
    if (failure !== undefined) failures.push(failure);
  }
  return { reports, failures };
}

function splitBrainText(index: number): string {
  return (
    `disk/${index}: split brain: its two copies were changed apart from each other and stay apart; ` +
    "give up the secondary's and make it anew from the primary's (replace-disks, mode replace_on_secondary), " +
    "or fail over first when the secondary's is the better one"
  );
}

/**
 * Wait until the second copies of the disks are whole, and tell in the job's log how far they are.
 * @param until - `in-sync`; or `connected`, which looks once whether all are whole or being made so
 * @returns false when a disk is degraded and nothing is being done about it, at once when its copies are split
 * @throws OpExecError when the primary node cannot be asked
 */
export async function waitForSync(
  ctx: ExecContext,
  view: ConfigView,
  instance: Instance,
  {
    disks = placedDisks(view, instance),
    until = "in-sync",
  }: { readonly disks?: readonly PlacedDisk[]; readonly until?: "in-sync" | "connected" } = {},
): Promise<boolean> {
  if (mirrored(disks).length === 0) return true;
  if (until === "in-sync") ctx.feedback.step(`Waiting for instance ${instance.name} to sync disks`);
  let degradedLooks = 0;
  let waitedMs = 0;
  for (;;) {
    const reports = await patientReports(ctx, view, instance, disks);
    const syncing = reports.filter(({ status }) => status.syncPercent !== undefined);
    const degraded = reports.some(({ status }) => status.degraded);
    for (const { index, status } of syncing) ctx.feedback.info(progressText(index, status));
    const split = reports.filter(({ status }) => status.splitBrain);
    for (const { index } of split) ctx.feedback.warning(splitBrainText(index));
    if (split.length > 0) return false;
    if (syncing.length > 0 && until === "connected") return true;
    if (syncing.length === 0) {
      if (!degraded) {
        if (until === "in-sync") ctx.feedback.info(`Instance ${instance.name}'s disks are in sync`);
        return true;
      }
      degradedLooks += 1;
      if (degradedLooks > DEGRADED_LIMIT) return false;
      const { firstMs, mostMs } = DEGRADED_PAUSE;
      await delay(Math.min(mostMs, firstMs * 2 ** (degradedLooks - 1)), undefined, { signal: ctx.signal });
      continue;
    }
    const { share, leastMs, mostMs } = SYNC_PAUSE;
    const estimatesMs = syncing.map(({ status }) => (status.estimatedSeconds ?? Number.POSITIVE_INFINITY) * 1000);
    const pauseMs = Math.max(leastMs, Math.min(share * Math.min(waitedMs, ...estimatesMs), mostMs));
    await delay(pauseMs, undefined, { signal: ctx.signal });
    waitedMs += pauseMs;
  }
}

function progressText(index: number, { syncPercent = 0, estimatedSeconds }: MirrorStatus): string {
  const left =
    estimatedSeconds === undefined ? "no time estimate" : `${durationText(estimatedSeconds)} remaining (estimated)`;
  return `- device disk/${index}: ${syncPercent.toFixed(2)}% done, ${left}`;
}

/** `1h 2m 3s` */
export function durationText(seconds: number): string {
  const whole = Math.round(seconds);
  const parts = [
    [Math.floor(whole / 3600), "h"],
    [Math.floor(whole / 60) % 60, "m"],
    [whole % 60, "s"],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first < 0 ? -1 : first)
    .map(([count, unit]) => `${count}${unit}`)
    .join(" ");
}

interface KnownReport {
  readonly index: number;
  readonly status: MirrorStatus;
}

async function patientReports(
  ctx: ExecContext,
  view: ConfigView,
  instance: Instance,
  disks: readonly PlacedDisk[],
): Promise<readonly KnownReport[]> {
  const node = instance.primaryNode;
  for (let attempt = 1; ; attempt += 1) {
    let problem: string;
    try {
      const reports = await mirrorReports(ctx, view, instance, { node, disks });
      const known = reports.flatMap(({ index, status }) => (status === undefined ? [] : [{ index, status }]));
      if (known.length === reports.length) return known;
      problem = reports.flatMap((each) => (each.status ? [] : [`disk/${each.index}: ${each.problem}`])).join("; ");
    } catch (error) {
      if (!(error instanceof NodeUnreachable)) throw error;
      problem = error.message;
    }
    const name = view.nodes.get(node)?.name ?? node;
    ctx.feedback.warning(`Cannot get the state of the disks from node ${name}: ${problem}`);
    if (attempt >= UNANSWERED_LIMIT)
      throw new OpExecError(`Node ${name} does not tell how the disks of ${instance.name} are: ${problem}`);
    await delay(UNANSWERED_PAUSE_MS, undefined, { signal: ctx.signal });
  }
}

/**
 * Do work on disks while their second copies are not being filled, which would slow down both. They are filled
 * again afterwards, whatever came of the work.
 * @param work - its name tells the steps from those of other work of the opcode
 */
export async function withoutSync<Result>(
  ctx: ExecContext,
  view: ConfigView,
  instance: Instance,
  disks: readonly PlacedDisk[],
  work: { readonly name: string; run(): Promise<Result> },
): Promise<Result> {
  const ends = endsOn(view, instance, disks, instance.primaryNode);
  for (const { node, device } of ends) await ctx.undo(undoStep("resume-sync", onDevice(node, device)));
  for (const end of ends) await pauseSync(ctx, end, { during: work.name, word: "pause" });
  try {
    return await work.run();
  } finally {
    for (const end of ends) await pauseSync(ctx, end, { during: work.name, word: "resume" });
  }
}

/**
 * Work on the disk is only slower when its copy cannot be held up. A copy that stays held up is none: whoever cannot
 * resume it tries once more, by a step of its own, because a step's answer is final.
 */
async function pauseSync(
  ctx: ExecContext,
  { node, device, title }: DiskEnd,
  { during, word }: { readonly during: string; readonly word: "pause" | "resume" },
): Promise<void> {
  const attempts = word === "pause" ? [word] : [word, "resume-again"];
  for (const attempt of attempts) {
    const step = ctx.step(`${attempt}-sync/${during}/${device.uuid}/${node}`);
    const request = { step, device, paused: word === "pause" };
    const failure = await failureOf(ctx, () => ctx.node(node).blockDevices.pauseSync(request, { signal: ctx.signal }));
    if (failure === undefined) return;
    ctx.feedback.warning(`Could not ${word} the synchronisation of ${title}: ${failure.message}`);
  }
}
