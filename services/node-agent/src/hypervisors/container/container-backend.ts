/** What tells one kind of container from another; all else is the container driver's. */
import type { GuestConsole, GuestSpec, HypervisorFacts, StartOptions } from "@gannet/driver-contract";
import type { HypervisorName } from "@gannet/objects";

/** A container's files on its node. */
export interface ContainerPlace {
  /** Where its system is mounted. */
  readonly root: string;
  /** Files of its own, removed with it. */
  readonly configFile: string;
  readonly logFile: string;
}

export interface Container {
  readonly guest: GuestSpec;
  readonly place: ContainerPlace;
}

export interface ContainerBackend {
  readonly name: HypervisorName;
  /** @throws HypervisorError when containers cannot be had on this node */
  describe(signal: AbortSignal): Promise<HypervisorFacts>;
  /** @throws HypervisorError naming what is wrong with the guest */
  validate(guest: GuestSpec): Promise<void>;
  /** Its system is mounted. Cleaning up after a failure is the caller's. @throws HypervisorError */
  start(container: Container, options: StartOptions, signal: AbortSignal): Promise<void>;
  /** Ask it to end, and wait for at most so long. @throws HypervisorError when it cannot be asked */
  ask(container: Container, timeoutMs: number, signal: AbortSignal): Promise<void>;
  /** End everything of it that still runs. What is gone is no error. */
  kill(container: Container): Promise<void>;
  /** Of those that are there; the others have ended. One command, or none, for all. */
  statuses(containers: readonly Container[]): Promise<ReadonlyMap<string, "running" | "paused">>;
  /** How one that is not there any more has ended: in order and by itself, or not. */
  end(container: Container): Promise<"shutdown" | "crashed">;
  /** Processor time used so far. */
  cpuSeconds(guestName: string): Promise<number>;
  console(container: Container): GuestConsole;
}
