/** Node and disk parameters of one level (cluster, group, node) after a change. */
import type { NodeGroup, Parameters } from "./model.ts";
import { DISK_TEMPLATES } from "./names.ts";
import { parameterProblems, refuseProblems, updateParameters } from "./parameter-table.ts";
import { DISK_PARAMETERS, NODE_PARAMETERS } from "./parameter-tables.ts";

const NODE_PARAMETER = "node parameter";

/**
 * A level's own node parameters; `"default"` goes back to what is inherited.
 * @throws TypeEnforcementError on an unknown name or a wrong type; OpPrereqError `wrong_input` on a value out of bounds
 */
export function changedNodeParameters(current: Parameters, changes: Readonly<Record<string, unknown>>): Parameters {
  const next = updateParameters(NODE_PARAMETER, NODE_PARAMETERS, current, changes);
  refuseProblems(parameterProblems(NODE_PARAMETER, NODE_PARAMETERS, next));
  return next;
}

type DiskParameters = NodeGroup["diskparams"];

/**
 * A level's own disk parameters, of the templates named; `"default"` goes back to what is inherited.
 * @throws as {@link changedNodeParameters}
 */
export function changedDiskParameters(
  current: DiskParameters,
  changes: Readonly<Partial<Record<keyof DiskParameters, Readonly<Record<string, unknown>>>>>,
): DiskParameters {
  const next: DiskParameters = { ...current };
  const problems: string[] = [];
  for (const template of DISK_TEMPLATES) {
    const asked = changes[template];
    if (asked === undefined) continue;
    const what = `${template} disk parameter`;
    const changed = updateParameters(what, DISK_PARAMETERS[template], current[template] ?? {}, asked);
    problems.push(...parameterProblems(what, DISK_PARAMETERS[template], changed));
    next[template] = changed;
  }
  refuseProblems(problems);
  return next;
}
