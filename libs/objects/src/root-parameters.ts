/** Which values of parameters take the right of root, told by the parameters' tables. */
import { HYPERVISOR_PARAMETERS } from "./hypervisor-parameters.ts";
import { isImageUrl } from "./parameter-syntax.ts";
import { INHERIT, type ParameterDefinition, type ParameterTable } from "./parameter-table.ts";
import { NODE_PARAMETERS } from "./parameter-tables.ts";

/** Definitions by name. An instance's parameters do not always say of which hypervisor they are: all are asked. */
type Definitions = ReadonlyMap<string, readonly ParameterDefinition[]>;

function definitionsOf(...tables: readonly ParameterTable[]): Definitions {
  const entries = tables.flatMap((table) => Object.entries(table)).filter(([, { needsRoot }]) => needsRoot);
  return new Map(
    [...Map.groupBy(entries, ([name]) => name)].map(([name, group]) => [
      name,
      group.map(([, definition]) => definition),
    ]),
  );
}

const GUARDED = {
  hypervisor: definitionsOf(...Object.values(HYPERVISOR_PARAMETERS)),
  node: definitionsOf(NODE_PARAMETERS),
} as const;

/**
 * Whether this value of a parameter takes the right of root. To go back to what is inherited, or to the parameter's
 * own default, takes none.
 * @param fileRoots - folders, absolute, in which the files of guests may lie
 */
export function needsRoot(
  kind: keyof typeof GUARDED,
  name: string,
  value: unknown,
  fileRoots: readonly string[],
): boolean {
  if (value === INHERIT) return false;
  const definitions = GUARDED[kind].get(name);
  if (definitions === undefined || definitions.some((definition) => definition.default === value)) return false;
  return definitions.some((definition) => definition.needsRoot === "any-value" || isForeign(value, fileRoots));
}

/** No path, and URLs, which qemu reads over the network, are not of the node. */
function isForeign(value: unknown, fileRoots: readonly string[]): boolean {
  if (typeof value !== "string" || value === "" || isImageUrl(value)) return false;
  // A path with such parts is taken to lead out, whatever it comes to.
  if (value.split("/").some((part) => part === ".." || part === ".")) return true;
  return !fileRoots.some((root) => value.startsWith(root.endsWith("/") ? root : `${root}/`));
}
