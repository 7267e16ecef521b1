/** What every hypervisor driver does. Optional abilities are interfaces of their own, never flags in this one. */
import type { HypervisorName } from "@gannet/objects";
import type { GuestConsole, GuestSpec, GuestState } from "./guest.ts";

export interface StopOptions {
  /** Kill at once; without it the guest is asked first. */
  readonly force: boolean;
  /** How long a guest that was asked may take before it is killed, in milliseconds. */
  readonly timeoutMs: number;
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
