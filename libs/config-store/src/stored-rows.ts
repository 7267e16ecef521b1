/** Rows as text: written so that they can be read again, and read by their schema once. */
import { ConfigurationError } from "@gannet/errors";
import { ENTITY_SCHEMAS, type Entities, type EntityKind } from "@gannet/objects";
import type { ZodError } from "zod";
import { ENTITY_KINDS, rowOf, storedRow } from "./config-rows.ts";
import type { ConfigChange } from "./config-store-contract.ts";
import type { MemoryConfigView } from "./config-view.ts";

/**
 * The row as its schema has it: what is read at load, and what may be written.
 * @throws ConfigurationError naming the row and what is wrong with it
 */
export function checkedRow<K extends EntityKind>(kind: K, uuid: string, row: unknown): Entities[K] {
  const parsed = ENTITY_SCHEMAS[kind].safeParse(row);
  if (!parsed.success) throw unreadable(kind, uuid, parsed.error);
  if (parsed.data.uuid !== uuid)
    throw new ConfigurationError(`The configuration row of ${kind} ${uuid} says that it is ${parsed.data.uuid}`);
  return parsed.data as Entities[K];
}

/** @throws ConfigurationError */
export function parseRow<K extends EntityKind>(kind: K, uuid: string, text: string): Entities[K] {
  return checkedRow(kind, uuid, parseJson(`${kind} ${uuid}`, text));
}

/**
 * The changes of one entry of the stream, as config-commit.lua writes it. What was removed is taken from the view.
 * @throws ConfigurationError
 */
export function parseChanges(view: MemoryConfigView, text: string): readonly ConfigChange[] {
  const rows = parseJson("the stream of changes", text) as readonly (readonly [string, string, unknown])[];
  return rows.flatMap(([name, uuid, row]) => {
    const kind = entityKind(name);
    if (row !== null) return { kind, put: checkedRow(kind, uuid, row) } as ConfigChange;
    const removed = storedRow(view, kind, uuid);
    return removed === undefined ? [] : ({ kind, remove: removed } as ConfigChange);
  });
}

/**
 * The changes as they are to be stored: checked, a serial higher, with the time of the commit.
 * @param mtime - seconds since 1970
 * @throws ConfigurationError when a row could not be read again, or is named twice
 */
export function stamped(changes: readonly ConfigChange[], mtime: number): readonly ConfigChange[] {
  const seen = new Set<string>();
  return changes.map((change) => {
    const { uuid, serialNo } = rowOf(change);
    const name = `${change.kind} ${uuid}`;
    if (seen.has(name)) throw new ConfigurationError(`One commit changes ${name} twice`);
    seen.add(name);
    if ("put" in change) {
      const put = checkedRow(change.kind, uuid, { ...change.put, serialNo: serialNo + 1, mtime });
      return { kind: change.kind, put } as ConfigChange;
    }
    if (change.kind === "cluster") throw new ConfigurationError("The cluster's own row cannot be removed");
    return change;
  });
}

function entityKind(name: string): EntityKind {
  const kind = ENTITY_KINDS.find((known) => known === name);
  if (kind === undefined) throw new ConfigurationError(`The configuration holds rows of an unknown kind, ${name}`);
  return kind;
}

function parseJson(what: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ConfigurationError(`The configuration of ${what} is not JSON`, { cause });
  }
}

function unreadable(kind: EntityKind, uuid: string, error: ZodError): ConfigurationError {
  const problems = error.issues.slice(0, 3).map(({ path, message }) => `${path.join(".")}: ${message}`);
  return new ConfigurationError(`The configuration row of ${kind} ${uuid} is not valid: ${problems.join("; ")}`);
}
