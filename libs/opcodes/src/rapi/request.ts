/** From a request of the remote API to the job it asks for. Pure; what it answers is ready to be submitted. */
import { HttpError, OpPrereqError } from "@gannet/errors";
import { commonParams, type JobRoute, type OpcodeDeclaration, type RawParams, type WireOpcode } from "../define.ts";
import { parseOpcode, wireOpcode } from "../registry.ts";
import { applyAliases } from "./aliases.ts";
import { decodeQuery, givenValues } from "./query-arguments.ts";
import type { JobMethod } from "./resources.ts";

/** A request, as far as it says what is wanted. */
export interface ApiRequest {
  /** Parts of the path by their names in the resource's path. */
  readonly pathParams: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** The parsed JSON body; null or undefined when there is none. */
  readonly body: unknown;
}

export interface JobRequestOptions {
  /** Now, in nanoseconds since 1970, for the reason trail. */
  readonly timeNs: number;
  /** Whose defaults hold: the cluster's `rapi_defaults` (spec/README.md, row 11). */
  readonly rapiDefaults: "2.5" | "3.1";
}

/** A job to be submitted; its opcodes are validated and their defaults filled in. */
export interface JobRequest {
  readonly opcodes: readonly WireOpcode[];
}

/** What a body contributes. */
interface BodyInput {
  readonly params: RawParams;
  /** Handed on to `convert`. */
  readonly rest: unknown;
  readonly depends: unknown;
}

/** Body keys that every route sets itself. */
const ALWAYS_STATIC = "reason";

/**
 * The job that a request asks for.
 * @throws HttpError 400 for input that breaks the rules, 403 for a parameter that this route does not set
 */
export function buildJobRequest(method: JobMethod, request: ApiRequest, options: JobRequestOptions): JobRequest {
  const { opcode, route } = method;
  const url: RawParams = { ...pathParams(route, request.pathParams), ...decodeQuery(route.query ?? {}, request.query) };
  const body = readBody(opcode, route, url, request.body ?? null);
  const params = { ...body.params, ...url, ...route.fixed, ...missingDefaults(route, body.params, options) };
  const converted = route.convert?.({ params, body: body.rest }) ?? params;
  const reason = reasonTrail(route, request.query, options.timeNs);
  const opcodes = Array.isArray(converted)
    ? (converted as readonly WireOpcode[])
    : [wireOpcode(opcode, { ...converted, ...dryRun(route, request.query) })];
  return {
    opcodes: opcodes.map((input, index) => {
      // A job's first opcode waits for other jobs; the rest follow it anyway.
      const depends = index === 0 && body.depends !== undefined ? { depends: body.depends } : {};
      return validated({ ...input, ...depends, reason });
    }),
  };
}

function pathParams(route: JobRoute, given: Readonly<Record<string, string>>): RawParams {
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [route.pathParams?.[name] ?? name, value]));
}

function dryRun(route: JobRoute, query: URLSearchParams): RawParams {
  if (route.dryRun !== "query") return {};
  return { dry_run: false, ...decodeQuery({ "dry-run": { type: "flag", param: "dry_run" } }, query) };
}

function missingDefaults(route: JobRoute, given: RawParams, { rapiDefaults }: JobRequestOptions): RawParams {
  if (rapiDefaults !== "2.5") return {};
  return Object.fromEntries(Object.entries(route.defaults25 ?? {}).filter(([key]) => (given[key] ?? null) === null));
}

/** Who asked for it and through what (spec/rapi.json, `http.reason_trail`). */
function reasonTrail(route: JobRoute, query: URLSearchParams, timeNs: number): readonly unknown[] {
  const [reason] = givenValues(query, "reason");
  const handler = [`gnt:library:rlib2:${route.handler}`, "", timeNs];
  return reason === undefined ? [handler] : [["gnt:user", reason, timeNs], handler];
}

function validated(input: WireOpcode): WireOpcode {
  try {
    const { declaration, op } = parseOpcode(input);
    return wireOpcode(declaration, op);
  } catch (error) {
    if (error instanceof OpPrereqError) throw new HttpError(400, error.message, { cause: error });
    throw error;
  }
}

function readBody(opcode: OpcodeDeclaration, route: JobRoute, url: RawParams, body: unknown): BodyInput {
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
function staticKeys(route: JobRoute): readonly string[] {
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
