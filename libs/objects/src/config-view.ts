/**
 * The configuration as logical units and queries read it: a complete, consistent, typed picture of one
 * moment. The config store implements it; tests build it from plain rows.
 */
import type { ApiToken, Cluster, Disk, FilterRule, Instance, Network, Node, NodeGroup } from "./model.ts";
import type { DiskUuid, GroupUuid, InstanceUuid, NetworkUuid, NodeUuid } from "./names.ts";

/** Lookups never throw: what is not there is `undefined`. Maps are in no particular order. */
export interface ConfigView {
  /** Grows by one with each commit. */
  readonly serial: number;
  readonly cluster: Cluster;
  readonly nodes: ReadonlyMap<NodeUuid, Node>;
  readonly groups: ReadonlyMap<GroupUuid, NodeGroup>;
  readonly networks: ReadonlyMap<NetworkUuid, Network>;
  readonly instances: ReadonlyMap<InstanceUuid, Instance>;
  readonly disks: ReadonlyMap<DiskUuid, Disk>;
  readonly filters: ReadonlyMap<string, FilterRule>;
  /** Tokens of the remote API, by id. */
  readonly tokens: ReadonlyMap<string, ApiToken>;

  /** By full name, short name where it is unique, or UUID. */
  findNode(nameOrUuid: string): Node | undefined;
  findGroup(nameOrUuid: string): NodeGroup | undefined;
  findInstance(nameOrUuid: string): Instance | undefined;
  findNetwork(nameOrUuid: string): Network | undefined;

  /** The instance's disks in their order. */
  disksOf(instance: Instance): readonly Disk[];
  /** Instances whose primary node this is, sorted by name. */
  primaryInstances(node: NodeUuid): readonly Instance[];
  /** Instances that have a secondary copy of a disk on this node, sorted by name. */
  secondaryInstances(node: NodeUuid): readonly Instance[];
  /** Nodes of a group, sorted by name. */
  nodesOf(group: GroupUuid): readonly Node[];
  /** The nodes other than the primary that hold the instance's disks. */
  secondaryNodes(instance: Instance): readonly NodeUuid[];
}
