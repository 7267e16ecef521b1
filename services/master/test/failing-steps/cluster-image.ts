/** Everything that an operation could change, at one moment: the configuration, and what is on the scripted nodes. */
import type { ConfigChange } from "@gannet/config-store";
import type { ConfigView } from "@gannet/objects";
import type { LogicalUnitBed } from "../logical-units/logical-unit-bed.ts";
import type { ScriptedNode } from "../logical-units/scripted-node.ts";
import { guest, snapshot } from "../rapi/cluster-fixture.ts";

/** What of a node is kept; the rest belongs to the test. */
const KEPT = [
  "volumes",
  "ends",
  "guests",
  "devices",
  "memories",
  "incoming",
  "active",
  "transfers",
  "transferKeys",
] as const;
const TABLES = ["nodes", "groups", "instances", "disks", "networks"] as const;
const KINDS = {
  nodes: "node",
  groups: "nodegroup",
  instances: "instance",
  disks: "disk",
  networks: "network",
} as const;
const FIRST_PORT = 11_000;

type Row = { readonly uuid: string; readonly serialNo: number };
type NodeImage = Readonly<Record<(typeof KEPT)[number], unknown>> & { readonly exports: ScriptedNode["exports"] };

export interface ClusterImage {
  readonly config: ConfigView;
  readonly nodes: ReadonlyMap<string, NodeImage>;
}

export function imageOf({ view, nodes }: LogicalUnitBed): ClusterImage {
  const kept = nodes.all().map((node) => {
    const { finished, unfinished } = node.exports;
    const parts = Object.fromEntries(KEPT.map((part) => [part, node[part]]));
    // All at once: the ends of mirrors are of the same volumes afterwards.
    return [node.name, structuredClone({ ...parts, exports: { finished, unfinished } }) as NodeImage] as const;
  });
  return { config: view, nodes: new Map(kept) };
}

/** Make everything what it was, as no operation would. */
export async function restore(bed: LogicalUnitBed, image: ClusterImage): Promise<void> {
  for (const node of bed.nodes.all()) {
    const kept = structuredClone(image.nodes.get(node.name));
    if (kept === undefined) throw new Error(`there was no node ${node.name}`);
    for (const part of KEPT) refill(node[part], kept[part]);
    refill(node.exports.finished, kept.exports.finished);
    refill(node.exports.unfinished, kept.exports.unfinished);
  }
  bed.nodes.syncs.clear();
  await bed.commit((view) => [...changesTo(view, image.config)]);
  tellLiveState(bed);
}

/** What the agents' streams would have told by now. */
export function tellLiveState({ live, nodes, view }: LogicalUnitBed): void {
  for (const { name, guests, memories } of nodes.all()) {
    const row = view.findNode(name);
    const states = [...guests].map((each) => guest(each, { memoryMib: memories.get(each) ?? 128 }));
    if (row !== undefined) live.apply(row.uuid, snapshot(name, states));
  }
}

function refill(part: unknown, from: unknown): void {
  (part as Map<unknown, unknown> | Set<unknown>).clear();
  if (part instanceof Map) for (const [key, value] of from as Map<unknown, unknown>) part.set(key, value);
  if (part instanceof Set) for (const value of from as Set<unknown>) part.add(value);
}

function* changesTo(now: ConfigView, then: ConfigView): Iterable<ConfigChange> {
  if (settled(now.cluster) !== settled(then.cluster) || now.cluster.highestUsedPort !== then.cluster.highestUsedPort)
    yield { kind: "cluster", put: { ...then.cluster, serialNo: now.cluster.serialNo } };
  for (const table of TABLES) {
    const before = then[table] as ReadonlyMap<string, Row>;
    const after = now[table] as ReadonlyMap<string, Row>;
    for (const [uuid, row] of after)
      if (!before.has(uuid)) yield { kind: KINDS[table], remove: row } as unknown as ConfigChange;
    for (const [uuid, row] of before) {
      const present = after.get(uuid);
      if (present === undefined || settled(present) !== settled(row))
        yield { kind: KINDS[table], put: { ...row, serialNo: present?.serialNo ?? 0 } } as unknown as ConfigChange;
    }
  }
}

/** What must be the same when nothing has happened, one line for each thing. */
export function linesOf({ config, nodes }: ClusterImage): readonly string[] {
  return [...configLines(config), ...nodeLines(config, nodes)];
}

/**
 * The same without what is drawn by lot: names that were not there before are all called the same.
 * @param before - the image in which names are known
 */
export function outlineOf(image: ClusterImage, before: ClusterImage): { config: string[]; nodes: string[] } {
  const known = new Set(linesOf(before).flatMap((line) => [...line.matchAll(DRAWN)].map(([name]) => name)));
  const outline = (lines: readonly string[]) =>
    lines
      .map((line) => line.replace(DRAWN, (name) => (known.has(name) ? name : "new")).replace(/"ctime":[\d.]+/g, ""))
      .sort();
  return { config: outline(configLines(image.config)), nodes: outline(nodeLines(image.config, image.nodes)) };
}

/** UUIDs, secrets and MAC addresses. */
const DRAWN = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{40}\b|\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b/g;

function configLines(config: ConfigView): readonly string[] {
  const rows = TABLES.flatMap((table) =>
    [...(config[table] as ReadonlyMap<string, Row>).values()].map((row) => `${KINDS[table]} ${settled(row)}`),
  );
  return [`cluster ${settled(config.cluster)}`, ...rows].sort();
}

function nodeLines(config: ConfigView, nodes: ClusterImage["nodes"]): readonly string[] {
  const disks = new Set(
    [...config.disks.values()].flatMap(({ uuid, children }) => [uuid, ...children.map((each) => each.uuid)]),
  );
  return [...nodes].flatMap(([name, { exports, ...parts }]) => [
    ...KEPT.flatMap((part) => thingsIn(parts[part], disks).map((thing) => `${name} ${part} ${thing}`)),
    ...[...exports.finished.keys()].map((each) => `${name} export ${each}`),
    ...[...exports.unfinished.keys()].map((each) => `${name} unfinished export ${each}`),
  ]);
}

/** A note of an owner that does not exist says nothing: who adopts the volume writes another. */
function thingsIn(part: unknown, owners: ReadonlySet<string>): readonly string[] {
  const settle = (key: string, value: unknown) => {
    return key === "owner" && !owners.has(value as never) ? null : value;
  };
  return [...(part as Iterable<unknown>)]
    .flatMap((thing) => (isGroup(thing) ? [...thing[1]].map((member) => [thing[0], member]) : [thing]))
    .map((thing) => JSON.stringify(thing, settle))
    .sort();
}

/** What belongs to one name is told of one by one. */
function isGroup(thing: unknown): thing is readonly [string, ReadonlySet<unknown>] {
  return Array.isArray(thing) && thing[1] instanceof Set;
}

/** A row without what every commit changes; of the cluster's, the ports that are in use instead of those that are not. */
function settled(row: object): string {
  const { serialNo, mtime, highestUsedPort, tcpudpPortPool, ...rest } = row as Record<string, unknown>;
  if (typeof highestUsedPort !== "number") return JSON.stringify(rest);
  const free = new Set(tcpudpPortPool as readonly number[]);
  const used = Array.from({ length: highestUsedPort - FIRST_PORT + 1 }, (_, index) => FIRST_PORT + index);
  return JSON.stringify({ ...rest, ports: used.filter((port) => !free.has(port)) });
}
