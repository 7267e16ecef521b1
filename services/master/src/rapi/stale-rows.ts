/** Which rows of the API's lists a change of the configuration or of the live state makes out of date. */
import type { ConfigChange } from "@gannet/config-store";
import type { Cluster, ConfigView, DiskUuid, Instance, InstanceUuid, NodeUuid } from "@gannet/objects";
import type { LiveState } from "../live-state/live-state-contract.ts";

type LiveChange = Parameters<Parameters<LiveState["onChange"]>[0]>[0];

/** What to build anew. `order`: kinds in whose lists something came, went or was renamed. */
export interface StaleRows {
  readonly instances: "all" | ReadonlySet<InstanceUuid>;
  readonly nodes: "all" | ReadonlySet<NodeUuid>;
  readonly groups: boolean;
  readonly networks: boolean;
  readonly cluster: boolean;
  readonly order: ReadonlySet<"instance" | "node" | "nodegroup" | "network">;
}

interface Placement {
  readonly name: string;
  readonly nodes: readonly NodeUuid[];
}

export class RowDependencies {
  readonly #live: Pick<LiveState, "node">;
  /** What the rows of nodes say of each instance: its name and where it is. */
  readonly #placements = new Map<InstanceUuid, Placement>();
  readonly #owners = new Map<DiskUuid, InstanceUuid>();
  /** The nodes that tell something of themselves; of the others' instances nothing is known either. */
  readonly #telling = new Map<NodeUuid, boolean>();
  #defaults: string;

  constructor(view: ConfigView, live: Pick<LiveState, "node">) {
    this.#live = live;
    this.#defaults = defaultsOf(view.cluster);
    for (const instance of view.instances.values()) this.#place(view, instance);
    for (const node of view.nodes.keys()) this.#telling.set(node, this.#tells(node));
  }

  ofConfig(view: ConfigView, changes: readonly ConfigChange[]): StaleRows {
    const kinds = new Set<string>(changes.map((change) => change.kind));
    const order = new Set<"instance" | "node" | "nodegroup" | "network">();
    for (const kind of ["node", "nodegroup", "network"] as const) if (kinds.has(kind)) order.add(kind);
    const instances = this.#touchedInstances(view, changes);
    const nodes = new Set<NodeUuid>();
    for (const uuid of instances) {
      const before = this.#placements.get(uuid);
      const after = this.#replace(view, uuid);
      if (before?.name !== after?.name) order.add("instance");
      if (before?.name === after?.name && before?.nodes.join() === after?.nodes.join()) continue;
      for (const node of [...(before?.nodes ?? []), ...(after?.nodes ?? [])]) nodes.add(node);
    }
    // Every instance inherits from these; every node and group shows its relation to them.
    const everything =
      order.has("node") || order.has("nodegroup") || order.has("network") || this.#newDefaults(view, kinds);
    return {
      instances: everything ? "all" : instances,
      nodes: everything ? "all" : nodes,
      groups: everything,
      networks: everything || kinds.has("instance"),
      cluster: kinds.has("cluster") || kinds.has("node"),
      order,
    };
  }

  ofLive(view: ConfigView, { node, instances: names }: LiveChange): StaleRows {
    const instances = new Set<InstanceUuid>();
    for (const name of names) {
      const instance = view.findInstance(name);
      if (instance !== undefined) instances.add(instance.uuid);
    }
    const tells = this.#tells(node);
    if (this.#telling.get(node) !== tells) {
      this.#telling.set(node, tells);
      for (const instance of view.primaryInstances(node)) instances.add(instance.uuid);
    }
    return { instances, nodes: new Set([node]), groups: false, networks: false, cluster: false, order: new Set() };
  }

  #tells(uuid: NodeUuid): boolean {
    const { reachable, node } = this.#live.node(uuid);
    return reachable && node !== undefined;
  }

  #touchedInstances(view: ConfigView, changes: readonly ConfigChange[]): ReadonlySet<InstanceUuid> {
    const touched = new Set<InstanceUuid>();
    for (const change of changes)
      if (change.kind === "instance") {
        const { uuid } = "put" in change ? change.put : change.remove;
        touched.add(uuid);
        for (const disk of view.instances.get(uuid)?.disks ?? []) this.#owners.set(disk, uuid);
      }
    for (const change of changes)
      if (change.kind === "disk") {
        const { uuid } = "put" in change ? change.put : change.remove;
        const owner = this.#owners.get(uuid);
        if (owner !== undefined) touched.add(owner);
        if ("remove" in change) this.#owners.delete(uuid);
      }
    return touched;
  }

  #replace(view: ConfigView, uuid: InstanceUuid): Placement | undefined {
    const instance = view.instances.get(uuid);
    if (instance !== undefined) return this.#place(view, instance);
    this.#placements.delete(uuid);
    return undefined;
  }

  #place(view: ConfigView, instance: Instance): Placement {
    const placement = { name: instance.name, nodes: [instance.primaryNode, ...view.secondaryNodes(instance)] };
    this.#placements.set(instance.uuid, placement);
    for (const disk of instance.disks) this.#owners.set(disk, instance.uuid);
    return placement;
  }

  #newDefaults(view: ConfigView, kinds: ReadonlySet<string>): boolean {
    if (!kinds.has("cluster")) return false;
    const defaults = defaultsOf(view.cluster);
    if (defaults === this.#defaults) return false;
    this.#defaults = defaults;
    return true;
  }
}

/**
 * Everything of the cluster that rows of other objects may show. Not its port pool: each new graphical console
 * takes a port from it, and a create must not make a thousand rows be built anew.
 */
function defaultsOf(cluster: Cluster): string {
  return JSON.stringify({ ...cluster, highestUsedPort: 0, tcpudpPortPool: 0, serialNo: 0, mtime: 0 });
}
