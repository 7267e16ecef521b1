/** What nodes were found to have, put together by name: OS definitions, storage providers. */
import type { ConfigView, Node } from "@gannet/objects";
import type { LiveNode, LiveValues } from "./live-values.ts";
import { niceSort } from "./nice-sort.ts";

/** One name, with what each node that answers has of it; undefined where a node has nothing. */
export interface Found<Item> {
  readonly name: string;
  readonly byNode: readonly { readonly node: Node; readonly items: readonly Item[] }[];
}

/**
 * Everything found on nodes that can host instances and answer now. A node that is down says nothing about
 * what is installed, so it neither adds nor spoils anything.
 * @param itemsOf - what one node has; undefined when it does not tell
 */
export function foundOnNodes<Item extends { readonly name: string }>(
  view: ConfigView,
  live: LiveValues,
  itemsOf: (report: LiveNode) => readonly Item[] | undefined,
): readonly Found<Item>[] {
  const nodes = niceSort(view.nodes.values(), ({ name }) => name).flatMap((node) => {
    const report = node.vmCapable && !node.offline ? live.node(node.uuid) : undefined;
    const items = report === undefined ? undefined : itemsOf(report);
    return items === undefined ? [] : [{ node, items }];
  });
  const names = new Set(nodes.flatMap(({ items }) => items.map(({ name }) => name)));
  return niceSort(names, (name) => name).map((name) => ({
    name,
    byNode: nodes.map(({ node, items }) => ({ node, items: items.filter((item) => item.name === name) })),
  }));
}

/** What all lists have in common, in the order of the first. */
export function inAll<T>(lists: readonly (readonly T[])[], keyOf: (item: T) => string): readonly T[] {
  const [first = [], ...others] = lists.map((list) => new Map(list.map((item) => [keyOf(item), item])));
  return [...first].flatMap(([key, item]) => (others.every((other) => other.has(key)) ? [item] : []));
}
