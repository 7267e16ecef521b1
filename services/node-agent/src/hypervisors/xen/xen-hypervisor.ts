/**
 * Guests as domains of Xen, driven by `xl` (spec/node-ops.json, `hv.xen`). Domains go on when the agent ends. A guest
 * that shuts itself down leaves its domain behind, by which it is told from one that was destroyed; a stop ends with
 * the domain's removal.
 */
import path from "node:path";
import type {
  BallooningDriver,
  GuestConsole,
  GuestSpec,
  GuestState,
  HostResources,
  HypervisorDriver,
  HypervisorFacts,
  MeasuringDriver,
  MigratingDriver,
  MigrationProgress,
  MigrationTarget,
  PowercyclingDriver,
  SavingDriver,
  StartOptions,
  StopOptions,
} from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import { SerialByKey } from "../../serial-by-key.ts";
import type { HypervisorParts } from "../hypervisor-parts.ts";
import { makePrivateFolder } from "../kvm/private-folder.ts";
import { RecordFiles } from "../record-files.ts";
import { DomainLife } from "./domain-life.ts";
import { NODE_DOMAIN, type XenDomain } from "./domain-list.ts";
import { GuestPlaces } from "./guest-places.ts";
import { checkXenName, GuestPlanner } from "./guest-plan.ts";
import { guestRecord, type RunningRecord } from "./guest-record.ts";
import { SavedGuests } from "./saved-guests.ts";
import { consoleArgv, powercycleArgv } from "./toolstack.ts";
import { toolstackAtFirst } from "./toolstack-choice.ts";
import { XenCommands } from "./xen-commands.ts";
import { domainOf, isUp, XenGuests } from "./xen-guests.ts";
import { MOVED, XenMigration } from "./xen-migration.ts";
import { type XenOptions, xenOptions } from "./xen-options.ts";
import { toolstackOf, type XenHypervisorName } from "./xen-parameters.ts";

export class XenHypervisor
  implements HypervisorDriver, MigratingDriver, SavingDriver, BallooningDriver, PowercyclingDriver, MeasuringDriver
{
  readonly name: XenHypervisorName;
  readonly #parts: HypervisorParts;
  readonly #folder: string;
  readonly #xen: XenOptions;
  readonly #commands: XenCommands;
  readonly #places: GuestPlaces;
  readonly #planner: GuestPlanner;
  readonly #guests: XenGuests;
  readonly #life: DomainLife;
  readonly #migration: XenMigration;
  readonly #saved: SavedGuests;
  readonly #serial = new SerialByKey();

  constructor(name: XenHypervisorName, parts: HypervisorParts) {
    const { stateDir, runner, logger, options } = parts;
    const xen = options.xen ?? xenOptions({});
    this.name = name;
    this.#parts = parts;
    this.#xen = xen;
    this.#folder = path.join(stateDir, "xen-hypervisor", name);
    this.#commands = new XenCommands(runner, toolstackAtFirst([], xen));
    this.#places = new GuestPlaces(this.#folder, xen);
    this.#planner = new GuestPlanner({ hypervisor: name, options: xen, places: this.#places });
    this.#guests = new XenGuests({
      hypervisor: name,
      records: new RecordFiles(path.join(this.#folder, "guests"), guestRecord, logger),
      domains: (signal) => this.#commands.domains(signal),
      serial: this.#serial,
      logger,
    });
    this.#life = new DomainLife({
      hypervisor: name,
      commands: this.#commands,
      guests: this.#guests,
      places: this.#places,
      logFolder: xen.logFolder,
      logger,
    });
    this.#saved = new SavedGuests({
      commands: this.#commands,
      guests: this.#guests,
      life: this.#life,
      places: this.#places,
      logger,
    });
    this.#migration = new XenMigration({
      parts,
      xen,
      commands: this.#commands,
      guests: this.#guests,
      life: this.#life,
      places: this.#places,
      planner: this.#planner,
    });
  }

  async recover(): Promise<void> {
    await makePrivateFolder(path.dirname(this.#folder));
    await makePrivateFolder(this.#folder);
    await this.#places.prepare();
    const { logger } = this.#parts;
    const records = await this.#guests.readRecords();
    this.#commands.use(
      toolstackAtFirst(
        records.map(({ guest }) => toolstackOf(guest)),
        this.#xen,
      ),
    );
    for (const record of records) {
      const instance = record.guest.name;
      if (record.phase === "arriving")
        await this.#migration
          .listenAgain(record)
          .catch((error) => logger.error({ instance, error }, "a guest on its way here can no longer arrive"));
      if (record.phase === "running") await this.#takeUpLeaving(record);
      if (record.phase === "saved")
        await this.#guests
          .look()
          .then((domains) => this.#saved.removeHalf(instance, domains))
          .catch((error) => logger.error({ instance, error }, "a half-restored guest could not be removed"));
      if (record.phase !== "starting") continue;
      // Nobody was told that this start succeeded, so it has not.
      logger.warn({ instance }, "removing a guest whose start was cut short");
      await this.#life
        .remove(instance)
        // One guest in trouble, or Xen itself, must not keep the agent from everything else.
        .catch((error) => logger.error({ instance, error }, "a half-started guest could not be removed"));
    }
  }

  async describe(signal: AbortSignal): Promise<HypervisorFacts> {
    const { version, hvm } = await this.#commands.hostInfo(signal);
    if (!hvm && this.name === "xen-hvm")
      throw new HypervisorError("This node's processor, or its firmware, has no virtualization for xen-hvm");
    return { name: this.name, version, accelerated: true };
  }

  async validate(guest: GuestSpec): Promise<void> {
    await this.#planner.plan(guest);
  }

  start(guest: GuestSpec, options: StartOptions, signal: AbortSignal): Promise<GuestState> {
    return this.#serial.run(guest.name, async () => {
      const plan = await this.#planner.plan(guest);
      if (signal.aborted) throw new HypervisorError(`The start of ${guest.name} was aborted`);
      this.#commands.use(plan.toolstack);
      const domains = await this.#guests.look(signal);
      const domain = domains.get(guest.name);
      this.#migration.refuseStart(guest.name, domain);
      this.#saved.refuseStart(guest.name, domain);
      if (domain !== undefined && isUp(domain)) return this.#runningAlready(domain, guest);
      return this.#life.start(plan, options, domains, signal);
    });
  }

  stop(guestName: string, options: StopOptions, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guestName, async () => {
      checkXenName(guestName);
      await this.#life.stop(guestName, options, signal);
    });
  }

  reboot(guestName: string, options: StopOptions, signal: AbortSignal): Promise<GuestState> {
    return this.#serial.run(guestName, async () => {
      const { record, domain } = await this.#running(guestName);
      // Planned before the guest is touched: what cannot be started again is better left running.
      const plan = await this.#planner.plan(record.guest);
      const asked = !options.force && plan.params.reboot_behavior === "reboot";
      if (asked) {
        const state = await this.#life.rebootItself(record, domain, plan, options.timeoutMs, signal);
        if (state !== undefined) return state;
      }
      // One that was asked to reboot and did not has had its time.
      const left = await this.#life.stop(guestName, asked ? { ...options, force: true } : options, signal);
      return this.#life.start(plan, { paused: false }, left, signal);
    });
  }

  async state(guestName: string): Promise<GuestState | undefined> {
    return this.#guests.state(guestName);
  }

  async list(): Promise<readonly GuestState[]> {
    return this.#guests.list();
  }

  async console(guestName: string): Promise<GuestConsole> {
    await this.#running(guestName);
    return { kind: "ssh", command: consoleArgv(this.#commands.toolstack, guestName) };
  }

  onChange(listener: (guestName: string) => void): () => void {
    return this.#guests.onChange(listener);
  }

  async close(): Promise<void> {
    await this.#guests.close();
    this.#migration.close();
    this.#saved.close();
  }

  setMemory(guestName: string, memoryMib: number, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guestName, async () => {
      const { record, domain } = await this.#running(guestName);
      if (memoryMib < 1) throw new HypervisorError(`Instance ${guestName} cannot have ${memoryMib} MiB`);
      if (memoryMib > record.guest.maxMemoryMib)
        throw new HypervisorError(
          `Instance ${guestName} was started with at most ${record.guest.maxMemoryMib} MiB; ${memoryMib} MiB need a restart`,
        );
      const plan = await this.#planner.plan({ ...record.guest, startMemoryMib: memoryMib });
      await this.#life.setMemory(plan, record, domain, signal);
    });
  }

  save(guestName: string, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guestName, async () => {
      checkXenName(guestName);
      if (this.#saved.isSaved(guestName)) return;
      const { record, domain } = await this.#running(guestName);
      if (domain.status !== "running" || record.leaving !== null)
        throw new HypervisorError(
          `Instance ${guestName} stands still: Xen saves guests that run, which must take part in it`,
        );
      if (signal.aborted) throw new HypervisorError(`The saving of ${guestName} was aborted`);
      await this.#saved.save(record);
    });
  }

  restore(guest: GuestSpec, options: StartOptions, signal: AbortSignal): Promise<GuestState> {
    return this.#serial.run(guest.name, async () => {
      const plan = await this.#planner.plan(guest);
      this.#commands.use(plan.toolstack);
      const domains = await this.#guests.look(signal);
      const domain = domains.get(guest.name);
      if (this.#guests.running(guest.name) === undefined || domain === undefined || !isUp(domain))
        return this.#saved.restore(plan, options, domains, signal);
      await this.#runningAlready(domain, guest);
      return this.#saved.letGo(guest, options);
    });
  }

  async powercycle(signal: AbortSignal): Promise<void> {
    await this.#commands.run("reset this node", powercycleArgv(this.#commands.toolstack), { signal });
  }

  /** Domain 0 sees its own share of the machine only. */
  async hostResources(signal: AbortSignal): Promise<HostResources> {
    const [info, domains] = await Promise.all([this.#commands.hostInfo(signal), this.#guests.recent(signal)]);
    const node = domains.get(NODE_DOMAIN);
    return {
      memoryTotalMib: info.memoryTotalMib,
      memoryFreeMib: info.memoryFreeMib,
      memoryNodeMib: node?.memoryMib ?? 0,
      cpuTotal: info.cpuTotal,
      cpuSockets: info.cpuSockets,
      cpuNumaNodes: info.cpuNumaNodes,
      cpuNode: node?.vcpus ?? 0,
    };
  }

  async migrationInfo(guestName: string): Promise<string> {
    const { record } = await this.#running(guestName);
    return this.#migration.info(record);
  }

  acceptMigration(
    guest: GuestSpec,
    options: { readonly info: string; readonly address: string },
    signal: AbortSignal,
  ): Promise<number> {
    return this.#serial.run(guest.name, async () => this.#migration.accept(guest, options, signal));
  }

  /** `xl` has no other way than the live one: `options.live` makes no difference, as in Ganeti. */
  async *migrate(
    guest: GuestSpec,
    target: MigrationTarget,
    _options: { readonly live: boolean },
    signal: AbortSignal,
  ): AsyncGenerator<MigrationProgress> {
    if (await this.#migration.isSending(guest.name)) {
      yield* this.#migration.follow(guest.name, signal);
      return;
    }
    await this.#serial.run(guest.name, () => this.#migration.conclude(guest.name));
    if (this.#migration.hasLeft(guest.name)) {
      yield MOVED;
      return;
    }
    const { domain } = await this.#running(guest.name);
    if (domain.status !== "running")
      throw new HypervisorError(
        `Instance ${guest.name} is paused: Xen moves guests that run, which must take part in it`,
      );
    yield* this.#migration.send(guest.name, target, signal);
  }

  finishMigrationSource(guestName: string, succeeded: boolean, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guestName, async () => {
      checkXenName(guestName);
      await (succeeded ? this.#migration.letGo(guestName, signal) : this.#migration.restore(guestName, signal));
    });
  }

  finishMigrationTarget(guest: GuestSpec, succeeded: boolean, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guest.name, async () => {
      checkXenName(guest.name);
      await (succeeded ? this.#migration.takeOver(guest, signal) : this.#migration.refuse(guest, signal));
    });
  }

  /** What an earlier life of the agent was sending or saving: the master that waited for it may be gone, too. */
  async #takeUpLeaving({ guest, leaving }: RunningRecord): Promise<void> {
    const { name } = guest;
    // It may have run on from what was saved.
    if (leaving !== "saved") await this.#places.removeSaved(name);
    if (leaving === null) return;
    const [ended, conclude] = {
      sent: [() => this.#migration.untilSent(name), () => this.#migration.conclude(name)],
      saved: [() => this.#saved.untilSaved(name), () => this.#saved.conclude(name)],
    }[leaving] as [() => Promise<void>, () => Promise<void>];
    ended()
      .then(() => this.#serial.run(name, conclude))
      .catch((error) => this.#parts.logger.error({ instance: name, error }, "what became of a guest is not known"));
  }

  async #runningAlready(domain: XenDomain, guest: GuestSpec): Promise<GuestState> {
    const known = this.#guests.running(guest.name);
    if (known !== undefined && known.guest.uuid !== guest.uuid)
      throw new HypervisorError(
        `Another instance called ${guest.name} runs on this node (${known.guest.uuid}, not ${guest.uuid})`,
      );
    if (domain.uuid === undefined ? known === undefined : domain.uuid !== guest.uuid)
      throw new HypervisorError(
        `A domain that the agent has no record of runs as ${guest.name} (domain ${domain.id}); stop the instance first`,
      );
    return this.#life.takeUp(guest, domain);
  }

  /** @throws HypervisorError when it does not run */
  async #running(guestName: string): Promise<{ readonly record: RunningRecord; readonly domain: XenDomain }> {
    const domains = this.#guests.running(guestName) === undefined ? undefined : await this.#guests.look();
    const record = this.#guests.running(guestName);
    const domain = record === undefined || domains === undefined ? undefined : domainOf(record.guest, domains);
    if (record !== undefined && domain !== undefined && isUp(domain)) return { record, domain };
    throw new HypervisorError(`Instance ${guestName} does not run on this node`);
  }
}
