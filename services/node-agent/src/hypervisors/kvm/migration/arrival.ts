/** Taking a running guest over from another node. */
import { isIPv6 } from "node:net";
import type { GuestSpec } from "@gannet/driver-contract";
import { allEnded, HypervisorError } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";
import { processLives } from "../../process-identity.ts";
import type { NonvolatileState } from "../firmware/nonvolatile-state.ts";
import type { GuestMonitor } from "../guest-monitor.ts";
import type { GuestTable } from "../guest-table.ts";
import { type IncomingGuest, isIncoming, isRunning } from "../known-guest.ts";
import type { LaunchPlan } from "../launch-plan.ts";
import type { LaunchPlanner } from "../launch-planner.ts";
import type { NicConnections } from "../nic/connections.ts";
import type { MigrationCredentials } from "./credentials.ts";
import { arrivingGuest, type MigrationInfo, readMigrationInfo } from "./migration-info.ts";
import { migrationSettings, setCapabilities } from "./migration-settings.ts";
import { migrationReport, phaseOf, reportWhen } from "./migration-status.ts";

/** As many migrations can come in at once. */
const PORTS = 64;
const LAST_PORT = 65_535;
const ON_THE_WAY: readonly string[] = ["waiting", "sending", "split"];
/** The source has sent everything; the target may still be reading. */
const ARRIVE_MS = 30_000;

export interface ArrivalParts {
  readonly register: GuestTable;
  readonly credentials: MigrationCredentials;
  readonly planner: LaunchPlanner;
  readonly nics: NicConnections;
  readonly nonvolatile: NonvolatileState;
  readonly logger: Logger;
}

export class Arrival {
  readonly #parts: ArrivalParts;

  constructor(parts: ArrivalParts) {
    this.#parts = parts;
  }

  /** @returns the port @throws HypervisorError; nothing of the guest is left then */
  async accept(
    asked: GuestSpec,
    { info: text, address }: { readonly info: string; readonly address: string },
    signal: AbortSignal,
  ): Promise<number> {
    const waiting = await this.#waitingPort(asked);
    if (waiting !== undefined) return waiting;
    const info = readMigrationInfo(asked, text);
    const plan = await this.#plan(arrivingGuest(asked, info), info);
    const { wasRunning, ranSeconds: ranBeforeSeconds } = info;
    const known = await this.#parts.register.startIncoming(plan, { wasRunning, ranBeforeSeconds }, signal);
    try {
      const port = await this.#listen(known, plan, { info, address });
      if (signal.aborted) throw new HypervisorError(`Taking ${asked.name} over was aborted`);
      this.watch(known);
      return port;
    } catch (error) {
      await this.#parts.register.remove(asked.name);
      throw error;
    }
  }

  /**
   * When a guest's memory is on both nodes (postcopy) its source has stopped for good, and it must run here for the rest to
   * be fetched. In any other migration it runs when it is told to.
   */
  watch({ monitor, record }: IncomingGuest): void {
    if (!record.wasRunning) return;
    const warn = (error: unknown) => {
      this.#parts.logger.warn({ instance: record.guest.name, error }, "an arriving guest may not run");
    };
    const run = () => void monitor.execute({ name: "cont" }).catch(warn);
    monitor.onEvent((event) => {
      if (event.name === "MIGRATION" && phaseOf(event.data) === "split") run();
    });
    // It may have come so far before anybody listened.
    migrationReport(monitor).then((report) => {
      if (phaseOf(report) === "split") run();
    }, warn);
  }

  /** It has come: it runs here. @throws HypervisorError when it has not; it is left as it is then */
  async arrived(guest: GuestSpec, signal: AbortSignal): Promise<void> {
    const known = this.#parts.register.find(guest.name);
    if (known !== undefined && known.record.guest.uuid === guest.uuid && !isIncoming(known)) return;
    if (!isIncoming(known) || known.record.guest.uuid !== guest.uuid) {
      throw new HypervisorError(`Instance ${guest.name} has not come to this node: no migration of it was accepted`);
    }
    const { record, monitor } = known;
    const phase = phaseOf(await reportWhen(monitor, (each) => !ON_THE_WAY.includes(each), ARRIVE_MS));
    if (phase !== "completed") {
      throw new HypervisorError(`Instance ${guest.name} has not come to this node: its migration is ${phase}`);
    }
    await this.#parts.nics.arrive(record.guest, signal);
    // Noted first: from its first instruction on nobody may take the guest for one that can go on at its source.
    const { wasRunning, ...here } = record;
    await this.#parts.register.keep({ record: { ...here, phase: "running" }, monitor });
    try {
      if (wasRunning) await monitor.execute({ name: "cont" });
    } catch (error) {
      await this.#parts.register.keep(known);
      throw error;
    }
    await monitor.refreshAll();
    await this.#parts.credentials.remove(monitor);
  }

  /** It does not come. @throws HypervisorError when it runs here */
  async notArrived(guest: GuestSpec): Promise<void> {
    const known = this.#parts.register.find(guest.name);
    if (isRunning(known) && (await processLives(known.monitor.process))) {
      throw new HypervisorError(`Instance ${guest.name} runs on this node; its migration was not a failure`);
    }
    if (isIncoming(known)) await this.#parts.register.remove(guest.name);
    // What the guest keeps is at its source, and was here only to take that in.
    await this.#parts.nonvolatile.remove(guest.uuid);
  }

  /** Of an acceptance whose answer was lost. What is left of a failed one goes. */
  async #waitingPort(asked: GuestSpec): Promise<number | undefined> {
    const known = this.#parts.register.find(asked.name);
    if (isRunning(known) && (await processLives(known.monitor.process)))
      throw new HypervisorError(`Instance ${asked.name} runs on this node already (${known.record.guest.uuid})`);
    if (!isIncoming(known)) return undefined;
    if (await processLives(known.monitor.process)) {
      const report = await migrationReport(known.monitor);
      const phase = phaseOf(report);
      const port = Number(report["socket-address"]?.[0]?.port);
      const isSame = known.record.guest.uuid === asked.uuid;
      if (isSame && (phase === "none" || phase === "waiting") && Number.isInteger(port)) return port;
      if (phase === "completed" || phase === "split") {
        throw new HypervisorError(`Instance ${asked.name} has come to this node already; finish its migration`);
      }
    }
    await this.#parts.register.remove(asked.name);
    return undefined;
  }

  /** @throws HypervisorError when this node cannot give the guest what it has at its source */
  async #plan(guest: GuestSpec, info: MigrationInfo): Promise<LaunchPlan> {
    const plan = await this.#parts.planner.plan(guest, info);
    const complaint = `Instance ${guest.name}, which runs in qemu ${info.qemuVersion} at its source`;
    if (plan.accelerator !== info.accelerator) {
      throw new HypervisorError(`${complaint} under ${info.accelerator}, would run under ${plan.accelerator} here`);
    }
    const [here, there] = [plan.places, info.places].map((places) => Object.keys(places));
    const different = [
      ...(there ?? []).filter((id) => !here?.includes(id)).map((id) => `no ${id}`),
      ...(here ?? []).filter((id) => !there?.includes(id)).map((id) => `a ${id} that it has not there`),
    ];
    if (different.length > 0) throw new HypervisorError(`${complaint}, would have ${different.join(", ")} here`);
    return { ...plan, incoming: true };
  }

  async #listen(
    { monitor }: IncomingGuest,
    plan: LaunchPlan,
    { info, address }: { readonly info: MigrationInfo; readonly address: string },
  ): Promise<number> {
    const settings = migrationSettings(plan.guest);
    await allEnded([
      setCapabilities(monitor, settings),
      this.#parts.credentials.install(monitor, plan.paths.stem, { endpoint: "server", sender: info.sender }),
    ]);
    const lastPort = Math.min(settings.firstPort + PORTS - 1, LAST_PORT);
    const host = isIPv6(address) ? `[${address}]` : address;
    await monitor.execute({
      name: "migrate-incoming",
      arguments: { uri: `tcp:${host}:${settings.firstPort},to=${lastPort}` },
    });
    return listeningPort(monitor, plan.guest.name);
  }
}

async function listeningPort(monitor: GuestMonitor, guestName: string): Promise<number> {
  const report = await migrationReport(monitor);
  const port = Number(report["socket-address"]?.[0]?.port);
  if (Number.isInteger(port)) return port;
  throw new HypervisorError(`Instance ${guestName}: qemu does not tell where it waits for the migration`);
}
