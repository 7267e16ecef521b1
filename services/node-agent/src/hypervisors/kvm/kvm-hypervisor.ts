/** Guests as qemu processes that go on when the agent ends. */
import path from "node:path";
import type {
  BallooningDriver,
  GuestConsole,
  GuestDisk,
  GuestSpec,
  GuestState,
  HotplugDevice,
  HotpluggingDriver,
  HypervisorDriver,
  HypervisorFacts,
  MigratingDriver,
  MigrationProgress,
  MigrationTarget,
  NonvolatileDriver,
  StartOptions,
  StopOptions,
} from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import { SerialByKey } from "../../serial-by-key.ts";
import { checkGuestName } from "../guest-name.ts";
import type { HypervisorParts } from "../hypervisor-parts.ts";
import { AccelerationProbe } from "./acceleration.ts";
import { setMemory } from "./balloon/set-memory.ts";
import { guestConsole } from "./console.ts";
import type { NonvolatileState } from "./firmware/nonvolatile-state.ts";
import { GuestResources } from "./guest-resources.ts";
import { isAlive, stateOf } from "./guest-state.ts";
import { GuestTable } from "./guest-table.ts";
import { Hotplug } from "./hotplug/hotplug.ts";
import { isIncoming, type KnownGuest } from "./known-guest.ts";
import { LaunchPlanner } from "./launch-planner.ts";
import { Arrival } from "./migration/arrival.ts";
import { MigrationCredentials } from "./migration/credentials.ts";
import { Departure } from "./migration/departure.ts";
import { makePrivateFolder, shortPrivateFolder } from "./private-folder.ts";
import { type RuntimeFolders, runtimeFolders } from "./runtime-paths.ts";
import type { RuntimeRecord } from "./runtime-record.ts";
import { SpiceCertificates } from "./spice-certificate.ts";

const DEFAULT_QEMU_PATH = "/usr/bin/kvm";

export class KvmHypervisor
  implements HypervisorDriver, MigratingDriver, BallooningDriver, HotpluggingDriver, NonvolatileDriver
{
  readonly name = "kvm";
  readonly #parts: HypervisorParts;
  readonly #folders: RuntimeFolders;
  readonly #planner: LaunchPlanner;
  readonly #acceleration: AccelerationProbe;
  readonly #guests: GuestTable;
  readonly #nonvolatile: NonvolatileState;
  readonly #credentials: MigrationCredentials;
  readonly #hotplug: Hotplug;
  readonly #departure: Departure;
  readonly #arrival: Arrival;
  readonly #serial = new SerialByKey();
  readonly #listeners = new Set<(guestName: string) => void>();

  constructor(parts: HypervisorParts) {
    const { stateDir, runner, logger, options } = parts;
    this.#parts = parts;
    const sharedFolder = shortPrivateFolder();
    this.#folders = runtimeFolders(stateDir, sharedFolder);
    this.#acceleration = new AccelerationProbe({
      setting: options.kvmAcceleration ?? "auto",
      runner,
      logger,
      imagePath: path.join(this.#folders.conf, "acceleration-test.bin"),
    });
    const resources = new GuestResources(parts, this.#folders, sharedFolder);
    const { nics, uids, nonvolatile } = resources;
    const planner = new LaunchPlanner({
      folders: this.#folders,
      acceleration: this.#acceleration,
      nics,
      uids,
      spiceCertificates: new SpiceCertificates({
        configured: options.spiceCertificate,
        folder: path.join(stateDir, "kvm-hypervisor", "spice-certificate"),
        nodeName: options.nodeName,
        logger,
      }),
      nonvolatile,
      runner,
    });
    const register = new GuestTable({
      folders: this.#folders,
      resources,
      runner,
      logger,
      onChange: (name) => this.#notify(name),
      onEnd: (name, cleanUp) => {
        this.#serial.run(name, cleanUp).catch((error) => {
          logger.error({ instance: name, error }, "cleaning up after a guest failed");
        });
      },
    });
    const credentials = new MigrationCredentials({
      pkiDir: options.pkiDir,
      folder: path.join(stateDir, "kvm-hypervisor", "migration-tls"),
      chroots: this.#folders.chroot,
    });
    this.#planner = planner;
    this.#guests = register;
    this.#credentials = credentials;
    this.#hotplug = new Hotplug({ register, planner, nics, logger });
    this.#nonvolatile = nonvolatile;
    this.#departure = new Departure({ register, credentials, nonvolatile, logger });
    this.#arrival = new Arrival({ register, credentials, planner, nics, nonvolatile, logger });
  }

  async recover(): Promise<void> {
    for (const folder of Object.values(this.#folders)) {
      await makePrivateFolder(path.dirname(folder));
      await makePrivateFolder(folder);
    }
    await this.#credentials.removeLeftovers();
    const records = await this.#guests.readRecords();
    const { logger } = this.#parts;
    const takenUp = records.map((record) =>
      this.#serial
        .run(record.guest.name, () => this.#takeUp(record))
        // One guest in trouble must not keep the agent from the others.
        .catch((error) => logger.error({ instance: record.guest.name, error }, "a guest could not be taken up again")),
    );
    await Promise.all(takenUp);
  }

  async describe(): Promise<HypervisorFacts> {
    const qemu = await this.#planner.binaries.facts(this.#parts.options.qemuPath ?? DEFAULT_QEMU_PATH);
    const verdict = await this.#acceleration.verdict(qemu);
    return { name: this.name, version: qemu.version.text, accelerated: verdict.works };
  }

  async validate(guest: GuestSpec): Promise<void> {
    await this.#planner.plan(guest, undefined);
  }

  start(guest: GuestSpec, options: StartOptions, signal: AbortSignal): Promise<GuestState> {
    return this.#serial.run(guest.name, async () => {
      const known = this.#guests.find(guest.name);
      if (known !== undefined && (await isAlive(known))) return runningAlready(known, guest);
      return stateOf(await this.#guests.start(await this.#planner.plan(guest, undefined), options, signal));
    });
  }

  stop(guestName: string, options: StopOptions, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guestName, () => this.#guests.stop(guestName, options, signal));
  }

  reboot(guestName: string, options: StopOptions, signal: AbortSignal): Promise<GuestState> {
    return this.#serial.run(guestName, async () => {
      const { record } = await this.#guests.running(guestName);
      if (record.leaving !== undefined)
        throw new HypervisorError(`Instance ${guestName} is being migrated; finish its migration first`);
      // Planned before the guest is stopped: what cannot be started again is better left running.
      const plan = await this.#planner.plan(record.guest, record);
      await this.#guests.stop(guestName, options, signal);
      return stateOf(await this.#guests.start(plan, { paused: false }, signal));
    });
  }

  async state(guestName: string): Promise<GuestState | undefined> {
    const known = this.#guests.find(guestName);
    return known === undefined || isIncoming(known) ? undefined : stateOf(known);
  }

  async list(): Promise<readonly GuestState[]> {
    const here = this.#guests.all().filter((known) => !isIncoming(known));
    return Promise.all(here.map(stateOf));
  }

  async console(guestName: string): Promise<GuestConsole> {
    const { record } = await this.#guests.running(guestName);
    return guestConsole(record.guest, this.#guests.paths(guestName));
  }

  migrationInfo(guestName: string): Promise<string> {
    return this.#serial.run(guestName, () => this.#departure.info(guestName));
  }

  acceptMigration(
    guest: GuestSpec,
    options: { readonly info: string; readonly address: string },
    signal: AbortSignal,
  ): Promise<number> {
    checkGuestName(guest.name);
    return this.#serial.run(guest.name, () => this.#arrival.accept(guest, options, signal));
  }

  async *migrate(
    guest: GuestSpec,
    target: MigrationTarget,
    { live }: { readonly live: boolean },
    signal: AbortSignal,
  ): AsyncGenerator<MigrationProgress> {
    const release = await this.#serial.take(guest.name);
    try {
      yield* this.#departure.send(guest, target, { live, stem: this.#guests.paths(guest.name).stem }, signal);
    } finally {
      release();
    }
  }

  finishMigrationSource(guestName: string, succeeded: boolean): Promise<void> {
    return this.#serial.run(guestName, () =>
      succeeded ? this.#departure.gone(guestName) : this.#departure.stay(guestName),
    );
  }

  finishMigrationTarget(guest: GuestSpec, succeeded: boolean, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guest.name, () =>
      succeeded ? this.#arrival.arrived(guest, signal) : this.#arrival.notArrived(guest),
    );
  }

  setMemory(guestName: string, memoryMib: number, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guestName, () => setMemory(this.#guests, guestName, memoryMib, { signal }));
  }

  checkHotplug(guestName: string): Promise<void> {
    return this.#serial.run(guestName, () => this.#hotplug.check(guestName));
  }

  plug(guestName: string, device: HotplugDevice, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guestName, () => this.#hotplug.plug(guestName, device, signal));
  }

  unplug(guestName: string, device: HotplugDevice, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guestName, () => this.#hotplug.unplug(guestName, device, signal));
  }

  replug(guestName: string, device: HotplugDevice, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guestName, () => this.#hotplug.replug(guestName, device, signal));
  }

  resizeDisk(guestName: string, disk: GuestDisk): Promise<void> {
    return this.#serial.run(guestName, () => this.#hotplug.resizeDisk(guestName, disk));
  }

  async readNonvolatile(guestUuid: string): Promise<Uint8Array | undefined> {
    await this.#refuseRunning(guestUuid);
    return this.#nonvolatile.read(guestUuid);
  }

  async writeNonvolatile(guestUuid: string, state: Uint8Array): Promise<void> {
    await this.#refuseRunning(guestUuid);
    await this.#nonvolatile.write(guestUuid, state);
  }

  async removeNonvolatile(guestUuid: string): Promise<void> {
    await this.#refuseRunning(guestUuid);
    await this.#nonvolatile.remove(guestUuid);
  }

  onChange(listener: (guestName: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#guests.close();
    this.#listeners.clear();
  }

  async #takeUp(record: RuntimeRecord): Promise<void> {
    const known = await this.#guests.takeUp(record);
    if (isIncoming(known)) this.#arrival.watch(known);
  }

  /** @throws HypervisorError when its qemu has the files open */
  async #refuseRunning(guestUuid: string): Promise<void> {
    const known = this.#guests.all().find(({ record }) => record.guest.uuid === guestUuid);
    if (known !== undefined && (await isAlive(known)))
      throw new HypervisorError(`Instance ${known.record.guest.name} runs on this node; stop it first`);
  }

  #notify(guestName: string): void {
    for (const listener of this.#listeners) listener(guestName);
  }
}

/** @throws HypervisorError when it is another guest, or still to come */
function runningAlready(known: KnownGuest, asked: GuestSpec): Promise<GuestState> {
  if (isIncoming(known)) throw new HypervisorError(`Instance ${asked.name} is being migrated to this node`);
  if (known.record.guest.uuid === asked.uuid) return stateOf(known);
  throw new HypervisorError(
    `Another instance called ${asked.name} runs on this node (${known.record.guest.uuid}, not ${asked.uuid})`,
  );
}
