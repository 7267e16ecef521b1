/**
 * A Ganeti configuration (config.data, spec/config.json) as Gannet's rows. Pure: the same file gives the same rows, with
 * the UUIDs, serials and times that it has.
 */
import { type ConfigRows, configViewOf } from "@gannet/config-store";
import {
  type Cluster,
  configurationFindings,
  type Disk,
  ENTITY_SCHEMAS,
  type EntityKind,
  type FilterRule,
  type GroupUuid,
  type Instance,
  type InstanceUuid,
  type Network,
  type NetworkUuid,
  type Node,
  type NodeGroup,
  type NodeUuid,
} from "@gannet/objects";
import { translateCluster } from "./cluster.ts";
import { type ConfigurationVersion, readVersion, text } from "./configuration-version.ts";
import { isUuid } from "./derived-uuid.ts";
import { translateFilter } from "./filters.ts";
import {
  asNotTranslatable,
  Findings,
  type Note,
  NotTranslatable,
  type Path,
  type Problem,
  printable,
  shown,
} from "./findings.ts";
import { translateInstance } from "./instances.ts";
import { isObject, type Json, JsonObject } from "./json-object.ts";
import { type Finder, translateGroup, translateNetwork, translateNode } from "./nodes-and-groups.ts";
import { UniqueValues } from "./unique-values.ts";

export interface TranslationOptions {
  /** Paths of problems that may be left out, with everything below them. */
  readonly skip?: readonly string[];
  /** `host:port` of agents that are not at their node's primary address and the standard port, by the node's name. */
  readonly agentAddresses?: ReadonlyMap<string, string>;
}

export const TABLES = ["nodes", "nodegroups", "networks", "instances", "disks", "filters"] as const;
export type TableName = (typeof TABLES)[number];

export interface Translation {
  /** `3.0`; undefined when the file does not say. */
  readonly version: string | undefined;
  /** How many rows each table of the file has. */
  readonly found: Readonly<Record<TableName, number>>;
  /** Without what the problems name; undefined when there is no cluster in it. */
  readonly rows: Required<ConfigRows> | undefined;
  readonly problems: readonly Problem[];
  readonly notes: readonly Note[];
  /** Given, and no problem has such a path. */
  readonly unusedSkips: readonly string[];
}

/** Never throws because of the file: what is wrong with it is a problem with its path. */
export function translateConfiguration(json: unknown, options: TranslationOptions = {}): Translation {
  const findings = new Findings(options.skip ?? []);
  const answer = (version?: ConfigurationVersion, rows?: Required<ConfigRows>): Translation => ({
    version: version && text(version),
    found: rowCounts(json),
    rows,
    problems: findings.problems,
    notes: findings.notes,
    unusedSkips: findings.unusedSkips,
  });
  if (!isObject(json)) {
    findings.fatal(["config.data"], "holds no object: this is not Ganeti's config.data");
    return answer();
  }
  const file = new JsonObject([], json);
  const version = readVersion(findings, file);
  if (version === undefined) return answer();
  try {
    return answer(version, translateAll(findings, file, version, options));
  } catch (error) {
    const told = asNotTranslatable(["cluster"], error);
    findings.fatal(told.path, told.message);
    return answer(version);
  }
}

function rowCounts(json: unknown): Record<TableName, number> {
  const count = (name: TableName) => {
    const table = isObject(json) && Object.hasOwn(json, name) ? json[name] : undefined;
    return [name, isObject(table) ? Object.keys(table).length : 0];
  };
  return Object.fromEntries(TABLES.map(count));
}

/** @throws NotTranslatable when there is no cluster without what is wrong */
function translateAll(
  findings: Findings,
  file: JsonObject,
  version: ConfigurationVersion,
  options: TranslationOptions,
): Required<ConfigRows> {
  file.ignore("cluster", "ctime", "mtime", "serial_no");
  const unique = new UniqueValues();
  const tableOf = (name: string) => sectionOf(findings, file, name);
  const [nodeSection, groupSection, networkSection] = [tableOf("nodes"), tableOf("nodegroups"), tableOf("networks")];
  const taken = <Uuid extends string>(rows: readonly { readonly uuid: Uuid }[], section: Section): Finder<Uuid> =>
    finder(new Set(rows.map(({ uuid }) => uuid)), section);

  const networks = translateRows<Network>(findings, unique, networkSection, "network", (object, uuid) =>
    translateNetwork(findings, object, uuid as NetworkUuid),
  );
  const anyNode = finder<NodeUuid>(new Set(nodeSection.rows.map(({ uuid }) => uuid as NodeUuid)), nodeSection);
  const cluster = checked("cluster", ["cluster"], translateCluster(findings, file, version, anyNode));
  const networkOf = taken(networks, networkSection);
  const groups = translateRows<NodeGroup>(findings, unique, groupSection, "nodegroup", (object, uuid) =>
    translateGroup(findings, object, uuid as GroupUuid, { cluster, networkOf }),
  );
  const groupOf = taken(groups, groupSection);
  const nodes = translateRows<Node>(findings, unique, nodeSection, "node", (object, uuid) =>
    translateNode(findings, object, uuid as NodeUuid, {
      groupOf,
      agentAddress: options.agentAddresses?.get(object.text("name").toLowerCase()),
    }),
  );
  if (!nodes.some(({ uuid }) => uuid === cluster.masterNode))
    throw new NotTranslatable(["cluster", "master_node"], "is a node that cannot be taken over");
  const { instances, disks } = translateInstances(findings, unique, file, {
    cluster,
    nodeOf: taken(nodes, nodeSection),
    networkOf,
  });
  const filters = translateRows<FilterRule>(findings, unique, tableOf("filters"), "filter", (object, uuid) =>
    translateFilter(object, uuid, file.number("ctime", 0)),
  );
  for (const field of file.unread)
    findings.problem([field], "is no part of a configuration that is known", "this part");
  for (const name of options.agentAddresses?.keys() ?? [])
    if (!nodes.some((node) => node.name === name))
      findings.problem(["--node-agent", name], "is no node of this configuration", "nothing");
  const rows = { cluster, nodes, groups, networks, instances, disks, filters, tokens: [] };
  tellConfigurationFindings(findings, rows);
  return rows;
}

interface Section {
  readonly name: string;
  readonly rows: readonly { readonly uuid: string; readonly path: Path; readonly value: unknown }[];
  /** UUIDs by the names that the rows have. */
  readonly byName: ReadonlyMap<string, string>;
}

/** One of the file's tables. A row is known by its UUID, and told of by its name where no other has it. */
function sectionOf(findings: Findings, file: JsonObject, name: string): Section {
  const table = findings.attempt(`all ${name}`, [name], () => file.table(name)) ?? {};
  const entries = Object.entries(table);
  const names = new Map<string, number>();
  for (const [, value] of entries) {
    const own = nameIn(value);
    if (own !== undefined) names.set(own, (names.get(own) ?? 0) + 1);
  }
  const byName = new Map<string, string>();
  const rows = entries.map(([key, value]) => {
    const uuid = isObject(value) && typeof value.uuid === "string" ? value.uuid : key;
    const own = nameIn(value);
    const isUnique = own !== undefined && names.get(own) === 1;
    if (isUnique) byName.set(own, uuid);
    return { uuid, path: [name, isUnique && own === printable(own) && !own.includes("/") ? own : key], value };
  });
  return { name, rows, byName };
}

function nameIn(value: unknown): string | undefined {
  return isObject(value) && typeof value.name === "string" && value.name !== "" ? value.name : undefined;
}

function finder<Uuid extends string>(known: ReadonlySet<Uuid>, { name, byName }: Section): Finder<Uuid> {
  return (path, reference) => {
    const uuid = (known.has(reference as Uuid) ? reference : byName.get(reference)) as Uuid | undefined;
    if (uuid !== undefined && known.has(uuid)) return uuid;
    throw new NotTranslatable(path, `${shown(reference)} is none of the ${name} that are taken over`);
  };
}

function translateRows<Row extends { readonly uuid: string }>(
  findings: Findings,
  unique: UniqueValues,
  section: Section,
  kind: Exclude<EntityKind, "cluster">,
  translate: (object: JsonObject, uuid: string) => Row,
): Row[] {
  return section.rows.flatMap(({ uuid, path, value }) => {
    const row = findings.attempt(`the ${kind}`, path, () => {
      const translated = checked(kind, path, translate(new JsonObject(path, value), requireUuid(path, uuid)) as never);
      unique.claim(kind, path, translated);
      return translated as unknown as Row;
    });
    return row === undefined ? [] : [row];
  });
}

function requireUuid(path: Path, uuid: string): string {
  if (isUuid(uuid)) return uuid;
  throw new NotTranslatable([...path, "uuid"], `${shown(uuid)} is no UUID`);
}

function translateInstances(
  findings: Findings,
  unique: UniqueValues,
  file: JsonObject,
  around: { readonly cluster: Cluster; readonly nodeOf: Finder<NodeUuid>; readonly networkOf: Finder<NetworkUuid> },
): { readonly instances: Instance[]; readonly disks: Disk[] } {
  const stored: Json = findings.attempt("all disks", ["disks"], () => file.table("disks")) ?? {};
  const owners = new Map<string, string>();
  const disks: Disk[] = [];
  const section = sectionOf(findings, file, "instances");
  const instances = translateRows<Instance>(findings, unique, section, "instance", (object, uuid) => {
    const diskOf = (_: JsonObject, index: number, reference: string): JsonObject => {
      const at = [...object.at("disks"), index];
      if (!Object.hasOwn(stored, reference))
        throw new NotTranslatable(at, `${shown(reference)} is no disk of the file`);
      const other = owners.get(reference);
      if (other !== undefined) throw new NotTranslatable(at, `${shown(reference)} belongs to ${other}, too`);
      owners.set(reference, object.text("name"));
      return new JsonObject(["disks", requireUuid(at, reference)], stored[reference]);
    };
    const translated = translateInstance(findings, object, uuid as InstanceUuid, { ...around, diskOf });
    const own = translated.disks.map((disk) => checked("disk", ["disks", disk.uuid], disk));
    unique.claimDisks(object.path, own);
    disks.push(...own);
    return translated.instance;
  });
  const referred = new Set(section.rows.flatMap(({ value }) => disksIn(value)));
  for (const uuid of Object.keys(stored))
    if (!referred.has(uuid)) findings.problem(["disks", uuid], "belongs to no instance", "the disk");
  // An instance that was refused after its disks were read has left them here.
  const kept = new Set(instances.flatMap((instance) => instance.disks));
  return { instances, disks: disks.filter(({ uuid }) => kept.has(uuid)) };
}

function disksIn(instance: unknown): readonly unknown[] {
  return isObject(instance) && Array.isArray(instance.disks) ? instance.disks : [];
}

/** The last word is the schema's by which rows are read from the store. @throws NotTranslatable */
function checked<Row>(kind: EntityKind, path: Path, row: Row): Row {
  const parsed = ENTITY_SCHEMAS[kind].safeParse(row);
  if (parsed.success) return row;
  const [issue] = parsed.error.issues;
  throw new NotTranslatable([...path, ...(issue?.path.map(String) ?? [])], issue?.message ?? "is not valid");
}

/** What OP_CLUSTER_VERIFY_CONFIG would say is better known before. */
function tellConfigurationFindings(findings: Findings, rows: ConfigRows): void {
  for (const { item, problem } of configurationFindings(configViewOf(rows)))
    findings.note([item === "" ? "cluster" : item], `verify will say: ${problem}`);
}
