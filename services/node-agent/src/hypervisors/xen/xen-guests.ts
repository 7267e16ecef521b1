/** The guests of one Xen driver: their records, joined with what Xen lists, and the news that this gives. */
import type { GuestState, GuestStatus } from "@gannet/driver-contract";
import type { Logger } from "@gannet/telemetry";
import type { SerialByKey } from "../../serial-by-key.ts";
import { fileStem } from "../file-stem.ts";
import type { RecordFiles } from "../record-files.ts";
import type { XenDomain } from "./domain-list.ts";
import type { GuestRecord, RunningRecord } from "./guest-record.ts";
import type { XenHypervisorName } from "./xen-parameters.ts";

export type Domains = ReadonlyMap<string, XenDomain>;

export interface XenGuestsParts {
  readonly hypervisor: XenHypervisorName;
  readonly records: RecordFiles<GuestRecord>;
  readonly domains: (signal?: AbortSignal) => Promise<Domains>;
  /** Operations on one guest, after another. */
  readonly serial: SerialByKey;
  readonly logger: Logger;
}

/** Xen is asked at least so often while there are guests, whoever asks. */
const LOOK_INTERVAL_MS = 4_000;
const TIMER_MS = 1_000;
/** Of a guest that has no domain here. */
const NOTHING = { memoryMib: 0, vcpus: 0, uptimeSeconds: 0, cpuSeconds: 0 } as const;

export class XenGuests {
  readonly #parts: XenGuestsParts;
  readonly #records = new Map<string, GuestRecord>();
  /** As last seen, since the record was written. */
  readonly #statuses = new Map<string, GuestStatus>();
  /** When each record was written: what was asked of Xen before says nothing of it. */
  readonly #writtenAt = new Map<string, number>();
  readonly #listeners = new Set<(guestName: string) => void>();
  #lookedAt = 0;
  #seen: Domains | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #closing = new AbortController();
  #looking: Promise<unknown> = Promise.resolve();

  constructor(parts: XenGuestsParts) {
    this.#parts = parts;
  }

  async readRecords(): Promise<readonly GuestRecord[]> {
    const records = await this.#parts.records.readAll();
    for (const record of records) this.#records.set(record.guest.name, record);
    this.#timer = setInterval(() => this.#lookWhenDue(), TIMER_MS).unref();
    return records;
  }

  get(guestName: string): GuestRecord | undefined {
    return this.#records.get(guestName);
  }

  running(guestName: string): RunningRecord | undefined {
    const record = this.#records.get(guestName);
    return record?.phase === "running" ? record : undefined;
  }

  async write(record: GuestRecord): Promise<void> {
    this.#statuses.delete(record.guest.name);
    await this.#parts.records.write(fileStem(record.guest.name), record);
    this.#records.set(record.guest.name, record);
    this.#writtenAt.set(record.guest.name, performance.now());
  }

  async forget(guestName: string): Promise<void> {
    await this.#parts.records.remove(fileStem(guestName));
    this.#records.delete(guestName);
    this.#writtenAt.delete(guestName);
    this.#statuses.delete(guestName);
  }

  /** Ask Xen for all domains, and tell listeners which guests are no longer what they were. */
  async look(signal?: AbortSignal): Promise<Domains> {
    const askedAt = performance.now();
    this.#lookedAt = askedAt;
    const domains = await this.#parts.domains(signal);
    this.#seen = domains;
    for (const record of this.#records.values())
      if (record.phase === "running" && (this.#writtenAt.get(record.guest.name) ?? 0) < askedAt)
        this.#note(record, domains);
    return domains;
  }

  /** As they were a moment ago: enough for what hardly changes. */
  async recent(signal: AbortSignal): Promise<Domains> {
    const isYoung = performance.now() - this.#lookedAt < LOOK_INTERVAL_MS;
    return isYoung && this.#seen !== undefined ? this.#seen : this.look(signal);
  }

  /** Of one guest; undefined when nothing is known of it. */
  async state(guestName: string): Promise<GuestState | undefined> {
    if (!isTold(this.#records.get(guestName))) return undefined;
    const domains = await this.look();
    return this.#told(this.#records.get(guestName), domains)[0];
  }

  /** One command for all. */
  async list(): Promise<readonly GuestState[]> {
    const domains = await this.look();
    return [...this.#records.values()].flatMap((record) => this.#told(record, domains));
  }

  /** A guest that is being sent or saved stands still while it bears another name, and when it has gone. */
  stateIn({ guest, startedAtMs, leaving }: RunningRecord, domains: Domains): GuestState {
    const identity = { name: guest.name, uuid: guest.uuid, hypervisor: this.#parts.hypervisor };
    const domain = domainOf(guest, domains);
    // A guest that shuts itself down in order leaves its domain behind (on_poweroff): one without has not.
    if (domain === undefined)
      return { ...identity, ...NOTHING, status: leaving !== null && !domains.has(guest.name) ? "paused" : "crashed" };
    const { memoryMib, vcpus, cpuSeconds } = domain;
    const status = domain.status === "suspended" ? "paused" : domain.status;
    const uptimeSeconds = isUp(domain) ? Math.max(0, (Date.now() - startedAtMs) / 1000) : 0;
    return { ...identity, status, memoryMib, vcpus, uptimeSeconds, cpuSeconds };
  }

  onChange(listener: (guestName: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#listeners.clear();
    this.#closing.abort();
    await this.#looking;
  }

  /** A guest that has been sent is paused until its migration is finished, as a saved one is; one that comes is not here yet. */
  #told(record: GuestRecord | undefined, domains: Domains): readonly GuestState[] {
    if (record === undefined || !isTold(record)) return [];
    if (record.phase === "running") return [this.stateIn(record, domains)];
    const { name, uuid } = record.guest;
    return [{ name, uuid, hypervisor: this.#parts.hypervisor, status: "paused", ...NOTHING }];
  }

  #note(record: RunningRecord, domains: Domains): void {
    const { name } = record.guest;
    const domain = domainOf(record.guest, domains);
    if (domain !== undefined && isUp(domain) && domain.id !== record.domainId) this.#noteReboot(record, domain);
    const { status } = this.stateIn(record, domains);
    // The first look finds it up, as it was left; anything else is news.
    const before = this.#statuses.get(name) ?? (status === "paused" ? status : "running");
    this.#statuses.set(name, status);
    if (before !== status) for (const listener of this.#listeners) listener(name);
  }

  /** The guest restarted itself, some time since it was looked at last. */
  #noteReboot(record: RunningRecord, domain: XenDomain): void {
    const rebooted = { ...record, domainId: domain.id, startedAtMs: Date.now() };
    const { name } = record.guest;
    this.#records.set(name, rebooted);
    this.#parts.serial
      .run(name, async () => {
        if (this.#records.get(name) === rebooted) await this.#parts.records.write(fileStem(name), rebooted);
      })
      .catch((error) => this.#parts.logger.error({ instance: name, error }, "a guest's reboot cannot be noted"));
  }

  #lookWhenDue(): void {
    if (this.#records.size === 0 || performance.now() - this.#lookedAt < LOOK_INTERVAL_MS) return;
    this.#looking = this.look(this.#closing.signal).catch((error) => {
      if (!this.#closing.signal.aborted)
        this.#parts.logger.warn({ error: String(error) }, "Xen's domains cannot be listed");
    });
  }
}

/** A domain of the guest's name that somebody else made is not the guest. */
export function domainOf(
  guest: { readonly name: string; readonly uuid: string },
  domains: Domains,
): XenDomain | undefined {
  const domain = domains.get(guest.name);
  return domain?.uuid === undefined || domain.uuid === guest.uuid ? domain : undefined;
}

/** It runs, or may go on. */
export function isUp({ status }: XenDomain): boolean {
  return status === "running" || status === "paused" || status === "suspended";
}

function isTold(record: GuestRecord | undefined): boolean {
  return record?.phase === "running" || record?.phase === "left" || record?.phase === "saved";
}
