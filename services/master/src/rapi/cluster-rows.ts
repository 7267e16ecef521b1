/**
 * The answers of the lists and of single instances, groups and networks, kept as JSON. What changed in the
 * configuration or on a node marks rows as stale; they are built again when they are asked for next.
 */
import type { ConfigStore } from "@gannet/config-store";
import type { GroupUuid, InstanceUuid, NetworkUuid, NodeUuid } from "@gannet/objects";
import { clusterInfo, groupRow, instanceRow, networkRow, niceSort, nodeRow } from "@gannet/query";
import { liveValuesOf } from "../live-state/live-values.ts";
import { jsonAnswer } from "./answers.ts";
import type { Answer } from "./handlers.ts";
import type { RapiDeps } from "./rapi-deps.ts";
import { RowCache } from "./row-cache.ts";
import { RowDependencies, type StaleRows } from "./stale-rows.ts";
import { VERSIONS } from "./versions.ts";

type Configuration = Pick<ConfigStore, "view" | "onChange">;

export class ClusterRows {
  readonly instances: RowCache<InstanceUuid>;
  readonly nodes: RowCache<NodeUuid>;
  readonly groups: RowCache<GroupUuid>;
  readonly networks: RowCache<NetworkUuid>;
  readonly #configStore: Configuration;
  readonly #unsubscribe: readonly (() => void)[];
  #info: Answer | undefined;

  constructor({ configStore, liveState }: Pick<RapiDeps, "liveState"> & { readonly configStore: Configuration }) {
    this.#configStore = configStore;
    const live = liveValuesOf(liveState);
    this.instances = new RowCache({
      order: () => ordered(configStore.view.instances),
      row: (uuid) => ifThere(configStore.view.instances.get(uuid), (it) => instanceRow(it, configStore.view, live)),
      entry: (name) => ({ id: name, name, uri: `/2/instances/${name}` }),
    });
    this.nodes = new RowCache({
      order: () => ordered(configStore.view.nodes),
      row: (uuid) => ifThere(configStore.view.nodes.get(uuid), (it) => nodeRow(it, configStore.view, live)),
      entry: (name) => ({ id: name, uri: `/2/nodes/${name}` }),
    });
    this.groups = new RowCache({
      order: () => ordered(configStore.view.groups),
      row: (uuid) => ifThere(configStore.view.groups.get(uuid), (it) => groupRow(it, configStore.view)),
      entry: (name) => ({ name, uri: `/2/groups/${name}` }),
    });
    this.networks = new RowCache({
      order: () => ordered(configStore.view.networks),
      row: (uuid) => ifThere(configStore.view.networks.get(uuid), (it) => networkRow(it, configStore.view)),
      entry: (name) => ({ name, uri: `/2/networks/${name}` }),
    });
    const dependencies = new RowDependencies(configStore.view, liveState);
    this.#unsubscribe = [
      configStore.onChange((view, changes) => this.#drop(dependencies.ofConfig(view, changes))),
      liveState.onChange((change) => this.#drop(dependencies.ofLive(configStore.view, change))),
    ];
  }

  /** What `/2/info` answers. */
  info(): Answer {
    this.#info ??= jsonAnswer(clusterInfo(this.#configStore.view, VERSIONS));
    return this.#info;
  }

  close(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
  }

  #drop(stale: StaleRows): void {
    invalidate(this.instances, stale.instances);
    invalidate(this.nodes, stale.nodes);
    if (stale.groups) this.groups.invalidateAll();
    if (stale.networks) this.networks.invalidateAll();
    if (stale.cluster) this.#info = undefined;
    if (stale.order.has("instance")) this.instances.reorder();
    if (stale.order.has("node")) this.nodes.reorder();
    if (stale.order.has("nodegroup")) this.groups.reorder();
    if (stale.order.has("network")) this.networks.reorder();
  }
}

function invalidate<Key extends string>(cache: RowCache<Key>, stale: "all" | ReadonlySet<Key>): void {
  if (stale === "all") cache.invalidateAll();
  else if (stale.size > 0) cache.invalidate(stale);
}

function ordered<Key extends string>(
  entities: ReadonlyMap<Key, { readonly name: string }>,
): readonly { readonly key: Key; readonly name: string }[] {
  const named = Array.from(entities, ([key, { name }]) => ({ key, name }));
  return niceSort(named, ({ name }) => name);
}

function ifThere<T>(entity: T | undefined, row: (entity: T) => object): object | undefined {
  return entity === undefined ? undefined : row(entity);
}
