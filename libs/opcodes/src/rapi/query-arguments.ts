/** Query arguments (spec/rapi.json, `http.query_bool` and `http.query_empty_value`). */
import { HttpError } from "@gannet/errors";
import type { QueryArgument, QueryArguments, RawParams } from "../define.ts";

/**
 * The parameters that a request's query sets, absent ones left out. Unknown arguments mean nothing; of those
 * that cannot be repeated the first counts.
 * @throws HttpError 400
 */
export function decodeQuery(args: QueryArguments, query: URLSearchParams): RawParams {
  const params: Record<string, unknown> = {};
  for (const [name, argument] of Object.entries(args)) {
    const value = decode(name, argument, givenValues(query, name));
    if (value === undefined) continue;
    const param = argument.param ?? name;
    if (Object.hasOwn(params, param)) throw new HttpError(400, `More than one query argument sets '${param}'`);
    params[param] = value;
  }
  return params;
}

/** All values of an argument that are not empty. */
export function givenValues(query: URLSearchParams, name: string): readonly string[] {
  return query.getAll(name).filter((value) => value !== "");
}

function decode(name: string, argument: QueryArgument, values: readonly string[]): unknown {
  const [first] = values;
  if (first === undefined) {
    if (argument.required) throw new HttpError(400, `Missing the required '${name}' parameter`);
    return argument.default;
  }
  if (argument.values !== undefined) return knownValue(name, argument.values, first);
  switch (argument.type) {
    case "flag":
      return flagValue(name, first);
    case "count":
      return countValue(name, first, argument.atLeast ?? 0);
    case "string":
      return first;
    case "list":
      return first.split(",").filter((item) => item !== "");
    case "repeated":
      return values;
  }
}

function knownValue(name: string, known: RawParams, given: string): unknown {
  if (Object.hasOwn(known, given)) return known[given];
  throw new HttpError(400, `Invalid value for the '${name}' parameter`);
}

function flagValue(name: string, given: string): boolean {
  if (!/^[+-]?\d{1,18}$/.test(given)) throw new HttpError(400, `Invalid value for the '${name}' parameter`);
  return Number(given) !== 0;
}

function countValue(name: string, given: string, atLeast: number): number {
  const value = Number(given);
  if (/^\d{1,15}$/.test(given) && value >= atLeast) return value;
  throw new HttpError(400, `The '${name}' parameter must be a whole number, ${atLeast} or more`);
}
