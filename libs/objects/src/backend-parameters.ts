/** Backend parameters: the older name for memory, changes, and the rules among them (spec/config.json, `beparams`). */
import { OpPrereqError } from "@gannet/errors";
import type { Parameters } from "./model.ts";
import {
  enforceTypes,
  INHERIT,
  parameterProblems,
  refuseProblems,
  resolveAuto,
  updateParameters,
} from "./parameter-table.ts";
import { BACKEND_PARAMETERS } from "./parameter-tables.ts";
import { parseSizeMib } from "./size.ts";

const WHAT = "backend parameter";

/**
 * `memory`, which stood alone before 2.6 and is still shown beside the newer names, becomes `minmem` and
 * `maxmem`. A client that reads an instance and sends everything back sends all three: then `memory` must
 * agree with `maxmem`, whose value it shows, and an own `minmem` stays.
 * @throws OpPrereqError `wrong_input` when memory and maxmem contradict each other
 */
export function expandMemory(values: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  if (!Object.hasOwn(values, "memory")) return values;
  const { memory, ...rest } = values;
  if (Object.hasOwn(rest, "maxmem") && !sameSize(rest.maxmem, memory))
    throw new OpPrereqError(
      `Backend parameters memory (${String(memory)}) and maxmem (${String(rest.maxmem)}) contradict each other: give one of them`,
      "wrong_input",
    );
  return { minmem: memory, maxmem: memory, ...rest };
}

function sameSize(a: unknown, b: unknown): boolean {
  return a === b || (parseSizeMib(a) !== undefined && parseSizeMib(a) === parseSizeMib(b));
}

/**
 * The backend parameters of a new instance: `"auto"` takes the cluster's present value, `"default"` leaves
 * the parameter inherited.
 * @param inherited - the cluster's backend parameters
 * @throws TypeEnforcementError on an unknown name or a wrong type; OpPrereqError as {@link expandMemory}
 */
export function newBackendParameters(requested: Readonly<Record<string, unknown>>, inherited: Parameters): Parameters {
  const own = Object.entries(expandMemory(requested)).filter(([, value]) => value !== INHERIT);
  return enforceTypes(WHAT, BACKEND_PARAMETERS, resolveAuto(Object.fromEntries(own), inherited));
}

/**
 * An instance's own backend parameters after a change; null says the same as `"default"`: the parameter is inherited
 * again.
 * @throws TypeEnforcementError, OpPrereqError as {@link newBackendParameters}
 */
export function updateBackendParameters(
  current: Parameters,
  changes: Readonly<Record<string, unknown>>,
  inherited: Parameters,
): Parameters {
  const wanted = Object.entries(expandMemory(changes)).map(([name, value]) => [name, value ?? INHERIT]);
  return updateParameters(WHAT, BACKEND_PARAMETERS, current, resolveAuto(Object.fromEntries(wanted), inherited));
}

/** @throws OpPrereqError `wrong_input` that lists what is wrong with complete backend parameters */
export function checkBackendParameters(filled: Parameters): void {
  const { minmem, maxmem } = filled;
  refuseProblems([
    ...parameterProblems(WHAT, BACKEND_PARAMETERS, filled),
    ...(Number(minmem) > Number(maxmem) ? [`minmem ${minmem} is more than maxmem ${maxmem}`] : []),
  ]);
}
