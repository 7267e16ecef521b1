/** What the kernel says of its DRBD devices, in the words of /proc/drbd and drbdsetup alike. */

export interface KernelDevice {
  readonly minor: number;
  /** `Connected`, `WFConnection`, `SyncSource`, `StandAlone`, … */
  readonly connection: string;
  /** `Primary`, `Secondary`, `Unknown`. */
  readonly role: string;
  readonly peerRole: string;
  /** `UpToDate`, `Inconsistent`, `Diskless`, `DUnknown`, … */
  readonly disk: string;
  readonly peerDisk: string;
  /** This end has asked for the resync to wait. */
  readonly syncPaused: boolean;
  /** While a resync runs. */
  readonly syncPercent?: number | undefined;
  readonly syncSecondsLeft?: number | undefined;
}

export interface DrbdVersion {
  readonly major: number;
  readonly minor: number;
  /** `8.4.11`. */
  readonly text: string;
}
