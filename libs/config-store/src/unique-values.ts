/** Values that only one entity of the cluster may have, and how they move when rows change. */
import { ConfigurationConflict } from "@gannet/errors";
import type { Entities, EntityKind } from "@gannet/objects";
import { rowOf } from "./config-rows.ts";
import type { ConfigChange } from "./config-store-contract.ts";

/** What changes do to such values, each written `<space>:<value>`. */
export interface ValueMoves {
  readonly give: readonly string[];
  /** With the entity that has it from now on, `<kind> <uuid>`. */
  readonly take: Readonly<Record<string, string>>;
}

/** By kind of row. Nodes and instances share a space: both are names of hosts. */
const VALUES_OF: { readonly [K in EntityKind]?: (row: Entities[K]) => readonly string[] } = {
  node: ({ name }) => [`host:${name.toLowerCase()}`],
  instance: ({ name, nics }) => [`host:${name.toLowerCase()}`, ...nics.map(({ mac }) => `mac:${mac.toLowerCase()}`)],
  nodegroup: ({ name }) => [`group:${name}`],
  network: ({ name }) => [`network:${name}`],
};

const SPACES: Readonly<Record<string, string>> = {
  host: "name of a node or instance",
  mac: "MAC address",
  group: "name of a node group",
  network: "name of a network",
};

/**
 * What the changes let go and take, without what stays where it is.
 * @param storedRow - the row as it is before the changes
 * @throws ConfigurationConflict when two of them take the same value
 */
export function valueMoves(
  storedRow: (kind: EntityKind, uuid: string) => Entities[EntityKind] | undefined,
  changes: readonly ConfigChange[],
): ValueMoves {
  const before = new Map<string, string>();
  const after = new Map<string, string>();
  for (const change of changes) {
    const { uuid } = rowOf(change);
    const owner = `${change.kind} ${uuid}`;
    for (const value of valuesOf(change.kind, storedRow(change.kind, uuid))) before.set(value, owner);
    if (!("put" in change)) continue;
    for (const value of valuesOf(change.kind, change.put)) {
      const other = after.get(value);
      if (other !== undefined) throw valueTaken(value, other);
      after.set(value, owner);
    }
  }
  return {
    give: [...before].filter(([value, owner]) => after.get(value) !== owner).map(([value]) => value),
    take: Object.fromEntries([...after].filter(([value, owner]) => before.get(value) !== owner)),
  };
}

/** The error when a value is another's. */
export function valueTaken(value: string, owner: string): ConfigurationConflict {
  const colon = value.indexOf(":");
  const what = SPACES[value.slice(0, colon)] ?? "value";
  return new ConfigurationConflict(`The ${what} ${value.slice(colon + 1)} is taken already, by ${owner}`);
}

function valuesOf(kind: EntityKind, row: Entities[EntityKind] | undefined): readonly string[] {
  const values = VALUES_OF[kind] as ((row: Entities[EntityKind]) => readonly string[]) | undefined;
  return row === undefined || values === undefined ? [] : values(row);
}
