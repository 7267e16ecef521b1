/** One method of a resource as a document's operation. */
import type { Access } from "../define.ts";
import type { DirectMethod, JobMethod, ResourceMethod } from "../rapi/methods.ts";
import { methodKind } from "../rapi/resource-kinds.ts";
import { jobBody, type ParameterSchemas } from "./job-body.ts";
import { parametersOf, templateOf } from "./parameters.ts";
import type { SchemaCollection } from "./schemas.ts";
import type { JsonSchema, OpenApiResponse, Operation, Reference, RequestBody } from "./types.ts";

/** Answers that many operations have, by their names among the components. */
export const SHARED_RESPONSES = {
  NotModified: { description: "Nothing has changed since the answer whose `ETag` came in `If-None-Match`." },
  Job: {
    description: "The number of the job that was submitted.",
    content: { "application/json": { schema: { $ref: "#/components/schemas/JobId" } } },
    links: { job: { operationId: "getJobsId", parameters: { job_id: "$response.body" } } },
  },
  Error: {
    description: "A refusal, or a failure.",
    content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
  },
  Unauthorized: {
    description: "The credentials are missing or wrong.",
    headers: { "WWW-Authenticate": { description: "Which credentials are asked for.", schema: { type: "string" } } },
    content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
  },
} as const satisfies Readonly<Record<string, OpenApiResponse>>;

/** Roles of which a requester needs one, for each kind of access. */
const ROLES: Readonly<Record<Access, readonly (readonly string[])[]>> = {
  none: [[]],
  read: [["read"], ["write"]],
  write: [["write"]],
};

/** Where no role is needed, a cluster may ask no credentials; users' own affairs are no token's. */
function securityOf(method: ResourceMethod): Operation["security"] {
  if (method.kind === "direct" && method.proof === "body") return [];
  const schemes = methodKind(method, {}) === "account" ? ["basic"] : ["basic", "bearer"];
  const ways = schemes.flatMap((scheme) => ROLES[method.access].map((roles) => ({ [scheme]: roles })));
  return method.access === "none" ? [...ways, {}] : ways;
}

export function operationOf(method: ResourceMethod, schemas: SchemaCollection): Operation {
  const opcode = method.kind === "job" ? opcodeSchemas(method, schemas) : { properties: {}, required: [] };
  const requestBody = method.kind === "job" ? jobBody(method.route, schemas, opcode) : directBody(method, schemas);
  return {
    operationId: operationId(method),
    summary: method.doc,
    ...descriptionOf(method),
    tags: [tagOf(method.path)],
    parameters: parametersOf(method, opcode.properties),
    ...(requestBody === undefined ? {} : { requestBody }),
    responses: responsesOf(method, schemas),
    security: securityOf(method),
    ...(method.kind === "job"
      ? { "x-job": { opcode: method.opcode.id, result: schemas.of(method.opcode.result, "output") } }
      : {}),
  };
}

function opcodeSchemas({ opcode }: JobMethod, schemas: SchemaCollection): ParameterSchemas {
  const { properties = {}, required = [] } = schemas.of(opcode.schema, "input");
  return { properties: properties as ParameterSchemas["properties"], required: required as readonly string[] };
}

function descriptionOf(method: ResourceMethod): { readonly description?: string } {
  const isOwn = method.kind === "job" ? method.route.extension : method.extension;
  const sentences = [
    ...(method.kind === "job" ? [`Submits a job with ${method.opcode.id}.`] : []),
    ...(isOwn === true ? ["Gannet's own: Ganeti's remote API has no such method."] : []),
  ];
  return sentences.length === 0 ? {} : { description: sentences.join(" ") };
}

function directBody({ body }: DirectMethod, schemas: SchemaCollection): RequestBody | undefined {
  if (body === undefined) return undefined;
  const schema = schemas.of(body, "input");
  const required = Array.isArray(schema.required) && schema.required.length > 0;
  return { required, content: { "application/json": { schema } } };
}

function responsesOf(method: ResourceMethod, schemas: SchemaCollection): Operation["responses"] {
  const refer = (name: keyof typeof SHARED_RESPONSES): Reference => ({ $ref: `#/components/responses/${name}` });
  return {
    "200": method.kind === "job" ? refer("Job") : success(method, schemas),
    ...(method.kind === "direct" && method.bulkResult !== undefined ? { "304": refer("NotModified") } : {}),
    "401": refer("Unauthorized"),
    default: refer("Error"),
  };
}

function success(method: DirectMethod, schemas: SchemaCollection): OpenApiResponse {
  const schema = schemas.of(method.result, "output");
  const either: JsonSchema =
    method.bulkResult === undefined ? schema : { anyOf: [schema, schemas.of(method.bulkResult, "output")] };
  return {
    description: method.bulkResult === undefined ? "The answer." : "The names, or with `bulk` the whole objects.",
    content: { [method.mediaType ?? "application/json"]: { schema: either } },
  };
}

/** `GET /2/instances/:instance_name/tags` is `getInstancesNameTags`. */
export function operationId({ method, path }: ResourceMethod): string {
  const words = templateOf(path)
    .split(/[^A-Za-z0-9]+/)
    .filter((word) => word !== "" && !QUALIFIERS.has(word));
  const parts = path === "/" ? ["root"] : words.length > 1 ? words.slice(Number(words[0] === "2")) : words;
  return method.toLowerCase() + parts.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
}

/** Of a path's parameter its last word is enough: `{instance_name}` is `Name`. */
const QUALIFIERS: ReadonlySet<string> = new Set(["disk", "filter", "group", "instance", "job", "network", "node"]);

/** Groups of operations, by the first word of their paths; what has none of these is the cluster's. */
export const TAGS: Readonly<Record<string, string>> = {
  cluster: "The cluster as a whole.",
  nodes: "Nodes, their roles and their storage.",
  groups: "Node groups.",
  networks: "Networks and their addresses.",
  instances: "Instances: their life, devices and consoles.",
  jobs: "Jobs and their queue.",
  filters: "Job filters.",
  query: "Objects of any kind by fields and filter.",
  os: "Operating systems.",
  opcodes: "Any operation with all its parameters, by its opcode.",
};

const TAG_OF_WORD: Readonly<Record<string, string>> = { "instances-multi-alloc": "instances", queue: "jobs" };

function tagOf(path: string): string {
  const word = path.split("/")[2] ?? "";
  const tag = TAG_OF_WORD[word] ?? word;
  return Object.hasOwn(TAGS, tag) ? tag : "cluster";
}
