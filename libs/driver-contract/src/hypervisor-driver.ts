/** What every hypervisor driver does. Optional abilities are interfaces of their own, never flags in this one. */
import type { HypervisorName } from "@gannet/objects";
import type { GuestConsole, GuestDisk, GuestNic, GuestSpec, GuestState } from "./guest.ts";

export interface StopOptions {
  /** Kill at once; without it the guest is asked first. */
  readonly force: boolean;
  /** How long a guest that was asked may take before it is killed, in milliseconds. */
  readonly timeoutMs: number;
  /**
   * How long a guest that is killed may take to write back what it holds of its disks, where its hypervisor lets it, in
   * milliseconds. Without it, as long as the driver finds right.
   */
  readonly killGraceMs?: number;
}

export interface StartOptions {
  /** Leave the guest paused after its start. */
  readonly paused: boolean;
}

/** What a driver found on this node. */
export interface HypervisorFacts {
  readonly name: HypervisorName;
  readonly version: string;
  /** Whether guests run with hardware acceleration. */
  readonly accelerated: boolean;
}

/**
 * Every method is idempotent and may be repeated after a crash of the agent: starting a guest that runs
 * answers its state, stopping one that is gone succeeds. Guests outlive the driver; its state is on disk.
 */
export interface HypervisorDriver {
  readonly name: HypervisorName;

  /**
   * Look for guests of an earlier run and take them up again. Called once, before anything else.
   */
  recover(): Promise<void>;

  /** What can run here. @throws HypervisorError when the hypervisor is not usable on this node */
  describe(signal: AbortSignal): Promise<HypervisorFacts>;

  /**
   * Check what only the node can know about a guest's parameters: files that must exist, links, versions.
   * @throws HypervisorError naming the parameter
   */
  validate(guest: GuestSpec, signal: AbortSignal): Promise<void>;

  /** @throws HypervisorError; nothing of the guest is left behind then */
  start(guest: GuestSpec, options: StartOptions, signal: AbortSignal): Promise<GuestState>;

  /** Ask, wait, then kill; clean up whatever the guest held on this node. */
  stop(guestName: string, options: StopOptions, signal: AbortSignal): Promise<void>;

  /**
   * Stop the guest and start it again as it was started, without the master's help.
   * @throws HypervisorError when it does not run
   */
  reboot(guestName: string, options: StopOptions, signal: AbortSignal): Promise<GuestState>;

  /** The guest's state, or undefined when nothing is known of it here. */
  state(guestName: string): Promise<GuestState | undefined>;

  /** All guests of this hypervisor on this node. */
  list(): Promise<readonly GuestState[]>;

  /** @throws HypervisorError when it does not run */
  console(guestName: string): Promise<GuestConsole>;

  /** Called at each change of a guest's state that the driver notices by itself. Returns the unsubscription. */
  onChange(listener: (guestName: string) => void): () => void;

  /** Let go of sockets and timers. Guests go on. */
  close(): Promise<void>;
}

/** How a migration goes, in bytes of memory. */
export interface MigrationProgress {
  readonly status: "active" | "completed" | "failed" | "cancelled";
  readonly transferredBytes: number;
  readonly totalBytes: number;
  /** Of the pause, once it is over; null where the hypervisor does not tell. */
  readonly downtimeMs: number | null;
  /** Why it failed. */
  readonly problem: string;
}

export interface MigrationTarget {
  /** Of the target node, on the network that migrations use. */
  readonly address: string;
  readonly port: number;
  /** Names the target in its certificate. */
  readonly nodeName: string;
}

/**
 * Moving a running guest to another node. Between the two nodes nothing is said but the guest's memory itself; the
 * master carries `info` and the target's port across, and finishes the target first, in success and in failure: a
 * source goes on only when nothing can run at the target any more. Every step may be repeated.
 */
export interface MigratingDriver {
  /**
   * On the source: what the target must know of the guest as it runs, such as its machine type.
   * @throws HypervisorError when it does not run
   */
  migrationInfo(guestName: string, signal: AbortSignal): Promise<string>;
  /**
   * On the target: take a listening place for it. Until it is finished, the guest is not shown here.
   * @returns the port, where the guest's memory is to be sent
   * @throws HypervisorError when this node cannot take it as it runs; nothing of it is left then
   */
  acceptMigration(
    guest: GuestSpec,
    options: { readonly info: string; readonly address: string },
    signal: AbortSignal,
  ): Promise<number>;
  /**
   * On the source: send it, and tell the progress until it is over, at least once a second. Aborting the signal cancels
   * it: the guest goes on here. After `failed` and `cancelled` it runs as before; after `completed` it stands still.
   * @throws HypervisorError when it cannot even begin
   * @param live - false pauses the guest first
   */
  migrate(
    guest: GuestSpec,
    target: MigrationTarget,
    options: { readonly live: boolean },
    signal: AbortSignal,
  ): AsyncIterable<MigrationProgress>;
  /**
   * On the source, after it is over: forget the guest when it has gone, let it run on when it has not, or shall not.
   * Idempotent.
   * @throws HypervisorError when it has not gone and that was said
   */
  finishMigrationSource(guestName: string, succeeded: boolean, signal: AbortSignal): Promise<void>;
  /**
   * On the target: take the guest over when it has come, remove every trace of it when not. Idempotent.
   * @throws HypervisorError when it has not come, or runs here, and the opposite was said
   */
  finishMigrationTarget(guest: GuestSpec, succeeded: boolean, signal: AbortSignal): Promise<void>;
}

/** Keeping a guest's memory in a file of its node, and going on from there. */
export interface SavingDriver {
  /**
   * It has no domain, process or use of its disks from then on, is shown as paused, and is not started; a stop gives
   * up what was saved. Once it has begun, it is not aborted. Idempotent.
   * @throws HypervisorError; the guest runs on, and nothing is kept then
   */
  save(guestName: string, signal: AbortSignal): Promise<void>;
  /** One that goes on already answers its state. @throws HypervisorError; what was saved is kept then */
  restore(guest: GuestSpec, options: StartOptions, signal: AbortSignal): Promise<GuestState>;
}

/** Changing the memory of a running guest between its bounds. */
export interface BallooningDriver {
  /** Resolves when the guest has reached it. @throws HypervisorError telling how far it went */
  setMemory(guestName: string, memoryMib: number, signal: AbortSignal): Promise<void>;
}

/** A device that comes or goes while the guest runs. */
export type HotplugDevice =
  | { readonly kind: "disk"; readonly disk: GuestDisk }
  | { readonly kind: "nic"; readonly nic: GuestNic };

/** Adding, removing and changing devices of a running guest; each is remembered for its next reboot and migration. */
export interface HotpluggingDriver {
  /** @throws HypervisorError telling why it is not possible with this guest */
  checkHotplug(guestName: string, signal: AbortSignal): Promise<void>;
  /** At its index, the others moving on. @throws HypervisorError; the guest has what it had then */
  plug(guestName: string, device: HotplugDevice, signal: AbortSignal): Promise<void>;
  /** One that it has not is no error. @throws HypervisorError when the guest does not let go */
  unplug(guestName: string, device: HotplugDevice, signal: AbortSignal): Promise<void>;
  /** Another link, mode or MAC of a NIC; of a disk another medium. */
  replug(guestName: string, device: HotplugDevice, signal: AbortSignal): Promise<void>;
  /** Tell the guest of a disk's new size. */
  resizeDisk(guestName: string, disk: GuestDisk, signal: AbortSignal): Promise<void>;
}

/**
 * What a guest's machine keeps while it is off, such as UEFI variables and a TPM. It is on the node where the guest ran
 * last, comes along with a live migration by itself, and is moved by these calls where the guest moves while it is off.
 * It holds the guest's secrets: never in a log, a job's record or a message.
 */
export interface NonvolatileDriver {
  /**
   * In a form of the driver's own; undefined when there is nothing.
   * @throws HypervisorError when the guest runs here
   */
  readNonvolatile(guestUuid: string): Promise<Uint8Array | undefined>;
  /** Instead of what there is. @throws HypervisorError when the guest runs here, or nothing of this form was given */
  writeNonvolatile(guestUuid: string, state: Uint8Array): Promise<void>;
  /** Succeeds when there is nothing. @throws HypervisorError when the guest runs here */
  removeNonvolatile(guestUuid: string): Promise<void>;
}

/** Stopping a whole node at once (`powercycle`). */
export interface PowercyclingDriver {
  powercycle(signal: AbortSignal): Promise<void>;
}

/** What the machine below a hypervisor has, where the node's own kernel sees only a part of it: Xen. */
export interface HostResources {
  readonly memoryTotalMib: number;
  readonly memoryFreeMib: number;
  /** Of the node's own system (domain 0). */
  readonly memoryNodeMib: number;
  readonly cpuTotal: number;
  readonly cpuSockets: number;
  readonly cpuNumaNodes: number;
  /** Virtual processors of the node's own system. */
  readonly cpuNode: number;
}

/** A hypervisor that runs below the node's kernel, and knows the machine better. */
export interface MeasuringDriver {
  /** @throws HypervisorError */
  hostResources(signal: AbortSignal): Promise<HostResources>;
}
