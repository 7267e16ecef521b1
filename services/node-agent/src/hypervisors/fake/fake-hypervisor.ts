/**
 * A hypervisor without guests, for trying Gannet where nothing can run and for trials of scale. It keeps state as
 * the real ones do, one file a guest, and does wrong what its fault script orders.
 */
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
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
  StartOptions,
  StopOptions,
} from "@gannet/driver-contract";
import { GannetError, HypervisorError } from "@gannet/errors";
import { checkHypervisorParameters } from "@gannet/objects";
import type { Logger } from "@gannet/telemetry";
import { SerialByKey } from "../../serial-by-key.ts";
import { fileStem } from "../file-stem.ts";
import { deviceUuid, presentDevice, withDevice, withoutDevice } from "../guest-devices.ts";
import { checkGuestName, checkUuid } from "../guest-name.ts";
import type { HypervisorParts } from "../hypervisor-parts.ts";
import { RecordFiles } from "../record-files.ts";
import { type FakeRecord, fakeRecord, hasCrashed, incomingRecord, isHere, stateOf, writeInfo } from "./fake-record.ts";
import { FaultScript, type FaultyOperation } from "./fault-script.ts";

/** As if the hypervisor had a port for each migration that comes in. */
const FIRST_PORT = 8102;
const PROGRESS_MS = 500;
const BYTES_PER_MIB = 1024 * 1024;
/** A pause that nobody would notice. */
const DOWNTIME_MS = 1;

export class FakeHypervisor implements HypervisorDriver, MigratingDriver, BallooningDriver, HotpluggingDriver {
  readonly name = "fake";
  readonly #records: RecordFiles<FakeRecord>;
  readonly #faults: FaultScript;
  readonly #logger: Logger;
  readonly #serial = new SerialByKey();
  readonly #guests = new Map<string, FakeRecord>();
  readonly #crashTimers = new Map<string, NodeJS.Timeout>();
  #lastPort = FIRST_PORT - 1;
  readonly #listeners = new Set<(guestName: string) => void>();

  constructor({ stateDir, logger }: HypervisorParts) {
    const folder = path.join(stateDir, "fake-hypervisor");
    this.#logger = logger;
    this.#records = new RecordFiles(path.join(folder, "guests"), fakeRecord, logger);
    this.#faults = new FaultScript(path.join(folder, "faults.json"));
  }

  async recover(): Promise<void> {
    for (const record of await this.#records.readAll()) this.#adopt(record);
    await this.#faults.watch(() => {
      this.#crashAsOrdered().catch((error) => this.#logger.error({ error }, "the fault script could not be followed"));
    });
    await this.#crashAsOrdered();
  }

  async describe(): Promise<HypervisorFacts> {
    return { name: this.name, version: "1", accelerated: false };
  }

  async validate(guest: GuestSpec, signal: AbortSignal): Promise<void> {
    check(guest);
    await this.#misbehave("validate", guest.name, signal);
  }

  start(guest: GuestSpec, options: StartOptions, signal: AbortSignal): Promise<GuestState> {
    return this.#serial.run(guest.name, () => this.#start("start", guest, options, signal));
  }

  stop(guestName: string, _options: StopOptions, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guestName, () => this.#stop(guestName, signal));
  }

  reboot(guestName: string, _options: StopOptions, signal: AbortSignal): Promise<GuestState> {
    return this.#serial.run(guestName, async () => {
      const { guest } = this.#staying(guestName);
      await this.#stop(guestName, signal);
      return this.#start("reboot", guest, { paused: false }, signal);
    });
  }

  async state(guestName: string): Promise<GuestState | undefined> {
    const record = this.#guests.get(guestName);
    return record === undefined || !isHere(record) ? undefined : stateOf(record);
  }

  async list(): Promise<readonly GuestState[]> {
    return [...this.#guests.values()].filter(isHere).map(stateOf);
  }

  async console(guestName: string): Promise<GuestConsole> {
    this.#running(guestName);
    return { kind: "msg", message: `Instance ${guestName} is simulated and has no console` };
  }

  migrationInfo(guestName: string, signal: AbortSignal): Promise<string> {
    return this.#serial.run(guestName, async () => {
      const record = this.#running(guestName);
      await this.#misbehave("migrationInfo", guestName, signal);
      return writeInfo(record);
    });
  }

  acceptMigration(
    guest: GuestSpec,
    { info }: { readonly info: string; readonly address: string },
    signal: AbortSignal,
  ): Promise<number> {
    return this.#serial.run(guest.name, async () => {
      check(guest);
      const before = this.#guests.get(guest.name);
      if (before !== undefined && isHere(before) && !hasCrashed(before))
        throw new HypervisorError(`Instance ${guest.name} runs on this node already (${before.guest.uuid})`);
      await this.#misbehave("acceptMigration", guest.name, signal);
      const port = before?.migration?.phase === "incoming" ? before.migration.port : this.#freePort();
      await this.#keep(incomingRecord(guest, info, port));
      return port;
    });
  }

  async *migrate(
    guest: GuestSpec,
    _target: MigrationTarget,
    _options: { readonly live: boolean },
    signal: AbortSignal,
  ): AsyncGenerator<MigrationProgress> {
    const release = await this.#serial.take(guest.name);
    try {
      yield* this.#send(guest, signal);
    } finally {
      release();
    }
  }

  finishMigrationSource(guestName: string, succeeded: boolean, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guestName, async () => {
      await this.#misbehave("finishMigrationSource", guestName, signal);
      const record = this.#guests.get(guestName);
      if (record === undefined || !isHere(record)) return;
      if (!succeeded) return record.migration === null ? undefined : this.#keep({ ...record, migration: null });
      if (record.migration === null && !hasCrashed(record))
        throw new HypervisorError(`Instance ${guestName} has not gone: all of it is here`);
      await this.#forget(guestName);
    });
  }

  finishMigrationTarget(guest: GuestSpec, succeeded: boolean, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guest.name, async () => {
      await this.#misbehave("finishMigrationTarget", guest.name, signal);
      const record = this.#guests.get(guest.name);
      if (succeeded) return this.#arrived(guest, record);
      if (record === undefined || hasCrashed(record)) return;
      if (isHere(record))
        throw new HypervisorError(`Instance ${guest.name} runs on this node; its migration was not a failure`);
      await this.#forget(guest.name);
    });
  }

  setMemory(guestName: string, memoryMib: number, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guestName, async () => {
      const record = this.#staying(guestName);
      const { maxMemoryMib } = record.guest;
      if (memoryMib < 1 || memoryMib > maxMemoryMib) {
        throw new HypervisorError(
          `Instance ${guestName} takes between 1 and ${maxMemoryMib} MiB of memory, not ${memoryMib}`,
        );
      }
      await this.#misbehave("setMemory", guestName, signal);
      await this.#keep({ ...record, guest: { ...record.guest, startMemoryMib: memoryMib } });
    });
  }

  checkHotplug(guestName: string, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guestName, async () => {
      this.#staying(guestName);
      await this.#misbehave("checkHotplug", guestName, signal);
    });
  }

  plug(guestName: string, device: HotplugDevice, signal: AbortSignal): Promise<void> {
    return this.#change("plug", guestName, signal, (guest) => withDevice(guest, device));
  }

  unplug(guestName: string, device: HotplugDevice, signal: AbortSignal): Promise<void> {
    return this.#change("unplug", guestName, signal, (guest) => withoutDevice(guest, device));
  }

  replug(guestName: string, device: HotplugDevice, signal: AbortSignal): Promise<void> {
    return this.#change("replug", guestName, signal, (guest) => withDevice(known(guest, device), device));
  }

  resizeDisk(guestName: string, disk: GuestDisk, signal: AbortSignal): Promise<void> {
    return this.#change("resizeDisk", guestName, signal, (guest) => {
      const { disks } = known(guest, { kind: "disk", disk });
      const resized = disks.map((each) => (each.uuid === disk.uuid ? { ...each, sizeMib: disk.sizeMib } : each));
      return { ...guest, disks: resized };
    });
  }

  onChange(listener: (guestName: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#faults.close();
    for (const timer of this.#crashTimers.values()) clearTimeout(timer);
    this.#crashTimers.clear();
    this.#listeners.clear();
  }

  async *#send(guest: GuestSpec, signal: AbortSignal): AsyncGenerator<MigrationProgress> {
    const record = this.#running(guest.name);
    const totalBytes = record.guest.startMemoryMib * BYTES_PER_MIB;
    const progress = { transferredBytes: 0, totalBytes, downtimeMs: null, problem: "" } as const;
    if (record.migration?.phase !== "sent") {
      const fault = await this.#faults.next("migrate", guest.name);
      const sendMs = fault?.delayMs ?? 0;
      for (let sentMs = 0; sentMs < sendMs && !signal.aborted; sentMs += PROGRESS_MS) {
        yield { ...progress, status: "active", transferredBytes: Math.floor((totalBytes * sentMs) / sendMs) };
        await delay(Math.min(PROGRESS_MS, sendMs - sentMs), undefined, { signal }).catch(() => {});
      }
      if (signal.aborted) {
        yield { ...progress, status: "cancelled" };
        return;
      }
      if (fault?.error !== undefined) {
        yield { ...progress, status: "failed", problem: fault.error };
        return;
      }
      await this.#keep({ ...this.#running(guest.name), migration: { phase: "sent" } });
    }
    yield { ...progress, status: "completed", transferredBytes: totalBytes, downtimeMs: DOWNTIME_MS };
  }

  async #arrived(guest: GuestSpec, record: FakeRecord | undefined): Promise<void> {
    if (record?.guest.uuid !== guest.uuid)
      throw new HypervisorError(`Instance ${guest.name} has not come to this node: no migration of it was accepted`);
    if (isHere(record)) return;
    await this.#keep({ ...record, migration: null });
    this.#notify(guest.name);
  }

  #freePort(): number {
    const ports = [...this.#guests.values()].map(({ migration }) =>
      migration?.phase === "incoming" ? migration.port : 0,
    );
    this.#lastPort = Math.max(this.#lastPort, ...ports) + 1;
    return this.#lastPort;
  }

  #change(
    operation: FaultyOperation,
    guestName: string,
    signal: AbortSignal,
    change: (guest: GuestSpec) => GuestSpec,
  ): Promise<void> {
    return this.#serial.run(guestName, async () => {
      const guest = change(this.#staying(guestName).guest);
      await this.#misbehave(operation, guestName, signal);
      await this.#keep({ ...this.#staying(guestName), guest });
    });
  }

  async #start(
    operation: "start" | "reboot",
    guest: GuestSpec,
    { paused }: StartOptions,
    signal: AbortSignal,
  ): Promise<GuestState> {
    check(guest);
    const before = this.#guests.get(guest.name);
    if (before !== undefined && !isHere(before))
      throw new HypervisorError(`Instance ${guest.name} is being migrated to this node`);
    if (before !== undefined && !hasCrashed(before)) return sameGuest(before, guest);
    const { crashAfterMs } = await this.#misbehave(operation, guest.name, signal);
    const startedAtMs = Date.now();
    const crashesAtMs = crashAfterMs === undefined ? null : startedAtMs + crashAfterMs;
    const record: FakeRecord = { version: 1, guest, paused, startedAtMs, crashesAtMs, migration: null };
    await this.#keep(record);
    return stateOf(record);
  }

  async #stop(guestName: string, signal: AbortSignal): Promise<void> {
    checkGuestName(guestName);
    if (this.#guests.has(guestName)) await this.#misbehave("stop", guestName, signal);
    await this.#forget(guestName);
  }

  async #keep(record: FakeRecord): Promise<void> {
    await this.#records.write(fileStem(record.guest.name), record);
    this.#adopt(record);
  }

  async #forget(guestName: string): Promise<void> {
    clearTimeout(this.#crashTimers.get(guestName));
    this.#crashTimers.delete(guestName);
    await this.#records.remove(fileStem(guestName));
    this.#guests.delete(guestName);
  }

  /** Take what the fault script orders for this operation. @throws HypervisorError when it orders one */
  async #misbehave(
    operation: FaultyOperation,
    guestName: string,
    signal: AbortSignal,
  ): Promise<{ readonly crashAfterMs: number | undefined }> {
    const fault = await this.#faults.next(operation, guestName);
    if (fault !== undefined && fault.delayMs > 0) await delay(fault.delayMs, undefined, { signal }).catch(() => {});
    if (signal.aborted) throw new HypervisorError(`The ${operation} of ${guestName} was aborted`);
    if (fault?.error !== undefined) throw new HypervisorError(fault.error);
    return { crashAfterMs: fault?.crashAfterMs };
  }

  async #crashAsOrdered(): Promise<void> {
    for (const guestName of this.#guests.keys()) await this.#serial.run(guestName, () => this.#crashOne(guestName));
  }

  async #crashOne(guestName: string): Promise<void> {
    const record = this.#guests.get(guestName);
    if (record === undefined || hasCrashed(record)) return;
    const fault = await this.#faults.next("crash", guestName);
    if (fault === undefined) return;
    await this.#keep({ ...record, crashesAtMs: Date.now() + fault.delayMs });
  }

  #adopt(record: FakeRecord): void {
    const { name } = record.guest;
    this.#guests.set(name, record);
    clearTimeout(this.#crashTimers.get(name));
    if (record.crashesAtMs === null) return;
    const leftMs = Math.max(0, record.crashesAtMs - Date.now());
    const timer = setTimeout(() => {
      this.#crashTimers.delete(name);
      this.#notify(name);
    }, leftMs);
    this.#crashTimers.set(name, timer.unref());
  }

  #notify(guestName: string): void {
    for (const listener of this.#listeners) listener(guestName);
  }

  /** @throws HypervisorError */
  #running(guestName: string): FakeRecord {
    const record = this.#guests.get(guestName);
    if (record !== undefined && isHere(record) && !hasCrashed(record)) return record;
    throw new HypervisorError(`Instance ${guestName} does not run on this node`);
  }

  /** @throws HypervisorError when it does not run, or another node may have it already */
  #staying(guestName: string): FakeRecord {
    const record = this.#running(guestName);
    if (record.migration === null) return record;
    throw new HypervisorError(`Instance ${guestName} is being migrated; finish its migration first`);
  }
}

/** The guest, which has the device. @throws HypervisorError when it has not */
function known(guest: GuestSpec, device: HotplugDevice): GuestSpec {
  if (presentDevice(guest, device) !== undefined) return guest;
  throw new HypervisorError(`Instance ${guest.name} has no ${device.kind} ${deviceUuid(device)}`);
}

/** @throws HypervisorError when the name is taken by another instance */
function sameGuest(running: FakeRecord, asked: GuestSpec): GuestState {
  if (running.guest.uuid === asked.uuid) return stateOf(running);
  throw new HypervisorError(
    `Another instance called ${asked.name} runs on this node (${running.guest.uuid}, not ${asked.uuid})`,
  );
}

/** @throws HypervisorError */
function check(guest: GuestSpec): void {
  checkGuestName(guest.name);
  checkUuid(guest.uuid, `Instance ${guest.name}`);
  try {
    checkHypervisorParameters("fake", guest.hvparams);
  } catch (error) {
    if (!(error instanceof GannetError)) throw error;
    throw new HypervisorError(`Instance ${guest.name}: ${error.message}`, { cause: error });
  }
}
