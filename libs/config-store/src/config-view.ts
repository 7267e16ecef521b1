/** The configuration in memory: an immutable picture whose next version shares all that did not change. */
import type {
  ApiToken,
  Cluster,
  ConfigView,
  Disk,
  DiskUuid,
  Entities,
  FilterRule,
  GroupUuid,
  Instance,
  InstanceUuid,
  Network,
  NetworkUuid,
  Node,
  NodeGroup,
  NodeUuid,
} from "@gannet/objects";
import { type ConfigRows, putsOf, rowOf, type TableKind } from "./config-rows.ts";
import type { ConfigChange } from "./config-store-contract.ts";
import { GroupedIndex, type Listing, type Named } from "./grouped-index.ts";
import { LayeredMap } from "./layered-map.ts";

/** The picture that plain rows make, as tests build it and as a store begins. */
export function configViewOf(rows: ConfigRows, serial = 1): MemoryConfigView {
  return MemoryConfigView.of(rows, serial);
}

interface Tables {
  readonly nodes: LayeredMap<NodeUuid, Node>;
  readonly groups: LayeredMap<GroupUuid, NodeGroup>;
  readonly networks: LayeredMap<NetworkUuid, Network>;
  readonly instances: LayeredMap<InstanceUuid, Instance>;
  readonly disks: LayeredMap<DiskUuid, Disk>;
  readonly filters: LayeredMap<string, FilterRule>;
  readonly tokens: LayeredMap<string, ApiToken>;
}

/** Derived from the tables. Names are in lower case; a label is a host name's first part. */
interface Indexes {
  readonly nodeLabels: GroupedIndex<Node>;
  readonly instanceLabels: GroupedIndex<Instance>;
  readonly groupNames: LayeredMap<string, NodeGroup>;
  readonly networkNames: LayeredMap<string, Network>;
  readonly nodesByGroup: GroupedIndex<Node>;
  readonly instancesByPrimary: GroupedIndex<Instance>;
  readonly instancesBySecondary: GroupedIndex<Instance>;
  readonly instanceOfDisk: LayeredMap<DiskUuid, InstanceUuid>;
}

const NO_TABLES: Tables = {
  nodes: LayeredMap.empty(),
  groups: LayeredMap.empty(),
  networks: LayeredMap.empty(),
  instances: LayeredMap.empty(),
  disks: LayeredMap.empty(),
  filters: LayeredMap.empty(),
  tokens: LayeredMap.empty(),
};
const NO_INDEXES: Indexes = {
  nodeLabels: GroupedIndex.empty(),
  instanceLabels: GroupedIndex.empty(),
  groupNames: LayeredMap.empty(),
  networkNames: LayeredMap.empty(),
  nodesByGroup: GroupedIndex.empty(),
  instancesByPrimary: GroupedIndex.empty(),
  instancesBySecondary: GroupedIndex.empty(),
  instanceOfDisk: LayeredMap.empty(),
};

export class MemoryConfigView implements ConfigView {
  readonly serial: number;
  readonly cluster: Cluster;
  readonly #tables: Tables;
  readonly #indexes: Indexes;

  private constructor(serial: number, cluster: Cluster, tables: Tables, indexes: Indexes) {
    this.serial = serial;
    this.cluster = cluster;
    this.#tables = tables;
    this.#indexes = indexes;
  }

  static of(rows: ConfigRows, serial: number): MemoryConfigView {
    return new MemoryConfigView(serial, rows.cluster, NO_TABLES, NO_INDEXES).with(putsOf(rows), serial);
  }

  /** This picture after the changes, whose rows are taken as they are. */
  with(changes: readonly ConfigChange[], serial: number): MemoryConfigView {
    const edits = new Edits(changes);
    const cluster = changes.findLast((change) => change.kind === "cluster");
    const tables: Tables = {
      nodes: this.#tables.nodes.with(edits.of("node") as Map<NodeUuid, Node>),
      groups: this.#tables.groups.with(edits.of("nodegroup") as Map<GroupUuid, NodeGroup>),
      networks: this.#tables.networks.with(edits.of("network") as Map<NetworkUuid, Network>),
      instances: this.#tables.instances.with(edits.of("instance") as Map<InstanceUuid, Instance>),
      disks: this.#tables.disks.with(edits.of("disk") as Map<DiskUuid, Disk>),
      filters: this.#tables.filters.with(edits.of("filter")),
      tokens: this.#tables.tokens.with(edits.of("token")),
    };
    const newCluster = cluster !== undefined && "put" in cluster ? cluster.put : this.cluster;
    return new MemoryConfigView(serial, newCluster, tables, reindexed(this.#tables, this.#indexes, tables, edits));
  }

  get nodes(): ReadonlyMap<NodeUuid, Node> {
    return this.#tables.nodes;
  }
  get groups(): ReadonlyMap<GroupUuid, NodeGroup> {
    return this.#tables.groups;
  }
  get networks(): ReadonlyMap<NetworkUuid, Network> {
    return this.#tables.networks;
  }
  get instances(): ReadonlyMap<InstanceUuid, Instance> {
    return this.#tables.instances;
  }
  get disks(): ReadonlyMap<DiskUuid, Disk> {
    return this.#tables.disks;
  }
  get filters(): ReadonlyMap<string, FilterRule> {
    return this.#tables.filters;
  }
  get tokens(): ReadonlyMap<string, ApiToken> {
    return this.#tables.tokens;
  }

  findNode(nameOrUuid: string): Node | undefined {
    return this.nodes.get(nameOrUuid as NodeUuid) ?? findHost(this.#indexes.nodeLabels, nameOrUuid);
  }

  findGroup(nameOrUuid: string): NodeGroup | undefined {
    return this.groups.get(nameOrUuid as GroupUuid) ?? this.#indexes.groupNames.get(nameOrUuid);
  }

  findInstance(nameOrUuid: string): Instance | undefined {
    return this.instances.get(nameOrUuid as InstanceUuid) ?? findHost(this.#indexes.instanceLabels, nameOrUuid);
  }

  findNetwork(nameOrUuid: string): Network | undefined {
    return this.networks.get(nameOrUuid as NetworkUuid) ?? this.#indexes.networkNames.get(nameOrUuid);
  }

  disksOf(instance: Instance): readonly Disk[] {
    return instance.disks.map((uuid) => this.disks.get(uuid)).filter((disk) => disk !== undefined);
  }

  primaryInstances(node: NodeUuid): readonly Instance[] {
    return this.#indexes.instancesByPrimary.get(node);
  }

  secondaryInstances(node: NodeUuid): readonly Instance[] {
    return this.#indexes.instancesBySecondary.get(node);
  }

  nodesOf(group: GroupUuid): readonly Node[] {
    return this.#indexes.nodesByGroup.get(group);
  }

  secondaryNodes(instance: Instance): readonly NodeUuid[] {
    return secondaryNodesOf(instance, this.#tables);
  }
}

/** Changes by kind and UUID; `undefined` stands for a row that is removed. */
class Edits {
  readonly #byKind: ReadonlyMap<string, readonly ConfigChange[]>;

  constructor(changes: readonly ConfigChange[]) {
    this.#byKind = Map.groupBy(changes, (change) => change.kind);
  }

  of<K extends TableKind>(kind: K): ReadonlyMap<string, Entities[K] | undefined> {
    const changes = this.#byKind.get(kind) ?? [];
    return new Map(
      changes.map((change) => [rowOf(change).uuid, ("put" in change ? change.put : undefined) as Entities[K]]),
    );
  }
}

function reindexed(old: Tables, indexes: Indexes, now: Tables, edits: Edits): Indexes {
  const nodes = replacements(edits.of("node").keys(), old.nodes, now.nodes);
  const groups = replacements(edits.of("nodegroup").keys(), old.groups, now.groups);
  const networks = replacements(edits.of("network").keys(), old.networks, now.networks);
  const instances = replacements(edits.of("instance").keys(), old.instances, now.instances);
  const instanceOfDisk = indexes.instanceOfDisk.with(
    new Map([
      ...instances.removed.flatMap(({ disks }) => disks.map((disk) => [disk, undefined] as const)),
      ...instances.added.flatMap(({ disks, uuid }) => disks.map((disk) => [disk, uuid] as const)),
    ]),
  );
  // Where an instance has secondary copies is written on its disks, which may change without it.
  const onOtherDisks = [...edits.of("disk").keys()].flatMap((disk) => instanceOfDisk.get(disk as DiskUuid) ?? []);
  const moved = replacements(new Set([...edits.of("instance").keys(), ...onOtherDisks]), old.instances, now.instances);
  return {
    nodeLabels: indexes.nodeLabels.with(listedBy(nodes, labelOf)),
    instanceLabels: indexes.instanceLabels.with(listedBy(instances, labelOf)),
    groupNames: indexes.groupNames.with(namesOf(groups)),
    networkNames: indexes.networkNames.with(namesOf(networks)),
    nodesByGroup: indexes.nodesByGroup.with(listedBy(nodes, (node) => node.group)),
    instancesByPrimary: indexes.instancesByPrimary.with(listedBy(instances, (instance) => instance.primaryNode)),
    instancesBySecondary: indexes.instancesBySecondary.with({
      removed: moved.removed.flatMap((instance) => secondaryListings(instance, old)),
      added: moved.added.flatMap((instance) => secondaryListings(instance, now)),
    }),
    instanceOfDisk,
  };
}

/** The old and the new rows of some UUIDs. */
interface Replacements<E> {
  readonly removed: readonly E[];
  readonly added: readonly E[];
}

function replacements<E>(
  uuids: Iterable<string>,
  old: ReadonlyMap<string, E>,
  now: ReadonlyMap<string, E>,
): Replacements<E> {
  const all = [...uuids];
  const rows = (table: ReadonlyMap<string, E>) => all.map((uuid) => table.get(uuid)).filter((row) => row !== undefined);
  return { removed: rows(old), added: rows(now) };
}

function listedBy<E extends Named>({ removed, added }: Replacements<E>, keyOf: (entity: E) => string) {
  const listings = (entities: readonly E[]) => entities.map((entity): Listing<E> => [keyOf(entity), entity]);
  return { removed: listings(removed), added: listings(added) };
}

function namesOf<E extends Named>({ removed, added }: Replacements<E>): ReadonlyMap<string, E | undefined> {
  return new Map([
    ...removed.map(({ name }) => [name, undefined] as const),
    ...added.map((entity) => [entity.name, entity] as const),
  ]);
}

function secondaryListings(instance: Instance, tables: Tables): readonly Listing<Instance>[] {
  return secondaryNodesOf(instance, tables).map((node) => [node, instance]);
}

function secondaryNodesOf(instance: Instance, { disks }: Tables): readonly NodeUuid[] {
  const nodes = new Set(instance.disks.flatMap((uuid) => disks.get(uuid)?.nodes ?? []));
  nodes.delete(instance.primaryNode);
  return [...nodes];
}

function labelOf({ name }: Named): string {
  return firstLabel(name.toLowerCase());
}

function firstLabel(name: string): string {
  const dot = name.indexOf(".");
  return dot < 0 ? name : name.slice(0, dot);
}

/** The one with this name, or else the only one whose name begins with these labels: `web1` or `web1.prod`. */
function findHost<E extends Named>(labels: GroupedIndex<E>, wanted: string): E | undefined {
  const name = wanted.toLowerCase();
  const named = labels.get(firstLabel(name));
  const exact = named.find((entity) => entity.name.toLowerCase() === name);
  if (exact !== undefined) return exact;
  const [match, second] = named.filter((entity) => entity.name.toLowerCase().startsWith(`${name}.`));
  return second === undefined ? match : undefined;
}
