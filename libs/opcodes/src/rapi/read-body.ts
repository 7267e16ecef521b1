/** What a job resource's body contributes, and what it may not hold (spec/rapi.json, `http.static_rule`). */
import { HttpError } from "@gannet/errors";
import { commonParams, type JobRoute, type OpcodeDeclaration, type RawParams } from "../define.ts";
import { applyAliases } from "./aliases.ts";

export interface BodyInput {
  readonly params: RawParams;
  /** For the route's `convert`. */
  readonly rest: unknown;
  /** Of bodies whose keys are no parameters otherwise. */
  readonly depends: unknown;
}

/** The body key that every route sets itself. */
const ALWAYS_STATIC = "reason";

/**
 * Read a body as its route says.
 * @param url what path and query gave
 * @throws HttpError 400, or 403 for a parameter that this route does not set
 */
export function readBody(opcode: OpcodeDeclaration, route: JobRoute, url: RawParams, body: unknown): BodyInput {
  switch (route.body) {
    case "params":
      return readParams(route, url, asObject(applyAliases(body, route.aliases ?? {})));
    case "ignored":
      return readIgnored(opcode, route, asObject(body));
    case "other":
      return readOther(route, url, body);
  }
}

function readParams(route: JobRoute, url: RawParams, body: RawParams): BodyInput {
  const params = withoutConstants(route, body);
  refuseForbidden(route, params);
  refuseStatic(route, url, params);
  refuseTwice(route, url, params);
  return { params, rest: null, depends: undefined };
}

function readIgnored(opcode: OpcodeDeclaration, route: JobRoute, body: RawParams): BodyInput {
  const { [ALWAYS_STATIC]: _ignored, ...keys } = body;
  refuseStatic(route, {}, keys);
  for (const key of Object.keys(keys))
    if (!Object.hasOwn(opcode.params, key) && !Object.hasOwn(commonParams, key))
      throw new HttpError(400, `${opcode.id} has no parameter ${JSON.stringify(key)}`);
  return { params: {}, rest: null, depends: body.depends };
}

function readOther(route: JobRoute, url: RawParams, body: unknown): BodyInput {
  if (typeof body !== "object" || body === null || Array.isArray(body))
    return { params: {}, rest: body, depends: undefined };
  const { depends, ...rest } = body as RawParams;
  if (Object.keys(rest).length === 0) return { params: {}, rest: null, depends };
  if (
    Object.entries(route.query ?? {}).some(([name, { legacy, param }]) => legacy && Object.hasOwn(url, param ?? name))
  )
    throw new HttpError(400, "Query and body parameters cannot be combined");
  return { params: {}, rest, depends };
}

function asObject(body: unknown): RawParams {
  if (body === null) return {};
  if (typeof body === "object" && !Array.isArray(body)) return body as RawParams;
  throw new HttpError(400, "The body must be a JSON object");
}

function withoutConstants(route: JobRoute, body: RawParams): RawParams {
  const constants = Object.entries(route.bodyConstants ?? {});
  for (const [key, value] of constants)
    if (body[key] !== value) throw new HttpError(400, `The body's ${key} must be ${value}`);
  return Object.fromEntries(Object.entries(body).filter(([key]) => !constants.some(([constant]) => constant === key)));
}

function refuseForbidden(route: JobRoute, params: RawParams): void {
  const forbidden = route.forbidden?.find((key) => Object.hasOwn(params, key));
  if (forbidden !== undefined)
    throw new HttpError(403, `The parameter ${forbidden} cannot be set through the remote API`);
}

/** Keys that path, query or route decide, and that a body therefore must not hold. */
export function staticKeys(route: JobRoute): readonly string[] {
  const path = [...route.path.matchAll(/:(\w+)/g)].map(([, name = ""]) => route.pathParams?.[name] ?? name);
  const query = Object.entries(route.query ?? {}).filter(([, { legacy }]) => !legacy);
  return [
    ...path,
    ...query.map(([name, { param }]) => param ?? name),
    ...Object.keys(route.fixed ?? {}),
    ...(route.dryRun === "query" ? ["dry_run"] : []),
    ALWAYS_STATIC,
  ];
}

function refuseStatic(route: JobRoute, url: RawParams, body: RawParams): void {
  for (const key of staticKeys(route).filter((name) => Object.hasOwn(body, name))) {
    const agrees = url[key] === undefined || url[key] === body[key];
    if (!route.alsoInBody?.includes(key) || !agrees)
      throw new HttpError(400, `Parameter '${key}' comes from the path or the query and cannot stand in the body`);
  }
}

/** A parameter that either the query (of older clients) or the body may give. */
function refuseTwice(route: JobRoute, url: RawParams, body: RawParams): void {
  for (const [name, { param = name, legacy }] of Object.entries(route.query ?? {}))
    if (legacy && Object.hasOwn(url, param) && Object.hasOwn(body, param))
      throw new HttpError(400, `Parameter '${param}' is given by the query and by the body: give one of them only`);
}
