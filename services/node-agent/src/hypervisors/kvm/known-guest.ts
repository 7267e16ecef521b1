/** What the driver holds of a guest in memory. */
import type { GuestMonitor } from "./guest-monitor.ts";
import type { RuntimeRecord } from "./runtime-record.ts";

export interface RunningGuest {
  readonly record: RuntimeRecord & { phase: "running" };
  readonly monitor: GuestMonitor;
}

/** One whose memory comes from another node. For the cluster it is not here yet. */
export interface IncomingGuest {
  readonly record: RuntimeRecord & { phase: "incoming" };
  readonly monitor: GuestMonitor;
}

/** One that ended by itself and has been neither stopped nor started since. */
export interface EndedGuest {
  readonly record: RuntimeRecord & { phase: "ended" };
  readonly monitor: undefined;
}

export type KnownGuest = RunningGuest | IncomingGuest | EndedGuest;

export function isRunning(known: KnownGuest | undefined): known is RunningGuest {
  return known?.record.phase === "running";
}

export function isIncoming(known: KnownGuest | undefined): known is IncomingGuest {
  return known?.record.phase === "incoming";
}

/** What the parts of the driver that change a running guest need of it. */
export interface GuestRegister {
  find(guestName: string): KnownGuest | undefined;
  /** @throws HypervisorError when it does not run */
  running(guestName: string): Promise<RunningGuest>;
  /** From now on this is what is known of it, also after a restart of the agent. */
  keep(known: RunningGuest | IncomingGuest): Promise<void>;
  /** Everything of the guest on this node goes, its process too. */
  remove(guestName: string): Promise<void>;
}
