/** The parameters of an operation that stand in its path, its query and its headers. */
import type { JobRoute, QueryArgument, QueryArguments } from "../define.ts";
import { QUERY_RESOURCES } from "../enums.ts";
import type { DirectMethod, ResourceMethod } from "../rapi/methods.ts";
import { patternSourceOf } from "../rapi/resources.ts";
import type { JsonSchema, OpenApiParameter, Reference } from "./types.ts";

/** Those that many operations have. */
export const SHARED_PARAMETERS = {
  IdempotencyKey: {
    name: "Idempotency-Key",
    in: "header",
    description:
      "Who lost the answer repeats the request with the same key, and is answered the job that it submitted already.",
    schema: { type: "string", minLength: 1, maxLength: 255, pattern: "^[\\x21-\\x7e]+$" },
  },
  Reason: {
    name: "reason",
    in: "query",
    description: "Why; it is kept in the job's reason trail.",
    schema: { type: "string" },
  },
  DryRun: {
    name: "dry-run",
    in: "query",
    description: "Not zero: run the checks only.",
    schema: { type: "integer", default: 0 },
  },
} as const satisfies Readonly<Record<string, OpenApiParameter>>;

/** `/2/jobs/:job_id` is `/2/jobs/{job_id}`. */
export function templateOf(path: string): string {
  return path.replaceAll(/:(\w+)/g, "{$1}");
}

/** @param properties schemas of the opcode's parameters, whose text and values its query arguments share */
export function parametersOf(
  method: ResourceMethod,
  properties: Readonly<Record<string, JsonSchema>>,
): readonly (OpenApiParameter | Reference)[] {
  const declared = method.kind === "job" ? method.route : method;
  return [
    ...pathParameters(declared, properties),
    ...queryParameters(declared.query ?? {}, properties),
    ...(method.kind === "job" ? jobParameters(method.route) : []),
  ];
}

function pathParameters(
  { path, pathParams = {} }: Pick<JobRoute | DirectMethod, "path" | "pathParams">,
  properties: Readonly<Record<string, JsonSchema>>,
): readonly OpenApiParameter[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name = ""]) => {
    const description = PATH_PARAMETERS[name] ?? properties[pathParams[name] ?? name]?.description;
    return { name, in: "path", required: true, ...described(description), schema: pathSchema(name) };
  });
}

const PATH_PARAMETERS: Readonly<Record<string, string>> = {
  disk_index: "Which disk, from 0.",
  filter_uuid: "UUID of the job filter.",
  group_name: "The node group: its name or UUID.",
  instance_name: "The instance: its name, short name or UUID.",
  job_id: "Number of the job.",
  network_name: "The network: its name or UUID.",
  node_name: "The node: its name, short name or UUID.",
  resource: "The kind of object.",
};

function pathSchema(name: string): JsonSchema {
  if (name === "resource") return { type: "string", enum: QUERY_RESOURCES };
  const pattern = patternSourceOf(name);
  return pattern === "\\d+" ? { type: "integer", minimum: 0 } : { type: "string", pattern: `^${pattern}$` };
}

function queryParameters(
  query: QueryArguments,
  properties: Readonly<Record<string, JsonSchema>>,
): readonly OpenApiParameter[] {
  return Object.entries(query).map(([name, argument]) => {
    const property = properties[argument.param ?? name];
    return {
      name,
      in: "query",
      ...described(QUERY_ARGUMENTS[name] ?? property?.description),
      ...(argument.required ? { required: true } : {}),
      ...(argument.legacy || name === "lock" ? { deprecated: true } : {}),
      ...(argument.type === "list" ? { style: "form", explode: false } : {}),
      ...(argument.type === "repeated" ? { style: "form", explode: true } : {}),
      schema: querySchema(argument, property),
    };
  });
}

/** What arguments mean that are no parameter of an opcode. */
const QUERY_ARGUMENTS: Readonly<Record<string, string>> = {
  after: "Only jobs whose ids are greater.",
  age: "Seconds that a job has been over.",
  bulk: "Not zero: whole objects instead of their names.",
  disk_template: "Only this disk template.",
  evacuate: "Not zero: only empty the nodes that are drained or offline.",
  exclude: "Names of instances that stay where they are.",
  fields: "Names of fields, separated by commas.",
  group: "Only this node group; may be repeated.",
  limit: "At most so many jobs.",
  max_moves: "At most so many moves.",
  minimal: "Instances of standard size for which each node must have room before another is switched on; 1 if absent.",
  no_disk_moves: "Not zero: no copies of disks.",
  no_instance_moves: "Not zero: no migrations between an instance's two nodes.",
  node_tags: "Only nodes with all of these tags.",
  select: "Names of the only instances that may move.",
  lock: "Of older clients; only 0 is accepted.",
  live: "0: non-live, 1: live.",
  nostartup: "Not zero: leave the instance stopped afterwards.",
  os: "The operating system, with its variant.",
  tag: "A tag; may be repeated.",
  target: "Instances of standard size for which each node that stays on must have room; 2 if absent.",
};

/** What a query argument means that is no parameter of an opcode; undefined where its name says all. */
export function queryArgumentDoc(name: string): string | undefined {
  return QUERY_ARGUMENTS[name];
}

function querySchema({ type, values, atLeast = 0, default: preset }: QueryArgument, property?: JsonSchema): JsonSchema {
  const withDefault = preset === undefined ? {} : { default: preset };
  if (values !== undefined) return { type: "string", enum: Object.keys(values), ...withDefault };
  switch (type) {
    case "flag":
      return { type: "integer", default: 0 };
    case "count":
      return { type: "integer", minimum: atLeast };
    case "string": {
      const words = wordsOf(property);
      return words === undefined ? { type: "string", ...withDefault } : { type: "string", enum: words, ...withDefault };
    }
    case "list":
    case "repeated":
      return { type: "array", items: { type: "string" }, ...withDefault };
  }
}

/** The closed set of words that a parameter takes, null apart; undefined where it takes others. */
function wordsOf(schema: JsonSchema | undefined): readonly unknown[] | undefined {
  if (Array.isArray(schema?.enum)) return schema.enum;
  const [first, second, ...more] = (schema?.anyOf ?? []) as readonly JsonSchema[];
  return second?.type === "null" && more.length === 0 ? wordsOf(first) : undefined;
}

function jobParameters(route: JobRoute): readonly Reference[] {
  return [...(route.dryRun === "query" ? (["DryRun"] as const) : []), ...(["Reason", "IdempotencyKey"] as const)].map(
    (name) => ({ $ref: `#/components/parameters/${name}` }),
  );
}

function described(description: unknown): { readonly description?: string } {
  return typeof description === "string" ? { description } : {};
}
