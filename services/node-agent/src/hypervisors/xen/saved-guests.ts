/**
 * Guests whose memory is kept in a file of their node, to go on from there. A guest that may already have run on from
 * its file must never do so again, because its disks have moved on: it is restored paused, noted as running, its file
 * removed, and only then let go.
 */
import type { GuestState, StartOptions } from "@gannet/driver-contract";
import { GannetError, HypervisorError } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";
import { type DomainLife, running } from "./domain-life.ts";
import type { XenDomain } from "./domain-list.ts";
import type { GuestPlaces } from "./guest-places.ts";
import type { GuestPlan } from "./guest-plan.ts";
import type { RunningRecord } from "./guest-record.ts";
import { restoreArgv, saveArgv, unpauseArgv } from "./toolstack.ts";
import type { XenCommands } from "./xen-commands.ts";
import { type Domains, domainOf, isUp, type XenGuests } from "./xen-guests.ts";
import { runs, untilEnded } from "./xl-processes.ts";

/** Much memory, and slow disks. */
const WRITTEN_WITHIN_MS = 24 * 60 * 60 * 1000;

export interface SavedGuestsParts {
  readonly commands: XenCommands;
  readonly guests: XenGuests;
  readonly life: DomainLife;
  readonly places: GuestPlaces;
  readonly logger: Logger;
}

export class SavedGuests {
  readonly #parts: SavedGuestsParts;
  readonly #closing = new AbortController();

  constructor(parts: SavedGuestsParts) {
    this.#parts = parts;
  }

  isSaved(guestName: string): boolean {
    return this.#parts.guests.get(guestName)?.phase === "saved";
  }

  /** Started anew, it would lose what was saved. @throws HypervisorError */
  refuseStart(guestName: string, domain: XenDomain | undefined): void {
    if (this.isSaved(guestName))
      throw new HypervisorError(`Instance ${guestName} is saved on this node: restore it, or stop it to give that up`);
    if (this.#isLeaving(guestName) && domain === undefined)
      throw new HypervisorError(`Instance ${guestName} is being saved on this node`);
  }

  /** Broken off, Xen's command would leave the guest suspended: it outlives the agent, and is never aborted. */
  async save(record: RunningRecord): Promise<void> {
    const { commands, guests, places } = this.#parts;
    const { name } = record.guest;
    await places.makeSavingFile(name);
    await guests.write({ ...record, leaving: "saved" });
    const problem = await commands
      .run(`save ${name}`, saveArgv(commands.toolstack, name, places.savingFile(name)), {
        timeoutMs: WRITTEN_WITHIN_MS,
        outlives: { logFile: places.logFile(name) },
      })
      .then(
        () => undefined,
        (error: unknown) => {
          if (error instanceof GannetError) return error;
          throw error;
        },
      );
    const stands = await this.#conclude(name, problem);
    if (problem !== undefined || !this.isSaved(name))
      throw new HypervisorError(
        [
          problem?.message ?? `Xen said that it saved ${name}, but still lists it`,
          ...(stands === "" ? [] : [stands]),
        ].join("; "),
        { cause: problem },
      );
  }

  /** After a restart of the agent: resolves when nothing saves the guest any more, or the driver is closed. */
  async untilSaved(guestName: string): Promise<void> {
    await untilEnded({ verb: "save", file: this.#parts.places.savingFile(guestName) }, this.#closing.signal);
  }

  /** Note what has become of a guest that an earlier life of the agent was saving. */
  async conclude(guestName: string): Promise<void> {
    if (this.#closing.signal.aborted || !this.#isLeaving(guestName)) return;
    if (await runs({ verb: "save", file: this.#parts.places.savingFile(guestName) })) return;
    await this.#conclude(guestName, undefined);
  }

  /** @throws HypervisorError; what was saved is kept then */
  async restore(plan: GuestPlan, { paused }: StartOptions, domains: Domains, signal: AbortSignal): Promise<GuestState> {
    const { guests, life, places } = this.#parts;
    const { guest } = plan;
    const record = guests.get(guest.name);
    if (record?.phase !== "saved") throw new HypervisorError(`Instance ${guest.name} is not saved on this node`);
    if (record.guest.uuid !== guest.uuid)
      throw new HypervisorError(
        `Another instance called ${guest.name} is saved on this node (${record.guest.uuid}, not ${guest.uuid})`,
      );
    await this.removeHalf(guest.name, domains);
    let domain: XenDomain;
    try {
      domain = await this.#read(plan, signal);
    } catch (error) {
      await life.removeDomains(guest.name);
      await places.removeMade(guest.name);
      throw error;
    }
    await guests.write(running(guest, domain, record.startedAtMs));
    await places.removeSaved(guest.name);
    return this.letGo(guest, { paused });
  }

  /** One that was restored, and that nobody may have told to go on. */
  async letGo(guest: GuestPlan["guest"], { paused }: StartOptions): Promise<GuestState> {
    const { commands, guests } = this.#parts;
    const record = guests.running(guest.name);
    const before = await guests.look();
    if (record === undefined) throw new HypervisorError(`Instance ${guest.name} does not run on this node`);
    if (paused || domainOf(guest, before)?.status !== "paused") return guests.stateIn(record, before);
    await commands.run(`let ${guest.name} go on`, unpauseArgv(commands.toolstack, guest.name));
    return guests.stateIn(record, await guests.look());
  }

  /**
   * What a restore that was cut short made of a saved guest, which has not run yet.
   * @throws HypervisorError when it runs: somebody else has started it
   */
  async removeHalf(guestName: string, domains: Domains): Promise<void> {
    if (domains.get(guestName)?.status === "running")
      throw new HypervisorError(
        `A domain called ${guestName} runs, which the agent has no record of; it is saved here`,
      );
    await this.#parts.life.removeDomains(guestName, domains);
  }

  close(): void {
    this.#closing.abort();
  }

  async #read(plan: GuestPlan, signal: AbortSignal): Promise<XenDomain> {
    const { commands, guests, places } = this.#parts;
    const { guest, config } = plan;
    await places.write(guest, config);
    const files = { configFile: places.configFile(guest.name), savedFile: places.savedFile(guest.name) };
    const argv = restoreArgv(commands.toolstack, files, { paused: true });
    await commands.run(`restore ${guest.name}`, argv, { timeoutMs: WRITTEN_WITHIN_MS, signal });
    const domain = domainOf(guest, await guests.look(signal));
    if (domain === undefined || !isUp(domain))
      throw new HypervisorError(`Xen said that it restored ${guest.name}, but does not list such a domain`);
    return domain;
  }

  /**
   * Saved when its domain is gone, unless Xen's command failed: then it has ended meanwhile.
   * @returns why it stands still, or nothing
   */
  async #conclude(guestName: string, problem: Error | undefined): Promise<string> {
    const { guests, life, places } = this.#parts;
    const record = guests.running(guestName);
    if (record === undefined) return "";
    const domains = await guests.look();
    if (domainOf(record.guest, domains) === undefined && problem === undefined) {
      await places.keepSaved(guestName);
      await guests.write({ version: 1, guest: record.guest, phase: "saved", startedAtMs: record.startedAtMs });
      await places.removeMade(guestName);
      return "";
    }
    await places.removeSaved(guestName);
    await guests.write({ ...record, leaving: null });
    return life.resume(guestName, domains);
  }

  #isLeaving(guestName: string): boolean {
    return this.#parts.guests.running(guestName)?.leaving === "saved";
  }
}
