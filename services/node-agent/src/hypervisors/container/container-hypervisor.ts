/**
 * Guests as containers of the node's own kernel: lxc and chroot. A guest's only disk is mounted and is its system.
 * What is different between the two is in their backends.
 */
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
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
import { z } from "zod";
import { SerialByKey } from "../../serial-by-key.ts";
import { fileStem } from "../file-stem.ts";
import { checkGuestName, checkUuid } from "../guest-name.ts";
import { guestSpecSchema } from "../guest-spec-schema.ts";
import type { HypervisorParts } from "../hypervisor-parts.ts";
import { makePrivateFolder } from "../kvm/private-folder.ts";
import { RecordFiles } from "../record-files.ts";
import type { Container, ContainerBackend } from "./container-backend.ts";
import { mountRoot, unmountRoot } from "./root-mount.ts";

const containerRecord = z.object({
  version: z.literal(1),
  guest: guestSpecSchema,
  phase: z.enum(["starting", "running"]),
  startedAtMs: z.int(),
});
type ContainerRecord = z.output<typeof containerRecord>;
type Status = GuestState["status"];

/** Between looks at what has ended by itself. */
const LOOK_INTERVAL_MS = 4_000;

export class ContainerHypervisor implements HypervisorDriver {
  readonly name: HypervisorDriver["name"];
  readonly #backend: ContainerBackend;
  readonly #parts: HypervisorParts;
  readonly #folder: string;
  readonly #records: RecordFiles<ContainerRecord>;
  readonly #serial = new SerialByKey();
  readonly #guests = new Map<string, ContainerRecord>();
  /** As last seen, of those that nothing was done to since. */
  readonly #statuses = new Map<string, Status>();
  readonly #listeners = new Set<(guestName: string) => void>();
  #timer: NodeJS.Timeout | undefined;

  constructor(backend: ContainerBackend, parts: HypervisorParts) {
    this.name = backend.name;
    this.#backend = backend;
    this.#parts = parts;
    this.#folder = path.join(parts.stateDir, `${backend.name}-hypervisor`);
    this.#records = new RecordFiles(path.join(this.#folder, "guests"), containerRecord, parts.logger);
  }

  async recover(): Promise<void> {
    await makePrivateFolder(this.#folder);
    for (const name of ["root", "conf", "log"]) await mkdir(path.join(this.#folder, name), { recursive: true });
    const { logger } = this.#parts;
    for (const record of await this.#records.readAll()) {
      const instance = record.guest.name;
      this.#guests.set(instance, record);
      if (record.phase === "running") continue;
      logger.warn({ instance }, "removing a guest whose start was cut short");
      await this.#remove(record.guest).catch((error) =>
        logger.error({ instance, error }, "a half-started guest could not be removed"),
      );
    }
    this.#timer = setInterval(() => {
      this.#look().catch((error) => logger.warn({ error: String(error) }, "containers cannot be looked at"));
    }, LOOK_INTERVAL_MS).unref();
  }

  describe(signal: AbortSignal): Promise<HypervisorFacts> {
    return this.#backend.describe(signal);
  }

  async validate(guest: GuestSpec): Promise<void> {
    checkGuestName(guest.name);
    checkUuid(guest.uuid, `Instance ${guest.name}`);
    if (guest.hypervisor !== this.name)
      throw new HypervisorError(`Instance ${guest.name} is of hypervisor ${guest.hypervisor}, not ${this.name}`);
    try {
      checkHypervisorParameters(this.name, guest.hvparams);
    } catch (error) {
      if (!(error instanceof GannetError)) throw error;
      throw new HypervisorError(`Instance ${guest.name}: ${error.message}`, { cause: error });
    }
    await this.#backend.validate(guest);
  }

  start(guest: GuestSpec, options: StartOptions, signal: AbortSignal): Promise<GuestState> {
    return this.#serial.run(guest.name, async () => {
      await this.validate(guest);
      if (signal.aborted) throw new HypervisorError(`The start of ${guest.name} was aborted`);
      const known = this.#guests.get(guest.name);
      const state = await this.state(guest.name);
      if (known !== undefined && state !== undefined && isUp(state.status)) {
        if (known.guest.uuid === guest.uuid) return state;
        throw new HypervisorError(
          `Another instance called ${guest.name} runs on this node (${known.guest.uuid}, not ${guest.uuid})`,
        );
      }
      return this.#start(guest, options, signal);
    });
  }

  stop(guestName: string, options: StopOptions, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guestName, () => this.#stop(guestName, options, signal));
  }

  reboot(guestName: string, options: StopOptions, signal: AbortSignal): Promise<GuestState> {
    return this.#serial.run(guestName, async () => {
      const { guest } = await this.#running(guestName);
      await this.validate(guest);
      await this.#stop(guestName, options, signal);
      return this.#start(guest, { paused: false }, signal);
    });
  }

  async state(guestName: string): Promise<GuestState | undefined> {
    if (!this.#guests.has(guestName)) return undefined;
    return (await this.list()).find(({ name }) => name === guestName);
  }

  async list(): Promise<readonly GuestState[]> {
    const statuses = await this.#look();
    const records = [...this.#guests.values()].filter(({ phase }) => phase === "running");
    return Promise.all(records.map(async (record) => this.#stateOf(record, await this.#statusOf(record, statuses))));
  }

  async console(guestName: string): Promise<GuestConsole> {
    return this.#backend.console(this.#container((await this.#running(guestName)).guest));
  }

  onChange(listener: (guestName: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#listeners.clear();
  }

  async #start(guest: GuestSpec, options: StartOptions, signal: AbortSignal): Promise<GuestState> {
    await this.#remove(this.#guests.get(guest.name)?.guest ?? guest);
    const container = this.#container(guest);
    try {
      await this.#note({ version: 1, guest, phase: "starting", startedAtMs: Date.now() });
      await mountRoot(this.#parts.runner, guest, container.place.root, signal);
      await this.#backend.start(container, options, signal);
      if (signal.aborted) throw new HypervisorError(`The start of ${guest.name} was aborted`);
      const status = (await this.#backend.statuses([container])).get(guest.name);
      if (status === undefined) throw new HypervisorError(`${guest.name} was started, but does not run`);
      const record: ContainerRecord = { version: 1, guest, phase: "running", startedAtMs: Date.now() };
      await this.#note(record);
      return await this.#stateOf(record, status);
    } catch (error) {
      await this.#remove(guest).catch((cleanup) => {
        this.#parts.logger.error({ instance: guest.name, error: cleanup }, "a failed start could not be cleaned up");
      });
      throw error;
    }
  }

  async #stop(guestName: string, options: StopOptions, signal: AbortSignal): Promise<void> {
    checkGuestName(guestName);
    const record = this.#guests.get(guestName);
    if (record === undefined) return;
    const container = this.#container(record.guest);
    const status = (await this.#backend.statuses([container])).get(guestName);
    if (status === "running" && !options.force)
      await this.#backend.ask(container, options.timeoutMs, signal).catch((error: unknown) => {
        if (!(error instanceof HypervisorError)) throw error;
        this.#parts.logger.warn({ instance: guestName, error: error.message }, "a guest did not end in order");
      });
    if (signal.aborted) throw new HypervisorError(`Stopping ${guestName} was aborted`);
    await this.#remove(record.guest);
  }

  /** Everything of the guest on this node. What is gone already is no error. @throws HypervisorError */
  async #remove(guest: GuestSpec): Promise<void> {
    const container = this.#container(guest);
    await this.#backend.kill(container);
    await unmountRoot(this.#parts.runner, guest.name, container.place.root);
    await rm(container.place.configFile, { force: true });
    await rm(container.place.logFile, { force: true });
    await this.#records.remove(fileStem(guest.name));
    this.#guests.delete(guest.name);
    this.#statuses.delete(guest.name);
  }

  async #note(record: ContainerRecord): Promise<void> {
    await this.#records.write(fileStem(record.guest.name), record);
    this.#guests.set(record.guest.name, record);
    this.#statuses.delete(record.guest.name);
  }

  /** @param found - by the backend */
  async #statusOf({ guest }: ContainerRecord, found: ReadonlyMap<string, Status>): Promise<Status> {
    return found.get(guest.name) ?? this.#backend.end(this.#container(guest));
  }

  async #look(): Promise<ReadonlyMap<string, Status>> {
    const records = [...this.#guests.values()].filter(({ phase }) => phase === "running");
    const found = await this.#backend.statuses(records.map(({ guest }) => this.#container(guest)));
    for (const record of records) {
      const { name } = record.guest;
      const status = await this.#statusOf(record, found);
      // Not one that an operation has changed meanwhile.
      if (this.#guests.get(name) !== record) continue;
      const before = this.#statuses.get(name) ?? (status === "paused" ? status : "running");
      this.#statuses.set(name, status);
      if (before !== status) for (const listener of this.#listeners) listener(name);
    }
    return found;
  }

  async #stateOf({ guest, startedAtMs }: ContainerRecord, status: Status): Promise<GuestState> {
    const { name, uuid } = guest;
    const identity = { name, uuid, hypervisor: this.name, status };
    if (!isUp(status)) return { ...identity, memoryMib: 0, vcpus: 0, uptimeSeconds: 0, cpuSeconds: 0 };
    return {
      ...identity,
      memoryMib: guest.startMemoryMib,
      vcpus: guest.vcpus,
      uptimeSeconds: Math.max(0, (Date.now() - startedAtMs) / 1000),
      cpuSeconds: await this.#backend.cpuSeconds(name),
    };
  }

  async #running(guestName: string): Promise<ContainerRecord> {
    const state = await this.state(guestName);
    const record = this.#guests.get(guestName);
    if (state !== undefined && record !== undefined && isUp(state.status)) return record;
    throw new HypervisorError(`Instance ${guestName} does not run on this node`);
  }

  #container(guest: GuestSpec): Container {
    const stem = fileStem(guest.name);
    const place = {
      root: path.join(this.#folder, "root", stem),
      configFile: path.join(this.#folder, "conf", stem),
      logFile: path.join(this.#folder, "log", `${stem}.log`),
    };
    return { guest, place };
  }
}

function isUp(status: Status): boolean {
  return status === "running" || status === "paused";
}
