/** The resources that queries know: their fields, their rows, and how a row is found by its name. */
import { OpPrereqError } from "@gannet/errors";
import type { ConfigView, FilterRule, Instance, Network, Node, NodeGroup } from "@gannet/objects";
import type { ClusterFacts } from "./cluster-facts.ts";
import type { ExtStorageContext } from "./ext-storage-rows.ts";
import { extStorageRows } from "./ext-storage-rows.ts";
import type { Field } from "./field.ts";
import type { ClusterContext } from "./fields/cluster.ts";
import { CLUSTER_FIELDS } from "./fields/cluster.ts";
import type { ExportContext } from "./fields/export.ts";
import { EXPORT_FIELDS, exportsOf } from "./fields/export.ts";
import { EXT_STORAGE_FIELDS } from "./fields/extstorage.ts";
import { FILTER_FIELDS } from "./fields/filter.ts";
import type { GroupContext } from "./fields/group.ts";
import { GROUP_FIELDS } from "./fields/group.ts";
import { INSTANCE_FIELDS, InstanceContext } from "./fields/instance.ts";
import type { JobContext, JobEntity } from "./fields/job.ts";
import { JOB_FIELDS } from "./fields/job.ts";
import type { LockContext } from "./fields/lock.ts";
import { LOCK_FIELDS } from "./fields/lock.ts";
import type { NetworkContext } from "./fields/network.ts";
import { NETWORK_FIELDS } from "./fields/network.ts";
import { NODE_FIELDS, NodeContext } from "./fields/node.ts";
import { OS_FIELDS } from "./fields/os.ts";
import type { LiveValues } from "./live-values.ts";
import { niceSort } from "./nice-sort.ts";
import type { OsContext } from "./os-rows.ts";
import { osRows } from "./os-rows.ts";

/** Everything that a query may draw on. Jobs and locks are what the prepared query said it needs. */
export interface QuerySource {
  readonly view: ConfigView;
  readonly live: LiveValues;
  readonly facts: ClusterFacts;
  readonly jobs: readonly JobEntity[];
  readonly locks: readonly LockContext[];
}

export interface Resource<Row> {
  readonly nameField: string;
  readonly fields: ReadonlyMap<string, Field<Row>>;
  /** All rows, in the order of lists. */
  readonly rows: (source: QuerySource) => readonly Row[];
  /**
   * The rows of some names, in their order; without this, names are compared as any other field.
   * @throws OpPrereqError `unknown_entity`
   */
  readonly find?: (source: QuerySource, names: readonly (string | number)[]) => readonly Row[];
  /** Which rows there are depends on what nodes report. */
  readonly rowsAreLive: boolean;
}

function resource<Row>(
  nameField: string,
  fields: readonly Field<Row>[],
  more: Pick<Resource<Row>, "rows" | "find"> & { readonly rowsAreLive?: true },
): Resource<Row> {
  const byName = new Map(niceSort(fields, ({ name }) => name).map((field) => [field.name, field]));
  return { nameField, fields: byName, rowsAreLive: false, ...more };
}

function known<T>(what: string, name: string | number, entity: T | undefined): T {
  if (entity === undefined) throw new OpPrereqError(`${what} '${name}' not known`, "unknown_entity");
  return entity;
}

function inOrder<T extends { readonly name: string }>(entities: ReadonlyMap<unknown, T>): readonly T[] {
  return niceSort(entities.values(), ({ name }) => name);
}

const nodeContext = (node: Node, { view, live }: QuerySource) => new NodeContext(node, view, live);
const instanceContext = (instance: Instance, { view, live }: QuerySource) => new InstanceContext(instance, view, live);
const groupContext = (group: NodeGroup, { view }: QuerySource): GroupContext => ({ group, view });
const networkContext = (network: Network, { view }: QuerySource): NetworkContext => ({ network, view });

export const RESOURCES = {
  cluster: resource<ClusterContext>("name", CLUSTER_FIELDS, { rows: ({ view, facts }) => [{ view, facts }] }),
  export: resource<ExportContext>("node", EXPORT_FIELDS, {
    rows: ({ view, live }) => inOrder(view.nodes).flatMap((node) => exportsOf(node, live)),
    find: ({ view, live }, names) =>
      names.flatMap((name) => exportsOf(known("Node", name, view.findNode(String(name))), live)),
    rowsAreLive: true,
  }),
  extstorage: resource<ExtStorageContext>("name", EXT_STORAGE_FIELDS, {
    rows: ({ view, live }) => extStorageRows(view, live),
    rowsAreLive: true,
  }),
  filter: resource<FilterRule>("uuid", FILTER_FIELDS, {
    rows: ({ view }) => niceSort(view.filters.values(), ({ uuid }) => uuid),
    find: ({ view }, uuids) => uuids.map((uuid) => known("Filter", uuid, view.filters.get(String(uuid)))),
  }),
  group: resource<GroupContext>("name", GROUP_FIELDS, {
    rows: (source) => inOrder(source.view.groups).map((group) => groupContext(group, source)),
    find: (source, names) =>
      names.map((name) => groupContext(known("Node group", name, source.view.findGroup(String(name))), source)),
  }),
  instance: resource<InstanceContext>("name", INSTANCE_FIELDS, {
    rows: (source) => inOrder(source.view.instances).map((instance) => instanceContext(instance, source)),
    find: (source, names) =>
      names.map((name) => instanceContext(known("Instance", name, source.view.findInstance(String(name))), source)),
  }),
  job: resource<JobContext>("id", JOB_FIELDS, {
    rows: ({ jobs }) => jobs.map((job) => ({ id: job.id, job })).sort((a, b) => a.id - b.id),
    find: ({ jobs }, ids) => {
      const byId = new Map(jobs.map((job) => [job.id, job]));
      return ids.map((id) => ({ id: Number(id), job: byId.get(Number(id)) }));
    },
  }),
  lock: resource<LockContext>("name", LOCK_FIELDS, { rows: ({ locks }) => niceSort(locks, ({ name }) => name) }),
  network: resource<NetworkContext>("name", NETWORK_FIELDS, {
    rows: (source) => inOrder(source.view.networks).map((network) => networkContext(network, source)),
    find: (source, names) =>
      names.map((name) => networkContext(known("Network", name, source.view.findNetwork(String(name))), source)),
  }),
  node: resource<NodeContext>("name", NODE_FIELDS, {
    rows: (source) => inOrder(source.view.nodes).map((node) => nodeContext(node, source)),
    find: (source, names) =>
      names.map((name) => nodeContext(known("Node", name, source.view.findNode(String(name))), source)),
  }),
  os: resource<OsContext>("name", OS_FIELDS, { rows: ({ view, live }) => osRows(view, live), rowsAreLive: true }),
} as const;

export type ResourceName = keyof typeof RESOURCES;

/** @throws OpPrereqError `wrong_input` when there is no such resource */
export function resourceName(what: string): ResourceName {
  if (Object.hasOwn(RESOURCES, what)) return what as ResourceName;
  throw new OpPrereqError(
    `Unknown query resource ${JSON.stringify(what.slice(0, 40))}; there are: ${Object.keys(RESOURCES).join(", ")}`,
    "wrong_input",
  );
}
