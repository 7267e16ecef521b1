/** Sending a running guest to another node. */
import { isIPv6 } from "node:net";
import type { GuestSpec, MigrationProgress, MigrationTarget } from "@gannet/driver-contract";
import { allEnded, HypervisorError } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";
import { processTimes } from "../../process-identity.ts";
import { FIRMWARE_NODES } from "../argv/firmware.ts";
import type { NonvolatileState } from "../firmware/nonvolatile-state.ts";
import type { FirmwareSizes } from "../firmware/uefi-firmware.ts";
import type { GuestMonitor } from "../guest-monitor.ts";
import { type GuestRegister, isIncoming, isRunning } from "../known-guest.ts";
import type { MigrationCredentials } from "./credentials.ts";
import { writeMigrationInfo } from "./migration-info.ts";
import { type MigrationSettings, migrationSettings, POSTCOPY, setCapabilities } from "./migration-settings.ts";
import {
  type MigrationPhase,
  type MigrationReport,
  migrationReport,
  nextEvent,
  phaseOf,
  reportWhen,
} from "./migration-status.ts";
import { sentPlaces } from "./sent-places.ts";

/** Progress is told at least as often. */
const PROGRESS_MS = 500;
/** After this many passes over the memory what is left is dirtied as fast as it is sent. */
const POSTCOPY_AFTER_PASSES = 2;
const CANCEL_MS = 30_000;
/** Run states from which a guest that shall run is made to. */
const STANDING_STILL: readonly string[] = ["paused", "postmigrate", "finish-migrate"];
const UNDER_WAY: readonly MigrationPhase[] = ["waiting", "sending", "split", "completed"];
const NOTHING_SENT = { transferredBytes: 0, totalBytes: 0, downtimeMs: null, problem: "" } as const;

export class Departure {
  readonly #register: GuestRegister;
  readonly #credentials: MigrationCredentials;
  readonly #nonvolatile: NonvolatileState;
  readonly #logger: Logger;

  constructor(parts: {
    register: GuestRegister;
    credentials: MigrationCredentials;
    nonvolatile: NonvolatileState;
    logger: Logger;
  }) {
    this.#register = parts.register;
    this.#credentials = parts.credentials;
    this.#nonvolatile = parts.nonvolatile;
    this.#logger = parts.logger;
  }

  /** @throws HypervisorError when the guest does not run, or has other devices than those that are known */
  async info(guestName: string): Promise<string> {
    const { record, monitor } = await this.#register.running(guestName);
    const places = await sentPlaces(record, monitor);
    const [{ enabled }, { qemu }, { running }, times] = await Promise.all([
      monitor.execute({ name: "query-kvm" }),
      monitor.execute({ name: "query-version" }),
      monitor.execute({ name: "query-status" }),
      processTimes(monitor.process),
    ]);
    const wasRunning = record.leaving?.wasRunning ?? running;
    const firmware = await firmwareSizesOf(monitor);
    return writeMigrationInfo({
      version: 1,
      guest: record.guest,
      machine: record.machine,
      places,
      accelerator: enabled ? "kvm" : "tcg",
      ...(firmware === undefined
        ? {}
        : { firmware: { ...firmware, ...(await this.#varsOf(record.guest, wasRunning)) } }),
      qemuVersion: `${qemu.major}.${qemu.minor}.${qemu.micro}`,
      wasRunning,
      ranSeconds: record.ranBeforeSeconds + (times?.uptimeSeconds ?? 0),
      sender: [...(await this.#credentials.sender())],
    });
  }

  /**
   * Called again after a restart of the agent it follows the migration that is under way.
   * @throws HypervisorError when it cannot even begin; the guest is as before then
   */
  async *send(
    guest: GuestSpec,
    target: MigrationTarget,
    options: { readonly live: boolean; readonly stem: string },
    signal: AbortSignal,
  ): AsyncGenerator<MigrationProgress> {
    const settings = migrationSettings(guest);
    const { record, monitor } = await this.#register.running(guest.name);
    if (record.guest.uuid !== guest.uuid)
      throw new HypervisorError(`Another instance called ${guest.name} runs on this node (${record.guest.uuid})`);
    if (signal.aborted) throw new HypervisorError(`The migration of ${guest.name} was aborted`);
    let isOver = false;
    try {
      const isUnderWay = record.leaving !== undefined && UNDER_WAY.includes(await outgoingPhase(monitor));
      if (!isUnderWay) await this.#begin(guest.name, target, { ...options, settings });
      yield { ...NOTHING_SENT, status: "active" };
      const report = yield* follow(monitor, settings, signal);
      isOver = phaseOf(report) === "completed" || phaseOf(report) === "lost";
      if (isOver) {
        yield progressOf(report);
        return;
      }
      await this.stay(guest.name);
      isOver = true;
      yield progressOf(report);
    } finally {
      // An error, or nobody listens any more.
      if (!isOver) {
        await this.#giveUp(guest.name, monitor).catch((error) => {
          this.#logger.error({ instance: guest.name, error }, "a guest whose migration failed may not run on");
        });
      }
    }
  }

  /** It has gone. @throws HypervisorError when it has not; it is left as it is then */
  async gone(guestName: string): Promise<void> {
    const known = this.#register.find(guestName);
    if (known === undefined || isIncoming(known)) return;
    if (isRunning(known) && (await processTimes(known.monitor.process)) !== undefined) {
      const phase = await outgoingPhase(known.monitor);
      if (phase !== "completed" && phase !== "lost") {
        throw new HypervisorError(`Instance ${guestName} has not gone: its migration is ${phase}`);
      }
    }
    // They have gone along. First, so that an agent that is killed in between still knows that they have to go.
    await this.#nonvolatile.remove(known.record.guest.uuid);
    await this.#register.remove(guestName);
  }

  /**
   * It has not gone, or shall not: cancel what is under way, and let it run on as before. Nothing may have been left
   * of it on the target.
   * @throws HypervisorError when the target has already begun to run it
   */
  async stay(guestName: string): Promise<void> {
    const known = this.#register.find(guestName);
    if (!isRunning(known)) return;
    const { record, monitor } = known;
    await cancelled(monitor);
    const phase = await outgoingPhase(monitor);
    if (phase === "none" && record.leaving === undefined) return;
    if (phase === "split" || phase === "lost") {
      throw new HypervisorError(
        `Instance ${guestName}: part of its memory is on the target node already, it cannot go on here`,
      );
    }
    if (record.leaving?.wasRunning === true) {
      const { status } = await monitor.execute({ name: "query-status" });
      if (STANDING_STILL.includes(status)) await monitor.execute({ name: "cont" });
    }
    await this.#credentials.remove(monitor);
    const { leaving: _, ...staying } = record;
    await this.#register.keep({ record: staying, monitor });
    await monitor.refreshStatus();
  }

  async #varsOf({ uuid, hvparams }: GuestSpec, wasRunning: boolean): Promise<{ readonly vars?: string }> {
    if (wasRunning) return {};
    const paths = this.#nonvolatile.paths(uuid, { secureBoot: hvparams.secure_boot === true });
    return { vars: await this.#nonvolatile.readVars(paths) };
  }

  /** As long as it can be taken back. One that has all been sent stands still until somebody knows of its target. */
  async #giveUp(guestName: string, monitor: GuestMonitor): Promise<void> {
    await cancelled(monitor);
    if ((await outgoingPhase(monitor)) !== "completed") await this.stay(guestName);
  }

  async #begin(
    guestName: string,
    target: MigrationTarget,
    options: { readonly live: boolean; readonly stem: string; readonly settings: MigrationSettings },
  ): Promise<void> {
    const { record, monitor } = await this.#register.running(guestName);
    const { running } = await monitor.execute({ name: "query-status" });
    const wasRunning = record.leaving?.wasRunning ?? running;
    await this.#register.keep({ record: { ...record, leaving: { wasRunning } }, monitor });
    const { limits } = options.settings;
    await allEnded([
      this.#setCapabilities(guestName, monitor, options.settings),
      monitor.execute({ name: "migrate-set-parameters", arguments: limits }),
      this.#credentials.install(monitor, options.stem, { endpoint: "client", targetName: target.nodeName }),
    ]);
    if (!options.live) await monitor.execute({ name: "stop" });
    await monitor.execute({ name: "migrate", arguments: { uri: `tcp:${hostOf(target.address)}:${target.port}` } });
  }

  async #setCapabilities(guestName: string, monitor: GuestMonitor, settings: MigrationSettings): Promise<void> {
    const leftOff = await setCapabilities(monitor, settings);
    if (leftOff.length === 0) return;
    this.#logger.warn({ instance: guestName, leftOff }, "capabilities of migration_caps are not used in its migration");
  }
}

/** Tells the progress until it is over. An abort cancels, as long as that is possible. */
async function* follow(
  monitor: GuestMonitor,
  settings: MigrationSettings,
  signal: AbortSignal,
): AsyncGenerator<MigrationProgress, MigrationReport> {
  const mayBeSplit = settings.capabilities.includes(POSTCOPY);
  let isSplit = false;
  for (;;) {
    const report = await migrationReport(monitor);
    const phase = phaseOf(report);
    if (phase !== "waiting" && phase !== "sending" && phase !== "split") return report;
    if (signal.aborted && phase !== "split") return cancelled(monitor);
    yield progressOf(report);
    const passes = report.ram?.["dirty-sync-count"] ?? 0;
    if (mayBeSplit && !isSplit && passes >= POSTCOPY_AFTER_PASSES) {
      isSplit = true;
      await monitor.execute({ name: "migrate-start-postcopy" });
    }
    const news = mayBeSplit && !isSplit ? (["MIGRATION", "MIGRATION_PASS"] as const) : (["MIGRATION"] as const);
    await nextEvent(monitor, news, PROGRESS_MS, isSplit ? undefined : signal);
  }
}

/** The report when nothing is under way any more. One that has come to its end meanwhile is not undone. */
async function cancelled(monitor: GuestMonitor): Promise<MigrationReport> {
  const phase = phaseOf(await migrationReport(monitor));
  if (phase === "waiting" || phase === "sending") await monitor.execute({ name: "migrate_cancel" });
  const isOver = (each: string) => each !== "waiting" && each !== "sending";
  const report = await reportWhen(monitor, isOver, CANCEL_MS);
  if (isOver(phaseOf(report))) return report;
  throw new HypervisorError(`The migration is not cancelled after ${CANCEL_MS / 1000} s`);
}

/**
 * How far this guest's leaving is. qemu tells in the same words of its coming, which may be long ago; only one that has
 * left stands still for good.
 */
async function outgoingPhase(monitor: GuestMonitor): Promise<MigrationPhase> {
  const phase = phaseOf(await migrationReport(monitor));
  if (phase !== "completed") return phase;
  const { status } = await monitor.execute({ name: "query-status" });
  return status === "postmigrate" ? "completed" : "none";
}

function progressOf(report: MigrationReport): MigrationProgress {
  const phase = phaseOf(report);
  const status = STATUS_OF_PHASE[phase];
  return {
    status,
    transferredBytes: report.ram?.transferred ?? 0,
    totalBytes: report.ram?.total ?? 0,
    downtimeMs: report.downtime !== undefined && status === "completed" ? Math.round(report.downtime) : null,
    problem: status === "failed" ? problemOf(phase, report["error-desc"]) : "",
  };
}

const STATUS_OF_PHASE = {
  none: "failed",
  waiting: "active",
  sending: "active",
  split: "active",
  lost: "failed",
  completed: "completed",
  failed: "failed",
  cancelled: "cancelled",
} as const;

function problemOf(phase: string, reason: string | undefined): string {
  if (phase === "lost") return "The connection was lost while the guest's memory was on both nodes; it cannot go on";
  return reason ?? "The target node ended the migration; its log of the instance tells why";
}

/** As this qemu has it in its memory; undefined for a guest that has a BIOS. */
async function firmwareSizesOf(monitor: GuestMonitor): Promise<FirmwareSizes | undefined> {
  const nodes = await monitor.execute({ name: "query-named-block-nodes", arguments: { flat: true } });
  const sizeOf = (name: string) => nodes.find((each) => each["node-name"] === name)?.image["virtual-size"];
  const [codeBytes, varsBytes] = [sizeOf(FIRMWARE_NODES.code), sizeOf(FIRMWARE_NODES.vars)];
  return codeBytes === undefined || varsBytes === undefined ? undefined : { codeBytes, varsBytes };
}

function hostOf(address: string): string {
  return isIPv6(address) ? `[${address}]` : address;
}
