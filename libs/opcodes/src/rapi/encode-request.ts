/** From an opcode's parameters to the request that asks for it: what `buildJobRequest` reads. Pure. */
import { OpPrereqError } from "@gannet/errors";
import type { HttpMethod, JobRoute, OpcodeDeclaration, QueryArgument, RawParams } from "../define.ts";
import { routesOf } from "./opcode-route.ts";

/** A request as a client sends it. */
export interface EncodedRequest {
  readonly method: HttpMethod;
  /** Path and query. */
  readonly target: string;
  /** To be sent as JSON; undefined for none. */
  readonly body: unknown;
}

/**
 * The request that asks for an opcode, by the first of its routes that can say these parameters.
 * @param params by their wire names; undefined is the same as absence
 * @param reason why, for the job's reason trail
 * @throws OpPrereqError wrong_input where no route can
 */
export function encodeJobRequest(opcode: OpcodeDeclaration, params: RawParams, reason?: string): EncodedRequest {
  const given = Object.fromEntries(Object.entries(params).filter(([, value]) => value !== undefined));
  const routes = routesOf(opcode);
  for (const route of routes) {
    const request = encodeBy(route, given, reason);
    if (request !== undefined) return request;
  }
  const why = routes.length === 0 ? "" : ` with ${Object.keys(given).join(", ") || "no parameters"}`;
  throw new OpPrereqError(`The remote API has no request for ${opcode.id}${why}`, "wrong_input");
}

/**
 * The target of a method that answers at once.
 * @throws OpPrereqError wrong_input where a part of the path is missing
 */
export function encodeTarget(path: string, pathParams: RawParams, query: RawParams = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) appendQuery(search, name, value);
  return targetOf(
    path,
    (name) => {
      const value = pathParams[name] ?? "";
      if (value === "") throw new OpPrereqError(`${path} needs '${name}'`, "wrong_input");
      return String(value);
    },
    search,
  );
}

function encodeBy(route: JobRoute, given: RawParams, reason: string | undefined): EncodedRequest | undefined {
  const input = inputOf(route, given);
  if (input === undefined) return undefined;
  const left = new Map(Object.entries(input.params).filter(([, value]) => value !== undefined));
  const search = new URLSearchParams();

  const path: Record<string, string> = {};
  for (const name of pathNames(route.path)) {
    const param = route.pathParams?.[name] ?? name;
    const value = left.get(param) ?? null;
    if (value === null || value === "") return undefined;
    path[name] = String(value);
    left.delete(param);
  }
  for (const [name, value] of Object.entries(route.fixed ?? {})) {
    // A switch that is off may be left out; the kind of object that has tags may not.
    if ((left.get(name) ?? false) !== value) return undefined;
    left.delete(name);
  }
  for (const [name, argument] of queryArguments(route)) {
    const param = argument.param ?? name;
    if (left.has(param)) appendQuery(search, name, left.get(param), argument);
    left.delete(param);
  }
  if (reason !== undefined) search.append("reason", reason);
  const body = bodyOf(route, left, input.body);
  if (body === REFUSED) return undefined;
  return { method: route.method, target: targetOf(route.path, (name) => path[name] ?? "", search), body };
}

function inputOf(
  route: JobRoute,
  params: RawParams,
): { readonly params: RawParams; readonly body: unknown } | undefined {
  if (route.invert !== undefined) return route.invert(params);
  return route.convert === undefined ? { params, body: null } : undefined;
}

/** Arguments for what a body of today says are left to older clients. */
function queryArguments(route: JobRoute): readonly (readonly [name: string, argument: QueryArgument])[] {
  const dryRun: QueryArgument = { type: "flag", param: "dry_run" };
  return [
    ...Object.entries(route.query ?? {}).filter(([, { legacy }]) => !legacy),
    ...(route.dryRun === "query" ? [["dry-run", dryRun] as const] : []),
  ];
}

const REFUSED = Symbol("no body says this");

function bodyOf(route: JobRoute, left: ReadonlyMap<string, unknown>, other: unknown): unknown {
  if (route.forbidden?.some((name) => left.has(name)) || left.has("reason")) return REFUSED;
  if (route.body === "params") {
    const body = { ...route.bodyConstants, ...Object.fromEntries(left) };
    return Object.keys(body).length === 0 ? undefined : body;
  }
  const { depends, ...rest } = Object.fromEntries(left);
  if (Object.values(rest).some((value) => value !== null)) return REFUSED;
  if (depends === undefined) return other ?? undefined;
  return { ...(other as RawParams | null), depends };
}

function pathNames(path: string): readonly string[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name = ""]) => name);
}

function targetOf(path: string, partOf: (name: string) => string, search: URLSearchParams): string {
  const target = path.replaceAll(/:(\w+)/g, (_all, name: string) => encodeURIComponent(partOf(name)));
  return search.size === 0 ? target : `${target}?${search}`;
}

function appendQuery(search: URLSearchParams, name: string, value: unknown, argument?: QueryArgument): void {
  if (value === undefined || value === null) return;
  if (!Array.isArray(value)) search.append(name, typeof value === "boolean" ? String(Number(value)) : String(value));
  else if (argument?.type === "repeated") for (const item of value) search.append(name, String(item));
  else if (value.length > 0) search.append(name, value.join(","));
}
