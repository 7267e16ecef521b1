/** What an operation answers, in a form to read. */
import type { OpcodeDeclaration } from "@gannet/opcodes";
import type { Terminal } from "../terminal.ts";
import { describeLines } from "./describe.ts";
import { tableLines } from "./table.ts";

/** Results that tell what the operator said himself: the name that was given, the nodes that were chosen. */
const QUIET: ReadonlySet<string> = new Set([
  "OP_CLUSTER_DESTROY",
  "OP_CLUSTER_RENAME",
  "OP_GROUP_RENAME",
  "OP_INSTANCE_RENAME",
  "OP_NETWORK_RENAME",
  "OP_NODE_POWERCYCLE",
]);

/** Nothing for an operation that answers nothing, or only what it was told. */
export function printResult(
  terminal: Terminal,
  { id }: Pick<OpcodeDeclaration, "id">,
  result: unknown,
  { json }: { readonly json: boolean },
): void {
  if (json) terminal.out(JSON.stringify(result, undefined, 2));
  else if (!QUIET.has(id)) printValue(terminal, result);
}

/** A value to read: objects of one shape as a table, others line by line. */
export function printValue(terminal: Terminal, value: unknown): void {
  if (value === null || value === undefined || value === true) return;
  if (isEmptyList(value)) return;
  const lines = Array.isArray(value) && value.every(isFlat) ? rowsOf(value) : describeLines(value);
  for (const line of lines) terminal.out(line);
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

type Flat = Readonly<Record<string, unknown>> | readonly unknown[];

function isFlat(value: unknown): value is Flat {
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).every((cell) => typeof cell !== "object" || cell === null);
}

/** Objects have their keys as titles; plain rows have none. */
function rowsOf(list: readonly Flat[]): readonly string[] {
  const headers = !list.some((row) => Array.isArray(row));
  const keys = [...new Set(list.flatMap((row) => Object.keys(row)))];
  const columns = keys.map((title) => ({
    title,
    isRight: list.every((row) => typeof cellOf(row, title) === "number"),
  }));
  const rows = list.map((row) => keys.map((key) => String(cellOf(row, key) ?? "-")));
  return tableLines(columns, rows, { headers });
}

function cellOf(row: Flat, key: string): unknown {
  return (row as Readonly<Record<string, unknown>>)[key];
}
