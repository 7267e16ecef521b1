/** What queries need to know beyond the configuration. The master adapts its live state to this. */
import type { Instance, NodeUuid, StorageType } from "@gannet/objects";

/** What a node last reported; sizes in MiB. */
export interface LiveNode {
  readonly bootId: string;
  readonly memoryTotalMib: number;
  readonly memoryFreeMib: number;
  /** Used by the node itself. */
  readonly memoryNodeMib: number;
  readonly cpuTotal: number;
  readonly cpuSockets: number;
  /** NUMA nodes. */
  readonly cpuNumaNodes: number;
  /** Processors that the node itself uses. */
  readonly cpuNode: number;
  readonly storage: readonly LiveStorage[];
  readonly os: readonly LiveOs[];
  /** Names of exports on the node; undefined while the node does not report them. */
  readonly exports?: readonly string[];
  /** External storage providers; undefined while the node does not report them. */
  readonly extStorage?: readonly LiveExtStorage[];
}

export interface LiveStorage {
  readonly type: StorageType;
  readonly name: string;
  readonly totalMib: number;
  readonly freeMib: number;
}

/** An OS definition as found on one node. */
export interface LiveOs {
  readonly name: string;
  readonly path: string;
  readonly valid: boolean;
  /** Why it is not valid; empty when it is. */
  readonly problem: string;
  readonly variants: readonly string[];
  readonly parameters: readonly { readonly name: string; readonly help: string }[];
  readonly apiVersions: readonly number[];
  readonly trusted: boolean;
}

/** A provider of external storage as found on one node. */
export interface LiveExtStorage {
  readonly name: string;
  readonly path: string;
  readonly valid: boolean;
  readonly problem: string;
  readonly parameters: readonly { readonly name: string; readonly help: string }[];
}

export interface LiveInstance {
  /** Where it was seen. */
  readonly node: NodeUuid;
  readonly status: "running" | "paused" | "shutdown" | "crashed";
  readonly memoryMib: number;
  readonly vcpus: number;
}

/** How to reach a console (spec/os-iallocator-hooks.json, `console`); only the keys of its kind are there. */
export interface InstanceConsole {
  readonly instance: string;
  readonly kind: "msg" | "ssh" | "vnc" | "spice";
  readonly message?: string;
  readonly host?: string;
  readonly port?: number;
  readonly user?: string;
  readonly command?: readonly string[];
  readonly display?: number;
}

export interface LiveValues {
  /** Undefined while the node does not answer. */
  node(uuid: NodeUuid): LiveNode | undefined;
  /** Undefined when no node has seen the instance; its primary node is asked first. */
  instance(instance: Pick<Instance, "name" | "primaryNode">): LiveInstance | undefined;
  /** Asked for running instances only. */
  console(instance: Instance): InstanceConsole | undefined;
}
