/**
 * The messages of Ganeti's iallocator protocol, version 2 (spec/os-iallocator-hooks.json, `iallocator`), which the
 * allocator of this package and those that a site installs both read and answer.
 */
import type { InstancePolicy, Parameters } from "@gannet/objects";

/** The cluster as an allocator sees it. Keys are the protocol's; sizes are MiB. */
export interface AllocatorCluster {
  readonly version: 2;
  readonly cluster_name: string;
  readonly cluster_tags: readonly string[];
  readonly enabled_hypervisors: readonly string[];
  readonly ipolicy: InstancePolicy;
  /** By UUID. */
  readonly nodegroups: Readonly<Record<string, AllocatorGroup>>;
  /** By name. */
  readonly nodes: Readonly<Record<string, AllocatorNode>>;
  /** By name. */
  readonly instances: Readonly<Record<string, AllocatorInstance>>;
}

export interface AllocatorGroup {
  readonly name: string;
  readonly alloc_policy: "preferred" | "last_resort" | "unallocable";
  /** UUIDs. */
  readonly networks: readonly string[];
  /** With what the cluster's gives. */
  readonly ipolicy: InstancePolicy;
  readonly tags: readonly string[];
}

/** A node; the live values are left out while it does not answer, is offline, or takes no guests. */
export interface AllocatorNode extends Partial<AllocatorNodeResources> {
  readonly tags: readonly string[];
  readonly primary_ip: string;
  readonly secondary_ip: string;
  readonly offline: boolean;
  readonly drained: boolean;
  readonly master_candidate: boolean;
  /** UUID. */
  readonly group: string;
  readonly master_capable: boolean;
  readonly vm_capable: boolean;
  /** With what group and cluster give. */
  readonly ndparams: Parameters;
}

export interface AllocatorNodeResources {
  readonly total_memory: number;
  readonly reserved_memory: number;
  /** Less what the guests that are up may still take. */
  readonly free_memory: number;
  readonly total_disk: number;
  readonly free_disk: number;
  readonly total_spindles: number;
  readonly free_spindles: number;
  readonly total_cpus: number;
  readonly reserved_cpus: number;
  /** Of all primary instances. */
  readonly i_pri_memory: number;
  /** Of the primary instances that shall be up. */
  readonly i_pri_up_memory: number;
}

export interface AllocatorInstance {
  readonly tags: readonly string[];
  readonly admin_state: string;
  readonly vcpus: number;
  readonly memory: number;
  readonly spindle_use: number;
  readonly os: string;
  /** The primary first. */
  readonly nodes: readonly string[];
  readonly nics: readonly AllocatorNic[];
  readonly disks: readonly AllocatorDisk[];
  readonly disk_template: string;
  readonly disks_active: boolean;
  readonly hypervisor: string;
  readonly disk_space_total: number;
}

export interface AllocatorNic {
  readonly mac: string;
  readonly ip: string | null;
  readonly mode: string;
  readonly link: string;
  readonly bridge?: string;
  /** UUID of the network it is in, which the group of its instance's nodes is connected to. */
  readonly network?: string | null;
}

export interface AllocatorDisk {
  readonly type?: string;
  readonly size: number;
  readonly mode: string;
  readonly spindles?: number | null;
}

/** An instance for which nodes are wanted. */
export interface NewInstanceRequest {
  readonly name: string;
  readonly disk_template: string;
  readonly group_name: string | null;
  readonly tags: readonly string[];
  readonly os: string;
  readonly vcpus: number;
  readonly memory: number;
  readonly spindle_use: number;
  readonly disks: readonly AllocatorDisk[];
  /** On each node; with what a mirrored disk's metadata takes. */
  readonly disk_space_total: number;
  readonly nics: readonly AllocatorNic[];
  readonly required_nodes: 1 | 2;
  readonly hypervisor: string;
  /** Only these nodes, by name; all when it is left out (opportunistic locking). */
  readonly "restrict-to-nodes"?: readonly string[];
}

export type AllocatorRequest =
  | ({ readonly type: "allocate" } & NewInstanceRequest)
  | {
      readonly type: "relocate";
      readonly name: string;
      readonly disk_space_total: number;
      readonly required_nodes: 1;
      /** Nodes that it is to leave. */
      readonly relocate_from: readonly string[];
    }
  | {
      readonly type: "node-evacuate";
      readonly instances: readonly string[];
      readonly evac_mode: "all" | "primary-only" | "secondary-only";
    }
  | {
      readonly type: "change-group";
      readonly instances: readonly string[];
      /** UUIDs; any other group when empty. */
      readonly target_groups: readonly string[];
    }
  | { readonly type: "multi-allocate"; readonly instances: readonly NewInstanceRequest[] }
  | { readonly type: "allocate-secondary"; readonly name: string };

/** What an allocator reads. */
export interface AllocatorInput extends AllocatorCluster {
  readonly request: AllocatorRequest;
}

/** What an allocator answers; the shape of its result is its request's, see {@link AllocatorResults}. */
export interface AllocatorOutput {
  readonly success: boolean;
  /** For people: why not, or how good the choice is. */
  readonly info: string;
  readonly result: unknown;
}

/** An opcode as the protocol and jobs carry it. */
export interface AllocatorOpcode {
  readonly OP_ID: string;
  readonly [parameter: string]: unknown;
}

/** Where instances go, and the jobs that bring them there. */
export interface MovePlan {
  readonly moved: readonly (readonly [instance: string, group: string, nodes: readonly string[]])[];
  readonly failed: readonly (readonly [instance: string, reason: string | null])[];
  readonly jobs: readonly (readonly AllocatorOpcode[])[];
}

/** The result of each request as it is read from an answer. */
export interface AllocatorResults {
  /** Names of the nodes, the primary first; as many as were required. */
  readonly allocate: readonly string[];
  /** The names of the new nodes. */
  readonly relocate: readonly string[];
  readonly "node-evacuate": MovePlan;
  readonly "change-group": MovePlan;
  readonly "multi-allocate": {
    readonly placed: readonly (readonly [instance: string, nodes: readonly string[]])[];
    readonly failed: readonly string[];
  };
  readonly "allocate-secondary": string;
}
