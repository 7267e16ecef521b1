/** A guest as a hypervisor driver sees it: everything it needs, already resolved, and what it reports back. */
import type { HypervisorName, Parameters } from "@gannet/objects";

/** One disk handed to a guest. */
export interface GuestDisk {
  readonly uuid: string;
  readonly index: number;
  readonly name: string | null;
  /** Absolute path of a block device or a file below an allowed root. */
  readonly path: string;
  readonly kind: "block" | "file";
  readonly format: "raw" | "qcow2";
  readonly access: "ro" | "rw";
  readonly sizeMib: number;
  /**
   * How Xen and OS scripts name a file's driver (`loop`, `blktap`, `blktap2`): the first part of its logical id,
   * where its template has files. `loop` when absent; without meaning for a block device.
   */
  readonly fileDriver?: string;
  /** How a hypervisor reaches it without the kernel's help, by the hypervisor's name; where it can. */
  readonly uris?: Readonly<Partial<Record<HypervisorName, string>>>;
  /** Its template is mirrored externally: every node sees the same data, so that no cache of one node may keep them. */
  readonly seenByAllNodes?: boolean;
}

/** What scripts are told of the network that a NIC is in; null where the network has none. */
export interface GuestNetwork {
  readonly name: string;
  readonly uuid: string;
  readonly subnet: string | null;
  readonly gateway: string | null;
  readonly subnet6: string | null;
  readonly gateway6: string | null;
  readonly macPrefix: string | null;
  readonly tags: readonly string[];
}

/** One network interface of a guest. `link` is a bridge, an Open vSwitch switch or a routing table by mode. */
export interface GuestNic {
  readonly uuid: string;
  readonly index: number;
  readonly name: string | null;
  readonly mac: string;
  readonly ip: string | null;
  /**
   * `ext` is connected by the site's own script alone. `user` is qemu's own network of the one-machine cluster without
   * root; it needs no link.
   */
  readonly mode: "bridged" | "routed" | "openvswitch" | "ext" | "user";
  readonly link: string;
  /** `.10` untagged, `:10:20` tagged, `.10:20` both; a plain number counts as `.10`. */
  readonly vlan: string;
  /** Absent when it is in none. */
  readonly network?: GuestNetwork | undefined;
}

export interface GuestSpec {
  readonly name: string;
  readonly uuid: string;
  readonly hypervisor: HypervisorName;
  readonly maxMemoryMib: number;
  /** Memory at start; below the maximum only where the hypervisor can balloon. */
  readonly startMemoryMib: number;
  readonly vcpus: number;
  readonly disks: readonly GuestDisk[];
  readonly nics: readonly GuestNic[];
  /** Complete: every parameter of the hypervisor has a value. */
  readonly hvparams: Parameters;
  /** TCP port for VNC or SPICE, allocated by the master; null where the hypervisor needs none. */
  readonly networkPort: number | null;
  /** The instance's own, for scripts. */
  readonly tags?: readonly string[];
  /** User ids that guests may run as, `[first, last]` each (the cluster's `uid_pool`). */
  readonly uidPool?: readonly (readonly [first: number, last: number])[];
}

/**
 * A guest that ended by itself is known until it is stopped or started: as `shutdown` when it ended in order and by its
 * own wish, as `crashed` when it did not, or nobody knows. A guest that still holds resources but will never run again is `crashed` too.
 */
export type GuestStatus = "running" | "paused" | "shutdown" | "crashed";

export interface GuestState {
  readonly name: string;
  readonly uuid: string;
  readonly hypervisor: HypervisorName;
  readonly status: GuestStatus;
  readonly memoryMib: number;
  readonly vcpus: number;
  /** Seconds since the guest was started, by the host's clock. */
  readonly uptimeSeconds: number;
  /** Processor time used so far, in seconds. */
  readonly cpuSeconds: number;
}

/** How to reach a guest's console (spec/os-iallocator-hooks.json, `console`). */
export type GuestConsole =
  | { readonly kind: "ssh"; readonly command: readonly string[] }
  | { readonly kind: "vnc"; readonly port: number; readonly display: number }
  | { readonly kind: "spice"; readonly port: number }
  | { readonly kind: "msg"; readonly message: string };
