/** Follows one running guest over QMP, so that its state is known without asking. */
import type { GuestSpec, GuestStatus } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";
import { type ProcessIdentity, processLives } from "../process-identity.ts";
import { isConfined } from "./isolation/confined.ts";
import { QmpClient } from "./qmp/client.ts";
import type { QmpAnswer, QmpCall, QmpCommandName } from "./qmp/commands.ts";
import type { QmpEvent, QmpEventData } from "./qmp/events.ts";
import type { QmpEnclosure } from "./qmp/session.ts";

/** qemu's run states (qemu-qmp-ref(7), `RunState`). Any other is one in which the guest stands still for now. */
const STATUS_OF_RUN_STATE: Readonly<Record<string, GuestStatus>> = {
  running: "running",
  // The guest sleeps by its own wish and wakes by itself.
  suspended: "running",
  shutdown: "shutdown",
  "guest-panicked": "crashed",
  "internal-error": "crashed",
  // Its disk is full, say: it goes on where it stood when there is room again. A crashed one is ended and started anew.
  "io-error": "paused",
};

const BYTES_PER_MIB = 1024 * 1024;
/** A guest stops also for the last part of its migration, which takes longer when the node has other work meanwhile. */
const STOP_IS_TOLD_AFTER_MS = 200;

export interface GuestMonitorOptions {
  readonly guest: GuestSpec;
  readonly process: ProcessIdentity;
  readonly qmpSocket: string;
  /** Its qemu was started just now, as `guest` says: there is nothing to be read when the monitor answers first. */
  readonly isNew: boolean;
  readonly logger: Logger;
  /** The status or the memory is another than before. */
  readonly onChange: () => void;
  /** Once: the process is gone, and this monitor was not closed before. */
  readonly onEnd: () => void;
}

export class GuestMonitor {
  readonly #options: GuestMonitorOptions;
  readonly #client: QmpClient;
  readonly #listeners = new Set<(event: QmpEvent) => void>();
  readonly #refreshed = Promise.withResolvers<void>();
  /** Until the monitor has answered. */
  #isAsStarted: boolean;
  #status: GuestStatus = "running";
  /** As of the last `onChange`, or before the first. */
  #announcedStatus: GuestStatus = "running";
  #memoryMib: number;
  #vcpus: number;
  /** How the guest has ended, or is just ending; undefined before. */
  #announcedEnd: "shutdown" | "crashed" | undefined;
  #stopTimer: NodeJS.Timeout | undefined;
  /** Somebody has asked the guest to shut down since it last booted. */
  #powerButtonPressed = false;

  constructor(options: GuestMonitorOptions) {
    this.#options = options;
    this.#isAsStarted = options.isNew;
    this.#memoryMib = options.guest.startMemoryMib;
    this.#vcpus = options.guest.vcpus;
    this.#client = new QmpClient({
      socketPath: options.qmpSocket,
      logger: options.logger,
      targetLives: () => processLives(options.process),
      passesDescriptors: isConfined(options.guest),
      onEvent: (event) => this.#handle(event),
      onConnect: () => {
        if (this.#isAsStarted) this.#isAsStarted = false;
        else void this.refreshAll();
      },
      onGone: () => {
        this.#refreshed.resolve();
        options.onEnd();
      },
    });
  }

  get process(): ProcessIdentity {
    return this.#options.process;
  }

  get status(): GuestStatus {
    return this.#status;
  }

  get memoryMib(): number {
    return this.#memoryMib;
  }

  get vcpus(): number {
    return this.#vcpus;
  }

  /** `shutdown` when the guest ended by its own wish: not asked by a power button, nor ended from this node. */
  get endStatus(): "shutdown" | "crashed" {
    return this.#announcedEnd ?? "crashed";
  }

  /** @throws HypervisorError */
  execute<Name extends QmpCommandName>(
    call: QmpCall<Name>,
    options?: { readonly timeoutMs?: number } & QmpEnclosure,
  ): Promise<QmpAnswer<Name>> {
    return this.#client.execute(call, options);
  }

  /** Resolves when the state has been read once, or the guest is gone. */
  refreshed(): Promise<void> {
    return this.#refreshed.promise;
  }

  /** @throws HypervisorError when the monitor is another guest's, or does not answer */
  async verifyIdentity(): Promise<void> {
    const { UUID: found } = await this.#client.execute({ name: "query-uuid" });
    const { name, uuid } = this.#options.guest;
    if (found !== uuid) throw new HypervisorError(`The monitor of ${name} answers for the guest ${found}, not ${uuid}`);
  }

  /** @throws HypervisorError */
  async refreshStatus(): Promise<void> {
    const { status } = await this.#client.execute({ name: "query-status" });
    this.#update(STATUS_OF_RUN_STATE[status] ?? "paused", this.#memoryMib);
    if (status === "shutdown") await this.#dismiss();
  }

  /** Read everything anew. What cannot be read stays as it was. */
  async refreshAll(): Promise<void> {
    try {
      await this.refreshStatus();
      this.#vcpus = (await this.#client.execute({ name: "query-cpus-fast" })).length;
      const { actual } = await this.#client.execute({ name: "query-balloon" });
      this.#update(this.#status, Math.round(actual / BYTES_PER_MIB));
    } catch (error) {
      this.#options.logger.warn({ instance: this.#options.guest.name, error }, "the guest's state could not be read");
    } finally {
      this.#refreshed.resolve();
    }
  }

  /** A qemu that stayed to tell how its guest ended (`-no-shutdown`) has told it, and may go. */
  async #dismiss(): Promise<void> {
    this.#announcedEnd ??= this.#powerButtonPressed ? "crashed" : "shutdown";
    await this.#client.execute({ name: "quit" });
  }

  /** Called at each QMP event that is listened to. Returns the unsubscription. */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    clearTimeout(this.#stopTimer);
    this.#listeners.clear();
    this.#client.close();
    this.#refreshed.resolve();
  }

  #handle(event: QmpEvent): void {
    this.#options.logger.debug({ instance: this.#options.guest.name, event }, "QMP event");
    for (const listener of this.#listeners) listener(event);
    switch (event.name) {
      case "SHUTDOWN":
        this.#announcedEnd ??= isOwnWish(event.data) && !this.#powerButtonPressed ? "shutdown" : "crashed";
        return;
      case "BALLOON_CHANGE":
        this.#update(this.#status, Math.round(event.data.actual / BYTES_PER_MIB));
        return;
      case "POWERDOWN":
        this.#powerButtonPressed = true;
        return;
      case "RESET":
        this.#powerButtonPressed = false;
        return;
      // What a migration changes about the guest is told by STOP and RESUME.
      case "MIGRATION":
      case "MIGRATION_PASS":
      case "DEVICE_DELETED":
      case "DEVICE_UNPLUG_GUEST_ERROR":
        return;
      case "STOP":
        this.#handleStop();
        return;
      default:
        this.#refreshAfterEvent();
    }
  }

  /**
   * One that has not told of its end stands still. That is announced, and why is read, later: it may stand still to be
   * handed over, and then whatever the node does meanwhile keeps it waiting.
   */
  #handleStop(): void {
    if (this.#announcedEnd !== undefined) {
      this.#refreshAfterEvent();
      return;
    }
    this.#status = "paused";
    clearTimeout(this.#stopTimer);
    this.#stopTimer = setTimeout(() => this.#refreshAfterEvent(), STOP_IS_TOLD_AFTER_MS).unref();
  }

  #refreshAfterEvent(): void {
    clearTimeout(this.#stopTimer);
    this.refreshStatus().catch((error) => {
      this.#options.logger.debug({ instance: this.#options.guest.name, error }, "no status after a QMP event");
    });
  }

  #update(status: GuestStatus, memoryMib: number): void {
    const changed = status !== this.#announcedStatus || memoryMib !== this.#memoryMib;
    this.#status = status;
    this.#announcedStatus = status;
    this.#memoryMib = memoryMib;
    if (changed) this.#options.onChange();
  }
}

/** qemu-qmp-ref(7), `ShutdownCause`: signals and monitor commands are the node's. */
function isOwnWish({ guest, reason }: QmpEventData<"SHUTDOWN">): boolean {
  return guest && reason !== "guest-panic";
}
