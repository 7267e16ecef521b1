/** What only one object may have: names of hosts, groups and networks, MAC addresses, UUIDs of disks, devices. */
import type { Disk, Entities, EntityKind } from "@gannet/objects";
import { NotTranslatable, type Path, pathText } from "./findings.ts";

export class UniqueValues {
  readonly #owners = new Map<string, string>();

  /** @throws NotTranslatable when an object before has one of its values; then it has taken none */
  claim(kind: Exclude<EntityKind, "cluster">, path: Path, row: Entities[EntityKind]): void {
    this.#take(path, [`UUID ${row.uuid}`, ...valuesOf(kind, row as never)]);
  }

  /** As {@link claim}. @param path - of the instance */
  claimDisks(path: Path, disks: readonly Disk[]): void {
    this.#take(
      path,
      disks.flatMap((disk) => [
        ...[disk, ...disk.children].map(({ uuid }) => `UUID ${uuid}`),
        ...[disk, ...disk.children].map((device) => deviceOf(device)),
        ...(disk.template === "drbd"
          ? disk.nodes.map((node, end) => `DRBD minor ${disk.logicalId[3 + end]} of node ${node}`)
          : []),
      ]),
    );
  }

  #take(path: Path, values: readonly string[]): void {
    const own = new Set<string>();
    for (const value of values) {
      const other = this.#owners.get(value) ?? (own.has(value) ? "itself" : undefined);
      if (other !== undefined) throw new NotTranslatable(path, `has the ${value}, as ${other}`);
      own.add(value);
    }
    for (const value of own) this.#owners.set(value, pathText(path));
  }
}

/** Nodes and instances share a space: both are names of hosts. */
const VALUES_OF: { readonly [K in EntityKind]?: (row: Entities[K]) => readonly string[] } = {
  node: ({ name }) => [`host name ${name}`],
  instance: ({ name, nics }) => [`host name ${name}`, ...nics.map(({ mac }) => `MAC address ${mac}`)],
  nodegroup: ({ name }) => [`group name ${name}`],
  network: ({ name }) => [`network name ${name}`],
};

function valuesOf<K extends EntityKind>(kind: K, row: Entities[K]): readonly string[] {
  return (VALUES_OF[kind] as ((row: Entities[K]) => readonly string[]) | undefined)?.(row) ?? [];
}

/** A volume of one node is another than the volume of the same name of another. */
function deviceOf({ template, logicalId, nodes }: Pick<Disk, "template" | "logicalId" | "nodes">): string {
  if (template === "drbd") return `DRBD port ${logicalId[2]} of nodes ${nodes.toSorted().join(" and ")}`;
  const isLocal = template === "plain" || template === "file";
  return `device ${template} ${logicalId.join("/")}${isLocal ? ` of node ${nodes.join(" and ")}` : ""}`;
}
