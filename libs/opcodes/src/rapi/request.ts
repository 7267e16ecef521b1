/** From a request of the remote API to what it asks for: a job ready to be submitted, or parameters. Pure. */
import { HttpError, OpPrereqError } from "@gannet/errors";
import type { JobRoute, RawParams, WireOpcode } from "../define.ts";
import { parseOpcode, wireOpcode } from "../registry.ts";
import type { DirectMethod, JobMethod } from "./methods.ts";
import { parseInput } from "./parse-input.ts";
import { decodeQuery, givenValues } from "./query-arguments.ts";
import { readBody } from "./read-body.ts";

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

/**
 * The job that a request asks for.
 * @throws HttpError 400 for input that breaks the rules, 403 for a parameter that this route does not set
 */
export function buildJobRequest(method: JobMethod, request: ApiRequest, options: JobRequestOptions): JobRequest {
  const { opcode, route } = method;
  const url: RawParams = {
    ...pathParams(route.pathParams, request.pathParams),
    ...decodeQuery(route.query ?? {}, request.query),
  };
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

/** What a request of a method that answers at once asks for. */
export interface DirectRequest {
  readonly params: RawParams;
  /** Parsed by the method's schema; null where it has none. */
  readonly body: unknown;
}

/** @throws HttpError 400 */
export function parseDirectRequest(method: DirectMethod, request: ApiRequest): DirectRequest {
  return {
    params: {
      ...pathParams(method.pathParams, request.pathParams),
      ...decodeQuery(method.query ?? {}, request.query),
      ...method.fixed,
    },
    body: method.body === undefined ? null : parseInput(method.body, request.body ?? null, "The body"),
  };
}

function pathParams(renamed: Readonly<Record<string, string>> = {}, given: ApiRequest["pathParams"]): RawParams {
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [renamed[name] ?? name, value]));
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
