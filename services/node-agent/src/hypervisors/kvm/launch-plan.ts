/** Everything that decides how qemu is called, gathered before the pure part begins. */
import type { GuestSpec } from "@gannet/driver-contract";
import type { Accelerator } from "./acceleration.ts";
import type { DevicePlaces } from "./argv/device-slots.ts";
import type { CpuPinning } from "./cpu-mask.ts";
import type { VarsSource } from "./firmware/nonvolatile-state.ts";
import type { UefiFirmware } from "./firmware/uefi-firmware.ts";
import type { KvmParameters } from "./kvm-parameters.ts";
import type { RuntimePaths } from "./runtime-paths.ts";

/** Where a guest's VNC server listens. */
export type VncListener =
  | { readonly kind: "socket"; readonly path: string; readonly password: boolean }
  /** `address` is an IP address; `port` is 5900 or above. */
  | { readonly kind: "tcp"; readonly address: string; readonly port: number; readonly password: boolean };

/** A certificate for SPICE, its key, which may be in the same file, and the authority that clients know. */
export interface SpiceCertificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

/** Where a guest's SPICE server listens. */
export interface SpiceListener {
  readonly address: string;
  readonly port: number;
  readonly password: boolean;
  readonly tls: SpiceCertificate | null;
}

/** A user of the node. */
export interface NodeUser {
  readonly uid: number;
  readonly gid: number;
}

/** UEFI, with the file that holds this instance's variables. */
export type GuestFirmware = UefiFirmware & VarsSource;

export interface LaunchPlan {
  readonly guest: GuestSpec;
  readonly params: KvmParameters;
  /** By its versioned name. */
  readonly machine: string;
  readonly accelerator: Accelerator;
  /** Where the devices are that had a place before, and, in a plan that was checked, all others too. */
  readonly places: DevicePlaces;
  /** The guest's memory comes from another node. */
  readonly incoming: boolean;
  readonly paths: RuntimePaths;
  readonly vnc: VncListener | null;
  readonly spice: SpiceListener | null;
  readonly pinning: CpuPinning;
  /** Null for a BIOS. */
  readonly firmware: GuestFirmware | null;
  /** The folder that holds this instance's TPM, or null. */
  readonly tpm: string | null;
  /** Whom qemu becomes once everything is opened; the agent's own user when null. One of a pool is known at start. */
  readonly runAs: NodeUser | null;
  /** The folder that is then its root, or null. */
  readonly chroot: string | null;
  /** Whether this qemu is told both by `-run-with`, as since 9.0. */
  readonly runWith: boolean;
  /** Whether the node's kernel can move the guest's packets: it runs under KVM, and /dev/vhost-net can be opened. */
  readonly vhostNet: boolean;
}
