/**
 * A hypervisor without guests, for trying Gannet where nothing can run and for trials of scale. It keeps state as
 * the real ones do, one file a guest, and does wrong what its fault script orders.
 */
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type {
  GuestConsole,
  GuestSpec,
  GuestState,
  HypervisorDriver,
  HypervisorFacts,
  StartOptions,
  StopOptions,
} from "@gannet/driver-contract";
import { GannetError, HypervisorError } from "@gannet/errors";
import { checkHypervisorParameters } from "@gannet/objects";
import type { Logger } from "@gannet/telemetry";
import { z } from "zod";
import { fileStem } from "../file-stem.ts";
import { checkGuestName, checkUuid } from "../guest-name.ts";
import { guestSpecSchema } from "../guest-spec-schema.ts";
import type { HypervisorParts } from "../hypervisor-parts.ts";
import { RecordFiles } from "../record-files.ts";
import { SerialByKey } from "../serial-by-key.ts";
import { FaultScript, type FaultyOperation } from "./fault-script.ts";

const fakeRecord = z.object({
  version: z.literal(1),
  guest: guestSpecSchema,
  paused: z.boolean(),
  /** Milliseconds since 1970. */
  startedAtMs: z.int(),
  /** When the guest crashes or has crashed, in milliseconds since 1970; null for never. */
  crashesAtMs: z.int().nullable(),
});
type FakeRecord = z.output<typeof fakeRecord>;

export class FakeHypervisor implements HypervisorDriver {
  readonly name = "fake";
  readonly #records: RecordFiles<FakeRecord>;
  readonly #faults: FaultScript;
  readonly #logger: Logger;
  readonly #serial = new SerialByKey();
  readonly #guests = new Map<string, FakeRecord>();
  readonly #crashTimers = new Map<string, NodeJS.Timeout>();
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
      const { guest } = this.#running(guestName);
      await this.#stop(guestName, signal);
      return this.#start("reboot", guest, { paused: false }, signal);
    });
  }

  async state(guestName: string): Promise<GuestState | undefined> {
    const record = this.#guests.get(guestName);
    return record === undefined ? undefined : stateOf(record);
  }

  async list(): Promise<readonly GuestState[]> {
    return [...this.#guests.values()].map(stateOf);
  }

  async console(guestName: string): Promise<GuestConsole> {
    this.#running(guestName);
    return { kind: "msg", message: `Instance ${guestName} is simulated and has no console` };
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

  async #start(
    operation: "start" | "reboot",
    guest: GuestSpec,
    { paused }: StartOptions,
    signal: AbortSignal,
  ): Promise<GuestState> {
    check(guest);
    const before = this.#guests.get(guest.name);
    if (before !== undefined && !hasCrashed(before)) return sameGuest(before, guest);
    const { crashAfterMs } = await this.#misbehave(operation, guest.name, signal);
    const startedAtMs = Date.now();
    const crashesAtMs = crashAfterMs === undefined ? null : startedAtMs + crashAfterMs;
    const record: FakeRecord = { version: 1, guest, paused, startedAtMs, crashesAtMs };
    await this.#records.write(fileStem(guest.name), record);
    this.#adopt(record);
    return stateOf(record);
  }

  async #stop(guestName: string, signal: AbortSignal): Promise<void> {
    checkGuestName(guestName);
    if (this.#guests.has(guestName)) await this.#misbehave("stop", guestName, signal);
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
    const crashing = { ...record, crashesAtMs: Date.now() + fault.delayMs };
    await this.#records.write(fileStem(guestName), crashing);
    this.#adopt(crashing);
  }

  #adopt(record: FakeRecord): void {
    const { name } = record.guest;
    this.#guests.set(name, record);
    clearTimeout(this.#crashTimers.get(name));
    if (record.crashesAtMs === null) return;
    const leftMs = Math.max(0, record.crashesAtMs - Date.now());
    const timer = setTimeout(() => {
      this.#crashTimers.delete(name);
      for (const listener of this.#listeners) listener(name);
    }, leftMs);
    this.#crashTimers.set(name, timer.unref());
  }

  #running(guestName: string): FakeRecord {
    const record = this.#guests.get(guestName);
    if (record !== undefined && !hasCrashed(record)) return record;
    throw new HypervisorError(`Instance ${guestName} does not run on this node`);
  }
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

function hasCrashed({ crashesAtMs }: FakeRecord): boolean {
  return crashesAtMs !== null && crashesAtMs <= Date.now();
}

/** A simulated guest uses no processor; one that has crashed uses nothing at all, as with real hypervisors. */
function stateOf(record: FakeRecord): GuestState {
  const { name, uuid, startMemoryMib, vcpus } = record.guest;
  const identity = { name, uuid, hypervisor: "fake", cpuSeconds: 0 } as const;
  if (hasCrashed(record)) return { ...identity, status: "crashed", memoryMib: 0, vcpus: 0, uptimeSeconds: 0 };
  const uptimeSeconds = Math.max(0, (Date.now() - record.startedAtMs) / 1000);
  return {
    ...identity,
    status: record.paused ? "paused" : "running",
    memoryMib: startMemoryMib,
    vcpus,
    uptimeSeconds,
  };
}
