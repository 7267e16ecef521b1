/** OS parameters, whose names and values only the OS definition knows. */
import { OpPrereqError } from "@gannet/errors";
import type { Parameters, ParameterValue } from "./model.ts";
import { INHERIT } from "./parameter-table.ts";

/**
 * An instance's own OS parameters after a change: `"default"` and null go back to what is inherited, anything else is
 * kept as it is.
 */
export function updateOsParameters(current: Parameters, changes: Parameters): Parameters {
  const next: Record<string, ParameterValue> = { ...current };
  for (const [name, value] of Object.entries(changes)) {
    if (value === INHERIT || value === null) delete next[name];
    else next[name] = value;
  }
  return next;
}

/**
 * Scripts are given public, private and secret parameters together: a name stands in one of them only.
 * @throws OpPrereqError `wrong_input` naming the parameters, never their values
 */
export function checkOsParameterNames(...kinds: readonly Parameters[]): void {
  const names = kinds.flatMap((parameters) => Object.keys(parameters));
  const twice = [...new Set(names.filter((name, position) => names.indexOf(name) !== position))];
  if (twice.length > 0)
    throw new OpPrereqError(
      `OS parameters are given twice, as public, private or secret ones: ${twice.sort().join(", ")}`,
      "wrong_input",
    );
}
