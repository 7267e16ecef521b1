/** How far a migration is, as qemu tells (qemu-qmp-ref(7), `MigrationStatus`), on either side. */
import { setTimeout as delay } from "node:timers/promises";
import type { GuestMonitor } from "../guest-monitor.ts";
import type { QmpAnswer } from "../qmp/commands.ts";
import type { QmpEventName } from "../qmp/events.ts";

export type MigrationReport = QmpAnswer<"query-migrate">;

/**
 * `none` before the first, `waiting` for the sender, `sending` while it can still be taken back, `split` while parts of
 * the guest's memory are on either side, `lost` when they cannot come together any more.
 */
export type MigrationPhase = "none" | "waiting" | "sending" | "split" | "lost" | "completed" | "failed" | "cancelled";

const PHASES: Readonly<Record<string, MigrationPhase>> = {
  none: "none",
  setup: "waiting",
  active: "sending",
  device: "sending",
  "pre-switchover": "sending",
  "wait-unplug": "sending",
  cancelling: "sending",
  "postcopy-active": "split",
  "postcopy-device": "split",
  "postcopy-recover": "split",
  "postcopy-recover-setup": "split",
  "postcopy-paused": "lost",
  completed: "completed",
  failed: "failed",
  cancelled: "cancelled",
};

/** A busy qemu under emulation holds up its monitor for seconds while it sends. */
const REPORT_TIMEOUT_MS = 30_000;

/** @throws HypervisorError */
export function migrationReport(monitor: GuestMonitor): Promise<MigrationReport> {
  return monitor.execute({ name: "query-migrate" }, { timeoutMs: REPORT_TIMEOUT_MS });
}

/** A status that a newer qemu has come up with is one on the way. */
export function phaseOf({ status }: Pick<MigrationReport, "status">): MigrationPhase {
  return status === undefined ? "none" : (PHASES[status] ?? "sending");
}

/**
 * The next of these events, or the end of the time, or the abort, whatever comes first. That a migration is still being
 * sent is no news: qemu says so when the guest stops for the last part, and a question then makes it stand still longer.
 */
export async function nextEvent(
  monitor: GuestMonitor,
  names: readonly QmpEventName[],
  limitMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const over = new AbortController();
  const end = () => over.abort();
  const unsubscribe = monitor.onEvent((event) => {
    const isNews = event.name !== "MIGRATION" || phaseOf(event.data) !== "sending";
    if (isNews && names.includes(event.name)) end();
  });
  signal?.addEventListener("abort", end, { once: true });
  if (signal?.aborted) end();
  await delay(limitMs, undefined, { signal: over.signal }).catch(() => {});
  signal?.removeEventListener("abort", end);
  unsubscribe();
}

/**
 * The first report for which the question is answered yes, or the last one when the time is over.
 * @throws HypervisorError when qemu does not answer or is gone
 */
export async function reportWhen(
  monitor: GuestMonitor,
  satisfied: (phase: MigrationPhase) => boolean,
  limitMs: number,
): Promise<MigrationReport> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const report = await migrationReport(monitor);
    const leftMs = deadline - performance.now();
    if (satisfied(phaseOf(report)) || leftMs <= 0) return report;
    await nextEvent(monitor, ["MIGRATION"], Math.min(leftMs, LOOK_MS));
  }
}

/** Between looks where no event tells of a change. */
const LOOK_MS = 100;
