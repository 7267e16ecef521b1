/** Everything that decides how qemu is called, gathered before the pure part begins. */
import type { GuestSpec } from "@gannet/driver-contract";
import type { Accelerator } from "./acceleration.ts";
import type { KvmParameters } from "./kvm-parameters.ts";
import type { RuntimePaths } from "./runtime-paths.ts";

/** Where a guest's VNC server listens. */
export type VncListener =
  | { readonly kind: "socket"; readonly path: string; readonly password: boolean }
  /** `address` is an IP address; `port` is 5900 or above. */
  | { readonly kind: "tcp"; readonly address: string; readonly port: number; readonly password: boolean };

export interface LaunchPlan {
  readonly guest: GuestSpec;
  readonly params: KvmParameters;
  /** By its versioned name. */
  readonly machine: string;
  readonly accelerator: Accelerator;
  readonly paths: RuntimePaths;
  readonly vnc: VncListener | null;
  /** Whether the node's kernel can move the guest's packets: it runs under KVM, and /dev/vhost-net can be opened. */
  readonly vhostNet: boolean;
}
