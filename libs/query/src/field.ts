/** A field that queries can ask for: what it is called, and how its value comes from a row. */
import type { Cell } from "./result-status.ts";
import { normal } from "./result-status.ts";

/** spec/query-fields.json, `meta.kinds`. `unit` is a size in MiB, `timestamp` is in seconds since 1970. */
export type FieldKind = "text" | "number" | "float" | "unit" | "timestamp" | "bool" | "other" | "unknown";

/** `host`: a short host name equals its full name. `timestamp`: `[sec, usec]` is compared by its seconds. */
export type MatchMode = "host" | "timestamp";

export interface Field<Row> {
  readonly name: string;
  /** Column title; no white space. */
  readonly title: string;
  readonly kind: FieldKind;
  /** One phrase without a period. */
  readonly doc: string;
  /** The value comes from nodes, jobs or locks rather than from the configuration. */
  readonly needsLive: boolean;
  readonly match?: MatchMode;
  readonly cell: (row: Row) => Cell;
}

type Options = Pick<Field<never>, "match">;

/** A field whose value is always there, in the configuration. */
export function stored<Row>(
  name: string,
  title: string,
  kind: FieldKind,
  doc: string,
  value: (row: Row) => unknown,
  options?: Options,
): Field<Row> {
  return { name, title, kind, doc, needsLive: false, cell: (row) => normal(value(row)), ...options };
}

/** A field of the configuration that may have no value. */
export function optional<Row>(
  name: string,
  title: string,
  kind: FieldKind,
  doc: string,
  cell: (row: Row) => Cell,
  options?: Options,
): Field<Row> {
  return { name, title, kind, doc, needsLive: false, cell, ...options };
}

/** A field whose value changes without the configuration. */
export function live<Row>(
  name: string,
  title: string,
  kind: FieldKind,
  doc: string,
  cell: (row: Row) => Cell,
  options?: Options,
): Field<Row> {
  return { name, title, kind, doc, needsLive: true, cell, ...options };
}

interface Stamped {
  readonly ctime: number;
  readonly mtime: number;
  readonly uuid: string;
  readonly serialNo: number;
  readonly tags: readonly string[];
}

/** The fields that every kind of entity has. */
export function stampFields<Row>(what: string, entity: (row: Row) => Stamped): readonly Field<Row>[] {
  return [
    stored("ctime", "CTime", "timestamp", `When the ${what} was created`, (row) => entity(row).ctime),
    stored("mtime", "MTime", "timestamp", `When the ${what} was last changed`, (row) => entity(row).mtime),
    stored("uuid", "UUID", "text", `UUID of the ${what}`, (row) => entity(row).uuid),
    stored("serial_no", "SerialNo", "number", `Number of changes of the ${what}`, (row) => entity(row).serialNo),
    stored("tags", "Tags", "other", `Tags of the ${what}`, (row) => entity(row).tags),
  ];
}
