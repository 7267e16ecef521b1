/** The guests of this node: their qemus, what is known of them and what they hold, in every phase of their lives. */
import { setTimeout as delay } from "node:timers/promises";
import type { GuestSpec, StartOptions, StopOptions } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { Logger } from "@gannet/telemetry";
import { checkGuestName } from "../guest-name.ts";
import { type ProcessIdentity, processLives } from "../process-identity.ts";
import { RecordFiles } from "../record-files.ts";
import { applyFirstSettings } from "./first-settings.ts";
import { GuestMonitor, type GuestMonitorOptions } from "./guest-monitor.ts";
import type { GuestResources } from "./guest-resources.ts";
import {
  type GuestRegister,
  type IncomingGuest,
  isIncoming,
  isRunning,
  type KnownGuest,
  type RunningGuest,
} from "./known-guest.ts";
import type { LaunchPlan } from "./launch-plan.ts";
import { powerDown } from "./power-down.ts";
import { endProcess, findQemu, logTail } from "./qemu-process.ts";
import { type RuntimeFolders, type RuntimePaths, runtimePaths } from "./runtime-paths.ts";
import { type RuntimeRecord, runtimeRecord } from "./runtime-record.ts";

/**
 * Between SIGTERM and SIGKILL of a qemu (spec/node-ops.json, `hv.kvm.flows.stop`): it writes back its caches, which takes
 * a slow disk its time, and ends as soon as it has.
 */
const KILL_GRACE_MS = 30_000;
/** Recovery does not wait longer for guests whose monitor hangs; they are followed when they answer. */
const RECOVERY_WAIT_MS = 2_000;

export interface GuestTableParts {
  readonly folders: RuntimeFolders;
  readonly resources: GuestResources;
  readonly runner: CommandRunner;
  readonly logger: Logger;
  /** Something about this guest is another than before. */
  readonly onChange: (guestName: string) => void;
  /** Its qemu is gone, and nobody ended it: to be cleaned up when it is this guest's turn. */
  readonly onEnd: (guestName: string, cleanUp: () => Promise<void>) => void;
}

/** Its operations on one guest must not overlap: callers take turns. */
export class GuestTable implements GuestRegister {
  readonly #parts: GuestTableParts;
  readonly #records: RecordFiles<RuntimeRecord>;
  readonly #guests = new Map<string, KnownGuest>();

  constructor(parts: GuestTableParts) {
    this.#parts = parts;
    this.#records = new RecordFiles(parts.folders.conf, runtimeRecord, parts.logger);
  }

  /** What earlier agents knew. */
  readRecords(): Promise<readonly RuntimeRecord[]> {
    return this.#records.readAll();
  }

  find(guestName: string): KnownGuest | undefined {
    return this.#guests.get(guestName);
  }

  all(): readonly KnownGuest[] {
    return [...this.#guests.values()];
  }

  paths(guestName: string): RuntimePaths {
    return runtimePaths(this.#parts.folders, guestName);
  }

  /** Let go of the monitors. Guests go on. */
  close(): void {
    for (const { monitor } of this.#guests.values()) monitor?.close();
  }

  /** Find a guest of an earlier agent again. @returns what is known of it, if it still is */
  async takeUp(record: RuntimeRecord): Promise<KnownGuest | undefined> {
    const { guest } = record;
    switch (record.phase) {
      case "starting":
        // Nobody was told that this start succeeded, so it has not.
        this.#parts.logger.warn({ instance: guest.name }, "removing a guest whose start was cut short");
        await this.#remove(guest.name, guest);
        return undefined;
      case "ended":
        return this.#hold({ record, monitor: undefined });
      case "running": {
        // How it ended nobody saw. After a crash of the whole node, guests must not look as if they had wished it.
        if (!(await processLives(record.process))) return this.#recordEnd(record, "crashed");
        const monitor = this.#follow(guest, record.process, { isNew: false });
        this.#hold({ record, monitor });
        await refreshedSoon(monitor);
        return { record, monitor };
      }
      case "incoming":
        if (await processLives(record.process)) {
          return this.#hold({ record, monitor: this.#follow(guest, record.process, { isNew: false }) });
        }
        await this.#remove(guest.name, guest);
        return undefined;
    }
  }

  /** @throws HypervisorError; nothing of the guest is left behind then */
  async start(plan: LaunchPlan, options: StartOptions, signal: AbortSignal): Promise<RunningGuest> {
    const { guest } = plan;
    await this.#makeRoom(plan);
    const { nonvolatile } = this.#parts.resources;
    const isFirst = !(await nonvolatile.exists(guest.uuid));
    try {
      return this.#hold(await this.#bringUp(plan, options, signal));
    } catch (error) {
      await this.#remove(guest.name, guest).catch((cleanup) => {
        this.#parts.logger.error({ instance: guest.name, error: cleanup }, "a failed start could not be cleaned up");
      });
      // An instance whose first start fails may never be there.
      if (isFirst) await nonvolatile.remove(guest.uuid);
      throw error;
    }
  }

  /** The qemu of a plan that is incoming. @throws HypervisorError; nothing is left behind then */
  async startIncoming(
    plan: LaunchPlan,
    before: Pick<IncomingGuest["record"], "wasRunning" | "ranBeforeSeconds">,
    signal: AbortSignal,
  ): Promise<IncomingGuest> {
    const { guest, machine, places } = plan;
    await this.#makeRoom(plan);
    try {
      return await this.#launch(plan, signal, async (process, monitor) => {
        const record = { version: 1, guest, machine, places, phase: "incoming", process, ...before } as const;
        const known: IncomingGuest = { record, monitor };
        await this.keep(known);
        return known;
      });
    } catch (error) {
      await this.#remove(guest.name, guest);
      await this.#parts.resources.nonvolatile.remove(guest.uuid);
      throw error;
    }
  }

  /** Ask it to end where that is wished, wait, then kill it. */
  async stop(guestName: string, options: StopOptions, signal: AbortSignal): Promise<void> {
    checkGuestName(guestName);
    const known = this.#guests.get(guestName);
    const process = known?.monitor?.process ?? (await findQemu(this.paths(guestName).pidFile));
    if (process !== undefined && (await processLives(process))) {
      const asksFirst = !options.force && isRunning(known) && known.record.guest.hvparams.acpi === true;
      if (asksFirst) {
        const { timeoutMs } = options;
        await powerDown(known.monitor, { timeoutMs, signal, logger: this.#parts.logger });
      }
      if (signal.aborted) throw new HypervisorError(`Stopping ${guestName} was aborted`);
      const graceMs = options.killGraceMs ?? KILL_GRACE_MS;
      // Without ACPI, SIGTERM is all the asking there is.
      await endProcess(process, options.force || asksFirst ? graceMs : Math.max(graceMs, options.timeoutMs));
    }
    known?.monitor?.close();
    await this.#remove(guestName, known?.record.guest);
  }

  async running(guestName: string): Promise<RunningGuest> {
    const known = this.#guests.get(guestName);
    if (isRunning(known) && (await processLives(known.monitor.process))) return known;
    throw new HypervisorError(`Instance ${guestName} does not run on this node`);
  }

  async keep(known: RunningGuest | IncomingGuest): Promise<void> {
    const { name } = known.record.guest;
    await this.#records.write(this.paths(name).stem, known.record);
    this.#guests.set(name, known);
    this.#parts.onChange(name);
  }

  async remove(guestName: string): Promise<void> {
    const known = this.#guests.get(guestName);
    known?.monitor?.close();
    await this.#remove(guestName, known?.record.guest);
    this.#parts.onChange(guestName);
  }

  /** What an earlier run has left goes. @throws HypervisorError when something runs that nobody knows */
  async #makeRoom({ guest, paths }: LaunchPlan): Promise<void> {
    const foreign = await findQemu(paths.pidFile);
    if (foreign !== undefined) {
      throw new HypervisorError(
        `A qemu that the agent has no record of runs as ${guest.name} (process ${foreign.pid}); stop the instance first`,
      );
    }
    await this.#remove(guest.name, this.#guests.get(guest.name)?.record.guest);
  }

  async #bringUp(plan: LaunchPlan, options: StartOptions, signal: AbortSignal): Promise<RunningGuest> {
    const { guest, machine, places, paths } = plan;
    return this.#launch(plan, signal, async (process, monitor) => {
      // In one go: a guest that runs takes its part of the node's time from whoever waits for two answers.
      await Promise.all([options.paused || monitor.execute({ name: "cont" }), monitor.refreshStatus()]);
      if (signal.aborted) throw new HypervisorError(`The start of ${guest.name} was aborted`);
      const record = { version: 1, guest, machine, places, phase: "running", process, ranBeforeSeconds: 0 } as const;
      await this.#records.write(paths.stem, record);
      this.#parts.logger.info(
        { instance: guest.name, pid: process.pid, accelerator: plan.accelerator },
        "guest started",
      );
      return { record, monitor };
    });
  }

  /** A qemu that stands before its guest's first instruction; `complete` does the rest. */
  async #launch<Launched>(
    plan: LaunchPlan,
    signal: AbortSignal,
    complete: (process: ProcessIdentity, monitor: GuestMonitor) => Promise<Launched>,
  ): Promise<Launched> {
    const { guest, machine, places, paths } = plan;
    if (signal.aborted) throw new HypervisorError(`The start of ${guest.name} was aborted`);
    await this.#records.write(paths.stem, { version: 1, guest, machine, places, phase: "starting" });
    const { process } = await this.#parts.resources.launch(plan, signal);
    // A balloon that is to take something back does so by and by, if the guest has a driver for it.
    const monitor = this.#follow(guest, process, { isNew: guest.startMemoryMib === guest.maxMemoryMib });
    try {
      await monitor.verifyIdentity();
      await applyFirstSettings(this.#parts.runner, plan, monitor);
      return await complete(process, monitor);
    } catch (error) {
      monitor.close();
      throw await explainedByLog(error, plan, process);
    }
  }

  #follow(guest: GuestSpec, process: ProcessIdentity, { isNew }: Pick<GuestMonitorOptions, "isNew">): GuestMonitor {
    const monitor: GuestMonitor = new GuestMonitor({
      guest,
      process,
      isNew,
      qmpSocket: this.paths(guest.name).qmpSocket,
      logger: this.#parts.logger,
      onChange: () => this.#parts.onChange(guest.name),
      onEnd: () => this.#parts.onEnd(guest.name, () => this.#ended(guest.name, monitor)),
    });
    return monitor;
  }

  /** A guest that nobody stopped is gone. */
  async #ended(guestName: string, monitor: GuestMonitor): Promise<void> {
    const known = this.#guests.get(guestName);
    if (known?.monitor !== monitor) return;
    const status = monitor.endStatus;
    const log = await logTail(this.paths(guestName).logFile);
    this.#parts.logger.warn({ instance: guestName, status, log }, "the guest has ended by itself");
    if (isIncoming(known)) return this.remove(guestName);
    await this.#recordEnd(known.record, status);
    this.#parts.onChange(guestName);
  }

  /** Release what the guest held; its record stays, so that its state can be told until it is stopped or started. */
  async #recordEnd(before: RuntimeRecord & { phase: "running" }, status: "shutdown" | "crashed"): Promise<KnownGuest> {
    const { guest, machine, places } = before;
    const paths = this.paths(guest.name);
    const record = { version: 1, guest, machine, places, phase: "ended", status } as const;
    const known = this.#hold({ record, monitor: undefined });
    await this.#records.write(paths.stem, record);
    await this.#parts.resources.release(guest.name, guest);
    return known;
  }

  /** Everything of the guest on this node, its process too. What is gone already is no error. */
  async #remove(guestName: string, guest: GuestSpec | undefined): Promise<void> {
    const paths = this.paths(guestName);
    const process = await findQemu(paths.pidFile);
    if (process !== undefined) await endProcess(process, KILL_GRACE_MS);
    await this.#parts.resources.release(guestName, guest);
    await this.#parts.resources.removeLog(guestName);
    await this.#records.remove(paths.stem);
    this.#guests.delete(guestName);
  }

  #hold<Known extends KnownGuest>(known: Known): Known {
    this.#guests.set(known.record.guest.name, known);
    return known;
  }
}

/** When qemu is what failed, its own last words say more than that its monitor is gone. */
async function explainedByLog(error: unknown, plan: LaunchPlan, process: ProcessIdentity): Promise<unknown> {
  const said = (await processLives(process)) ? "" : await logTail(plan.paths.logFile);
  if (said === "") return error;
  return new HypervisorError(`Instance ${plan.guest.name}: qemu ended during its start: ${said}`, { cause: error });
}

async function refreshedSoon(monitor: GuestMonitor): Promise<void> {
  const waited = new AbortController();
  await Promise.race([
    monitor.refreshed(),
    delay(RECOVERY_WAIT_MS, undefined, { signal: waited.signal }).catch(() => {}),
  ]);
  waited.abort();
}
