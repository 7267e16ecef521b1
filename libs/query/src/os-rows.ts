/** OS definitions of the whole cluster (spec/os-iallocator-hooks.json, `os_interface`). */
import type { ConfigView, Parameters } from "@gannet/objects";
import type { LiveOs, LiveValues } from "./live-values.ts";
import { foundOnNodes, inAll } from "./per-node-rows.ts";

/** `[path, valid, problem, variants, [name, help] of parameters, API versions]` of one definition on one node. */
export type OsOnNode = readonly [
  path: string,
  valid: boolean,
  problem: string,
  variants: readonly string[],
  parameters: readonly (readonly [name: string, help: string])[],
  apiVersions: readonly number[],
];

export interface OsContext {
  readonly name: string;
  /** Usable on every node that answers and can host instances. */
  readonly valid: boolean;
  readonly hidden: boolean;
  readonly blacklisted: boolean;
  /** What all nodes have in common; hidden and blacklisted variants are left out. */
  readonly variants: readonly string[];
  readonly parameters: readonly (readonly [name: string, help: string])[];
  readonly apiVersions: readonly number[];
  readonly trusted: boolean;
  /** By node name; more than one where a node has the definition in several places, the first of which counts. */
  readonly nodeStatus: Readonly<Record<string, readonly OsOnNode[]>>;
  readonly hvparams: Readonly<Partial<Record<string, Parameters>>>;
  readonly osparams: Parameters;
}

/** All definitions that any node has, in order. */
export function osRows(view: ConfigView, live: LiveValues): readonly OsContext[] {
  const { cluster } = view;
  return foundOnNodes(view, live, (report) => report.os).map(({ name, byNode }) => {
    const used = byNode.map(({ items }) => items[0]);
    const valid = used.every((os) => os?.valid === true);
    const common = valid ? used.flatMap((os) => os ?? []) : [];
    const isShown = (variant: string) =>
      ![...cluster.hiddenOs, ...cluster.blacklistedOs].includes(`${name}+${variant}`);
    return {
      name,
      valid,
      hidden: cluster.hiddenOs.includes(name),
      blacklisted: cluster.blacklistedOs.includes(name),
      variants: inAll(
        common.map(({ variants }) => variants),
        (variant) => variant,
      ).filter(isShown),
      parameters: inAll(common.map(parametersOf), ([parameter]) => parameter),
      apiVersions: inAll(
        common.map(({ apiVersions }) => apiVersions),
        String,
      ),
      trusted: common.length > 0 && common.every(({ trusted }) => trusted),
      nodeStatus: Object.fromEntries(byNode.map(({ node, items }) => [node.name, items.map(onNode)])),
      hvparams: cluster.osHvp[name] ?? {},
      osparams: cluster.osparams[name] ?? {},
    };
  });
}

/**
 * The rows that OP_OS_DIAGNOSE answers: those that can be used and are not hidden, unless the request asks
 * for the very field that tells.
 */
export function listedOs(rows: readonly OsContext[], fields: readonly string[]): readonly OsContext[] {
  return rows.filter(
    (row) =>
      (row.valid || fields.includes("valid")) &&
      (!row.hidden || fields.includes("hidden")) &&
      (!row.blacklisted || fields.includes("blacklisted")),
  );
}

/** Names that an instance can be created with: `name`, or `name+variant` where there are variants. */
export function osNames(rows: readonly OsContext[]): readonly string[] {
  return listedOs(rows, []).flatMap(({ name, variants, nodeStatus }) =>
    hasVariants(nodeStatus) ? variants.map((variant) => `${name}+${variant}`) : [name],
  );
}

/** A definition with variants cannot be used without one, even where all its variants are hidden. */
function hasVariants(nodeStatus: OsContext["nodeStatus"]): boolean {
  return Object.values(nodeStatus).some(([first]) => first !== undefined && first[3].length > 0);
}

function parametersOf({ parameters }: LiveOs): readonly (readonly [name: string, help: string])[] {
  return parameters.map(({ name, help }) => [name, help]);
}

function onNode(os: LiveOs): OsOnNode {
  return [os.path, os.valid, os.problem, os.variants, parametersOf(os), os.apiVersions];
}
