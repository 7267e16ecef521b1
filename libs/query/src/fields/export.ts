/** Fields of exports: one row for each export on a node, or for a node that does not tell. */
import type { Node } from "@gannet/objects";
import type { Field } from "../field.ts";
import { live } from "../field.ts";
import type { LiveValues } from "../live-values.ts";
import type { Cell } from "../result-status.ts";
import { NO_DATA, normal, OFFLINE } from "../result-status.ts";

export interface ExportContext {
  readonly node: Node;
  readonly export: Cell;
}

/** The exports of one node; none when it has none. */
export function exportsOf(node: Node, liveValues: LiveValues): readonly ExportContext[] {
  if (node.offline) return [{ node, export: OFFLINE }];
  const names = liveValues.node(node.uuid)?.exports;
  return names === undefined ? [{ node, export: NO_DATA }] : names.map((name) => ({ node, export: normal(name) }));
}

export const EXPORT_FIELDS: readonly Field<ExportContext>[] = [
  live("node", "Node", "text", "Node that holds the export", ({ node }) => normal(node.name), { match: "host" }),
  live("export", "Export", "text", "Name of the export", (row) => row.export),
];
