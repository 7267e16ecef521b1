/** What the units that list nodes' storage have in common: which nodes, and rows of the fields asked for. */
import { OpPrereqError } from "@gannet/errors";
import type { LockWish } from "@gannet/locking";
import type { ConfigView, Node } from "@gannet/objects";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { shared } from "../../executor/lock-wishes.ts";
import { knownNode } from "../instance/lookups.ts";

/** The nodes' locks; all nodes' when none are named. */
export function listedNodeLocks(view: ConfigView, names: readonly string[]): readonly LockWish[] {
  if (names.length === 0) return [shared.all("node")];
  return [...new Set(names.flatMap((name) => view.findNode(name)?.uuid ?? []))].map(shared.node);
}

/** @throws OpPrereqError (unknown_entity) */
export function listedNodes(view: ConfigView, names: readonly string[]): readonly Node[] {
  const nodes = names.length === 0 ? [...view.nodes.values()] : names.map((name) => knownNode(view, name));
  return nodes.toSorted((a, b) => a.name.localeCompare(b.name));
}

/** How each field asked for is read. @throws OpPrereqError (wrong_input) on a field that is not there */
export function fieldReaders<Reader>(
  table: Readonly<Record<string, Reader>>,
  asked: readonly string[],
): readonly Reader[] {
  return asked.map((name) => {
    const reader = Object.hasOwn(table, name) ? table[name] : undefined;
    if (reader === undefined)
      throw new OpPrereqError(`Unknown output field '${name}'; known: ${Object.keys(table).join(", ")}`, "wrong_input");
    return reader;
  });
}

/**
 * Ask nodes one after the other, those that are not marked offline. One that cannot be asked is told of in the job's
 * log, and has no rows.
 */
export async function rowsOfNodes(
  ctx: ExecContext,
  nodes: readonly Node[],
  rowsOf: (node: Node) => Promise<readonly (readonly unknown[])[]>,
): Promise<unknown[][]> {
  const rows: unknown[][] = [];
  for (const node of nodes.filter(({ offline }) => !offline)) {
    const failure = await failureOf(ctx, async () => {
      for (const row of await rowsOf(node)) rows.push([...row]);
    });
    if (failure !== undefined) ctx.feedback.warning(`Cannot get the storage of node ${node.name}: ${failure.message}`);
  }
  return rows;
}
