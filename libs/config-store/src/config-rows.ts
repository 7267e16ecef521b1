/** The rows of a configuration: apart by kind, and as changes that lead from one configuration to another. */
import type {
  ApiToken,
  Cluster,
  ConfigView,
  Disk,
  Entities,
  EntityKind,
  FilterRule,
  Instance,
  Network,
  Node,
  NodeGroup,
} from "@gannet/objects";
import type { ConfigChange } from "./config-store-contract.ts";

/** A whole configuration, in no particular order. */
export interface ConfigRows {
  readonly cluster: Cluster;
  readonly nodes?: readonly Node[];
  readonly groups?: readonly NodeGroup[];
  readonly networks?: readonly Network[];
  readonly instances?: readonly Instance[];
  readonly disks?: readonly Disk[];
  readonly filters?: readonly FilterRule[];
  readonly tokens?: readonly ApiToken[];
}

/** Where the rows of each kind stand in {@link ConfigRows} and {@link ConfigView}; the cluster is one row. */
export const TABLES = {
  node: "nodes",
  nodegroup: "groups",
  network: "networks",
  instance: "instances",
  disk: "disks",
  filter: "filters",
  token: "tokens",
} as const satisfies Record<Exclude<EntityKind, "cluster">, keyof ConfigRows & keyof ConfigView>;
export type TableKind = keyof typeof TABLES;
export const TABLE_KINDS = Object.keys(TABLES) as readonly TableKind[];
export const ENTITY_KINDS: readonly EntityKind[] = ["cluster", ...TABLE_KINDS];

/** A change that writes a row. */
export type ConfigPut = Extract<ConfigChange, { readonly put: unknown }>;

/** The row that a change writes or removes. */
export function rowOf(change: ConfigChange): Entities[EntityKind] {
  return "put" in change ? change.put : change.remove;
}

/** The row of this kind and UUID that a view has. */
export function storedRow(view: ConfigView, kind: EntityKind, uuid: string): Entities[EntityKind] | undefined {
  if (kind === "cluster") return view.cluster;
  return (view[TABLES[kind]] as ReadonlyMap<string, Entities[TableKind]>).get(uuid);
}

/** Changes that put every row. */
export function putsOf(rows: ConfigRows): readonly ConfigPut[] {
  const tables = TABLE_KINDS.flatMap((kind) => (rows[TABLES[kind]] ?? []).map((put) => ({ kind, put }) as ConfigPut));
  return [{ kind: "cluster", put: rows.cluster }, ...tables];
}

/** The rows of a view, each kind sorted by UUID so that equal configurations read equal. */
export function rowsOf(view: ConfigView): Required<ConfigRows> {
  const sorted = <E extends { readonly uuid: string }>(table: ReadonlyMap<string, E>) =>
    [...table.values()].sort((a, b) => (a.uuid < b.uuid ? -1 : 1));
  return {
    cluster: view.cluster,
    nodes: sorted(view.nodes),
    groups: sorted(view.groups),
    networks: sorted(view.networks),
    instances: sorted(view.instances),
    disks: sorted(view.disks),
    filters: sorted(view.filters),
    tokens: sorted(view.tokens),
  };
}

/** What leads from one configuration to another; a row with the same serial and time is the same row. */
export function changesBetween(before: ConfigView, after: ConfigRows): readonly ConfigChange[] {
  const changes: ConfigChange[] = [];
  if (!sameRow(before.cluster, after.cluster)) changes.push({ kind: "cluster", put: after.cluster });
  for (const kind of TABLE_KINDS) {
    const old = before[TABLES[kind]] as ReadonlyMap<string, Entities[TableKind]>;
    const rows = after[TABLES[kind]] ?? [];
    const kept = new Set<string>(rows.map((row) => row.uuid));
    for (const put of rows) if (!sameRow(old.get(put.uuid), put)) changes.push({ kind, put } as ConfigChange);
    for (const remove of old.values()) if (!kept.has(remove.uuid)) changes.push({ kind, remove } as ConfigChange);
  }
  return changes;
}

function sameRow(a: Entities[EntityKind] | undefined, b: Entities[EntityKind]): boolean {
  return a !== undefined && a.serialNo === b.serialNo && a.mtime === b.mtime;
}
