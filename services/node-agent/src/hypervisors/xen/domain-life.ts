/** Making a guest's domain and ending it, each checked by what Xen lists afterwards. */
import { setTimeout as delay } from "node:timers/promises";
import type { GuestState, StartOptions, StopOptions } from "@gannet/driver-contract";
import { GannetError, HypervisorError } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";
import { deviceModelLog } from "./device-model-log.ts";
import type { XenDomain } from "./domain-list.ts";
import type { GuestPlaces } from "./guest-places.ts";
import type { GuestPlan } from "./guest-plan.ts";
import type { RunningRecord } from "./guest-record.ts";
import { createArgv, destroyArgv, rebootArgv, resumeArgv, setMemoryArgv, shutdownArgv } from "./toolstack.ts";
import type { XenCommands } from "./xen-commands.ts";
import { type Domains, domainOf, isUp, type XenGuests } from "./xen-guests.ts";
import type { XenHypervisorName } from "./xen-parameters.ts";

/** Memory is cleaned before it is given to a guest; much memory takes long. */
const CREATE_TIMEOUT_MS = 5 * 60 * 1000;
const DESTROY_TIMEOUT_MS = 60_000;
/** A destroyed domain stays until all have let go of its memory. */
const GONE_WITHIN_MS = 15_000;
/** The guest gives or takes memory by itself. */
const MEMORY_MOVES_WITHIN_MS = 10_000;
const LOOK_MS = 200;

/** What `xl` calls a guest on its way: on the target until it is whole, on the source once it has gone. */
export const INCOMING = (guestName: string) => `${guestName}--incoming`;
export const GONE_AWAY = (guestName: string) => `${guestName}--migratedaway`;

export interface DomainLifeParts {
  readonly hypervisor: XenHypervisorName;
  readonly commands: XenCommands;
  readonly guests: XenGuests;
  readonly places: GuestPlaces;
  /** Holds the logs of device models. */
  readonly logFolder: string;
  readonly logger: Logger;
}

export class DomainLife {
  readonly #parts: DomainLifeParts;

  constructor(parts: DomainLifeParts) {
    this.#parts = parts;
  }

  /**
   * What an earlier life of the guest left is removed first.
   * @param domains - as they are, in which the guest does not run
   * @throws HypervisorError; nothing is left then
   */
  async start(plan: GuestPlan, options: StartOptions, domains: Domains, signal: AbortSignal): Promise<GuestState> {
    const { guest } = plan;
    await this.remove(guest.name, domains);
    try {
      if (signal.aborted) throw new HypervisorError(`The start of ${guest.name} was aborted`);
      await this.#parts.guests.write({ version: 1, guest, phase: "starting" });
      const state = await this.#create(plan, options, signal);
      this.#parts.logger.info({ instance: guest.name, hypervisor: this.#parts.hypervisor }, "guest started");
      return state;
    } catch (error) {
      await this.remove(guest.name).catch((cleanup) => {
        this.#parts.logger.error({ instance: guest.name, error: cleanup }, "a failed start could not be cleaned up");
      });
      throw error;
    }
  }

  /** A domain that runs already, perhaps without the agent's record of it. */
  async takeUp(guest: GuestPlan["guest"], domain: XenDomain): Promise<GuestState> {
    const { guests } = this.#parts;
    const record = guests.running(guest.name) ?? running(guest, domain, Date.now());
    if (guests.running(guest.name) === undefined) await guests.write(record);
    return guests.stateIn(record, new Map([[guest.name, domain]]));
  }

  /** Ask, wait, then destroy; gone is gone, whoever did it. @returns the domains that are left */
  async stop(guestName: string, options: StopOptions, signal: AbortSignal): Promise<Domains> {
    const domains = await this.#parts.guests.look(signal);
    const running = domains.get(guestName)?.status === "running";
    if (running && !options.force) await this.#ask(guestName, options.timeoutMs, signal);
    if (signal.aborted) throw new HypervisorError(`Stopping ${guestName} was aborted`);
    return this.remove(guestName, domains);
  }

  /**
   * Every domain and every file of the guest. What is gone already is no error.
   * @param known - the domains there were a moment ago; one of them that is gone by now is no error either
   * @returns the domains that are left
   * @throws HypervisorError when a domain stays; the files do so, too
   */
  async remove(guestName: string, known?: Domains): Promise<Domains> {
    const { guests, places } = this.#parts;
    const domains = await this.removeDomains(guestName, known);
    await places.remove(guestName);
    await guests.forget(guestName);
    return domains;
  }

  /** @returns the domains that are left @throws HypervisorError when a domain stays */
  async removeDomains(guestName: string, known?: Domains): Promise<Domains> {
    const { guests } = this.#parts;
    const names = [guestName, INCOMING(guestName), GONE_AWAY(guestName)];
    const present = (domains: Domains) => names.filter((name) => domains.has(name));
    let domains = known ?? (await guests.look());
    const failures: Error[] = [];
    for (const name of present(domains)) await this.#destroy(name).catch((error: Error) => failures.push(error));
    if (present(domains).length > 0) {
      const waitMs = failures.length > 0 ? 0 : GONE_WITHIN_MS;
      domains = await this.#lookUntil((now) => present(now).length === 0, waitMs);
    }
    const [stays] = present(domains);
    if (stays !== undefined)
      throw failures[0] ?? new HypervisorError(`Xen said that it destroyed domain ${stays}, but still lists it`);
    return domains;
  }

  /**
   * A domain that stands still because what sent or saved it was killed, or heard nothing of its arrival, goes on where
   * Xen has a command for that.
   * @returns why it stands still, or nothing
   */
  async resume(guestName: string, domains: Domains): Promise<string> {
    const { commands, logger } = this.#parts;
    if (domains.get(guestName)?.status !== "suspended") return "";
    try {
      await commands.run(`let ${guestName} go on`, resumeArgv(commands.toolstack, guestName));
      return "";
    } catch (error) {
      if (!(error instanceof HypervisorError)) throw error;
      logger.error({ instance: guestName, error: error.message }, "a guest stands still");
      return `it stands still, and goes on only when it is stopped and started: ${error.message}`;
    }
  }

  /**
   * Ask the guest to reboot: Xen then starts it anew.
   * @returns undefined when it did not within the time
   */
  async rebootItself(
    record: RunningRecord,
    before: XenDomain,
    plan: GuestPlan,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<GuestState | undefined> {
    const { commands, guests, logger } = this.#parts;
    const { name } = record.guest;
    try {
      await commands.run(`reboot ${name}`, rebootArgv(commands.toolstack, name, this.#guestType), { signal });
    } catch (error) {
      if (!(error instanceof GannetError) || signal.aborted) throw error;
      logger.warn({ instance: name, error: error.message }, "a guest could not be asked to reboot");
      return undefined;
    }
    const anew = (domains: Domains): XenDomain | undefined => {
      const domain = domainOf(record.guest, domains);
      return domain !== undefined && isUp(domain) && domain.id !== before.id ? domain : undefined;
    };
    const domains = await this.#lookUntil((now) => anew(now) !== undefined, timeoutMs, signal);
    if (signal.aborted) throw new HypervisorError(`The reboot of ${name} was aborted`);
    const domain = anew(domains);
    if (domain === undefined) return undefined;
    const rebooted = running(plan.guest, domain, Date.now());
    await guests.write(rebooted);
    return guests.stateIn(rebooted, domains);
  }

  /** The plan holds the new size, by which the guest is also started the next time. */
  async setMemory(plan: GuestPlan, record: RunningRecord, before: XenDomain, signal: AbortSignal): Promise<void> {
    const { commands, guests, places } = this.#parts;
    const { name, startMemoryMib } = plan.guest;
    const argv = setMemoryArgv(commands.toolstack, name, startMemoryMib);
    await commands.run(`give ${name} ${startMemoryMib} MiB`, argv, { signal });
    const wanted = Math.sign(startMemoryMib - before.memoryMib);
    const moved = (domains: Domains): boolean => {
      const domain = domainOf(record.guest, domains);
      return domain !== undefined && Math.sign(domain.memoryMib - before.memoryMib) === wanted;
    };
    const domains = await this.#lookUntil(moved, MEMORY_MOVES_WITHIN_MS, signal);
    if (!moved(domains))
      throw new HypervisorError(
        `Instance ${name} still has ${before.memoryMib} MiB: does it have the driver by which Xen changes a guest's memory?`,
      );
    await places.writeConfig(name, plan.config);
    await guests.write({ ...record, guest: plan.guest });
  }

  async #create({ guest, config }: GuestPlan, options: StartOptions, signal: AbortSignal): Promise<GuestState> {
    const { commands, guests, places } = this.#parts;
    await places.write(guest, config);
    const argv = createArgv(commands.toolstack, places.configFile(guest.name), options);
    const sinceMs = Date.now();
    await commands
      .run(`start ${guest.name}`, argv, { timeoutMs: CREATE_TIMEOUT_MS, signal })
      .catch((error: unknown) => this.#withDeviceModelLog(error, guest.name, sinceMs));
    const domains = await guests.look(signal);
    const domain = domainOf(guest, domains);
    if (domain === undefined)
      throw new HypervisorError(`Xen said that it started ${guest.name}, but does not list such a domain`);
    if (!isUp(domain)) throw new HypervisorError(`Instance ${guest.name} ended as soon as it was started`);
    const record = running(guest, domain, Date.now());
    await guests.write(record);
    return guests.stateIn(record, domains);
  }

  /** @throws HypervisorError, or what was thrown */
  async #withDeviceModelLog(error: unknown, guestName: string, sinceMs: number): Promise<never> {
    if (!(error instanceof HypervisorError)) throw error;
    const printed = await deviceModelLog(this.#parts.logFolder, guestName, sinceMs).catch(() => "");
    if (printed === "") throw error;
    throw new HypervisorError(`${error.message}\nIts device model printed: ${printed}`, { cause: error });
  }

  /** A guest that cannot be asked, or does not obey in time, is destroyed all the same. */
  async #ask(guestName: string, timeoutMs: number, signal: AbortSignal): Promise<void> {
    const { commands, logger } = this.#parts;
    const argv = shutdownArgv(commands.toolstack, guestName, this.#guestType);
    await commands
      .run(`shut ${guestName} down`, argv, { timeoutMs: Math.max(1, timeoutMs), signal })
      .catch((error: unknown) => {
        if (!(error instanceof HypervisorError)) throw error;
        logger.warn({ instance: guestName, error: error.message }, "a guest did not shut down");
      });
  }

  async #destroy(domain: string): Promise<void> {
    const { commands } = this.#parts;
    await commands.run(`destroy domain ${domain}`, destroyArgv(commands.toolstack, domain), {
      timeoutMs: DESTROY_TIMEOUT_MS,
    });
  }

  /** The last list, on which the condition holds unless the time ran out. */
  async #lookUntil(holds: (domains: Domains) => boolean, timeoutMs: number, signal?: AbortSignal): Promise<Domains> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const domains = await this.#parts.guests.look(signal);
      if (holds(domains) || signal?.aborted || performance.now() >= deadline) return domains;
      await delay(LOOK_MS);
    }
  }

  get #guestType(): "pv" | "hvm" {
    return this.#parts.hypervisor === "xen-pvm" ? "pv" : "hvm";
  }
}

export function running(guest: GuestPlan["guest"], domain: XenDomain, startedAtMs: number): RunningRecord {
  return { version: 1, guest, phase: "running", domainId: domain.id, startedAtMs, leaving: null };
}
