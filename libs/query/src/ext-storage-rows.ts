/** Providers of external storage of the whole cluster. */
import type { ConfigView } from "@gannet/objects";
import type { LiveExtStorage, LiveValues } from "./live-values.ts";
import type { Found } from "./per-node-rows.ts";
import { foundOnNodes, inAll } from "./per-node-rows.ts";

/** `[path, valid, problem, [name, help] of parameters]` of one provider on one node. */
export type ProviderOnNode = readonly [
  path: string,
  valid: boolean,
  problem: string,
  parameters: readonly (readonly [name: string, help: string])[],
];

export interface ExtStorageContext {
  readonly name: string;
  readonly nodeStatus: Readonly<Record<string, readonly ProviderOnNode[]>>;
  /** By group name: whether all its nodes that answer can use the provider. */
  readonly nodegroupStatus: Readonly<Record<string, boolean>>;
  /** What all nodes that can use it have in common. */
  readonly parameters: readonly (readonly [name: string, help: string])[];
}

/** All providers that any node has, in order. */
export function extStorageRows(view: ConfigView, live: LiveValues): readonly ExtStorageContext[] {
  return foundOnNodes(view, live, (report) => report.extStorage).map((found) => ({
    name: found.name,
    nodeStatus: Object.fromEntries(found.byNode.map(({ node, items }) => [node.name, items.map(onNode)])),
    nodegroupStatus: groupStatus(view, found),
    parameters: inAll(
      found.byNode.flatMap(({ items: [first] }) => (first?.valid ? [parametersOf(first)] : [])),
      ([parameter]) => parameter,
    ),
  }));
}

function groupStatus(view: ConfigView, { byNode }: Found<LiveExtStorage>): Readonly<Record<string, boolean>> {
  const status: Record<string, boolean> = {};
  for (const { node, items } of byNode) {
    const group = view.groups.get(node.group)?.name;
    if (group !== undefined) status[group] = (status[group] ?? true) && items[0]?.valid === true;
  }
  return status;
}

function parametersOf({ parameters }: LiveExtStorage): readonly (readonly [name: string, help: string])[] {
  return parameters.map(({ name, help }) => [name, help]);
}

function onNode(provider: LiveExtStorage): ProviderOnNode {
  return [provider.path, provider.valid, provider.problem, parametersOf(provider)];
}
