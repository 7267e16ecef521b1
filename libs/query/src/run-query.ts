/** Queries by field names and filters, and the lists of fields (spec/query-fields.json, `response`). */
import { OpPrereqError } from "@gannet/errors";
import type { FieldKind } from "./field.ts";
import type { Predicate } from "./filter/filter.ts";
import { compileFilter, namesAskedFor } from "./filter/filter.ts";
import type { QuerySource, Resource, ResourceName } from "./resources.ts";
import { RESOURCES } from "./resources.ts";
import type { Cell } from "./result-status.ts";
import { UNKNOWN_FIELD } from "./result-status.ts";

/** A field as answers describe it. */
export interface FieldDescription {
  readonly name: string;
  readonly title: string;
  readonly kind: FieldKind;
  readonly doc: string;
}

export interface QueryResult {
  readonly fields: readonly FieldDescription[];
  /** A row for each entity, with a cell for each field asked for. */
  readonly data: readonly (readonly Cell[])[];
}

export interface QueryRequest {
  readonly what: ResourceName;
  readonly fields: readonly string[];
  /** As it came in JSON; null asks for everything. */
  readonly filter: unknown;
}

/** What the caller must fetch before a query can run. */
export interface QueryNeeds {
  /** A field that is shown or filtered by changes without the configuration. */
  readonly live: boolean;
  /** Which jobs: those of these ids, or all; archived ones only where asked for. Null: none. */
  readonly jobs: { readonly ids: readonly number[] | null; readonly archived: boolean } | null;
  readonly locks: boolean;
}

export interface PreparedQuery {
  readonly needs: QueryNeeds;
  /** @throws OpPrereqError `unknown_entity` on a name asked for, `wrong_input` when a value cannot be compared */
  run(source: QuerySource): QueryResult;
}

/** Fields of one answer; each is computed for every row. */
const MAX_FIELDS = 1000;

/**
 * Check a query and say what it needs. Fields that are not known are no error: their cells say so.
 * @throws OpPrereqError `wrong_input` on a malformed filter
 */
export function prepareQuery(request: QueryRequest): PreparedQuery {
  if (request.fields.length === 0) throw new OpPrereqError("A query asks for at least one field", "wrong_input");
  if (request.fields.length > MAX_FIELDS)
    throw new OpPrereqError(`A query asks for at most ${MAX_FIELDS} fields`, "wrong_input");
  // The table knows each resource's rows; here they are only handed from its one function to the other.
  return prepare(RESOURCES[request.what] as Resource<unknown>, request);
}

/** A query whose needs are all at hand already. @throws as {@link prepareQuery} and its `run` */
export function runQuery(request: QueryRequest, source: QuerySource): QueryResult {
  return prepareQuery(request).run(source);
}

/**
 * Descriptions of the fields asked for, or of all in order. A field that is not known has kind `unknown`.
 */
export function queryFields(what: ResourceName, names: readonly string[] | null): readonly FieldDescription[] {
  const { fields } = RESOURCES[what];
  return (names ?? [...fields.keys()]).map((name) => description(name, fields.get(name)));
}

function prepare<Row>(resource: Resource<Row>, { what, fields: fieldNames, filter }: QueryRequest): PreparedQuery {
  const fields = fieldNames.map((name) => resource.fields.get(name));
  const names = resource.find === undefined ? undefined : lookedUpNames(what, filter, resource.nameField);
  let filterNeedsLive = false;
  const passes: Predicate<Row> =
    names === undefined
      ? compileFilter<Row>(filter, (name) => {
          const field = resource.fields.get(name);
          filterNeedsLive ||= field?.needsLive ?? false;
          return field;
        })
      : () => true;
  return {
    needs: {
      live: filterNeedsLive || fields.some((field) => field?.needsLive) || resource.rowsAreLive,
      jobs:
        what === "job"
          ? { ids: jobIds(names), archived: names !== undefined || fieldNames.includes("archived") }
          : null,
      locks: what === "lock",
    },
    run: (source) => ({
      fields: fieldNames.map((name, index) => description(name, fields[index])),
      data: rowsOf(resource, source, names)
        .filter(passes)
        .map((row) => fields.map((field) => field?.cell(row) ?? UNKNOWN_FIELD)),
    }),
  };
}

/** Names are looked up where they have the type that names of the resource have; else the filter is compared. */
function lookedUpNames(
  what: ResourceName,
  filter: unknown,
  nameField: string,
): readonly (string | number)[] | undefined {
  const names = namesAskedFor(filter, nameField);
  const type = what === "job" ? "number" : "string";
  return names?.every((name) => typeof name === type) ? names : undefined;
}

function jobIds(names: readonly (string | number)[] | undefined): readonly number[] | null {
  return names === undefined ? null : names.map(Number);
}

function rowsOf<Row>(
  { rows, find }: Resource<Row>,
  source: QuerySource,
  names: readonly (string | number)[] | undefined,
): readonly Row[] {
  if (names === undefined || find === undefined) return rows(source);
  return find(source, names);
}

function description(name: string, field: Omit<FieldDescription, "name"> | undefined): FieldDescription {
  if (field === undefined) return { name, title: name, kind: "unknown", doc: `There is no field '${name}'` };
  return { name, title: field.title, kind: field.kind, doc: field.doc };
}
