/** Of which kind a request's resource is, as rights of API tokens name it. */
import type { ResourceKind } from "@gannet/objects";
import type { OpcodeDeclaration, RawParams } from "../define.ts";
import type { ResourceMethod } from "./methods.ts";

/**
 * `free` tells nothing of the cluster. `account` concerns the user himself, and no token at all. `stated`: the job's
 * parameters say it, see {@link kindOfOpcode}.
 */
export type MethodKind = ResourceKind | "free" | "account" | "stated";

/** By the first word of a path below `/2`. What is not named here is the cluster's. */
const KIND_OF_WORD: Readonly<Record<string, MethodKind>> = {
  "": "free",
  features: "free",
  filters: "filters",
  groups: "groups",
  instances: "instances",
  "instances-multi-alloc": "instances",
  jobs: "jobs",
  join: "free",
  "join-tokens": "nodes",
  networks: "networks",
  nodes: "nodes",
  openapi: "free",
  "openapi.json": "free",
  queue: "jobs",
  tokens: "account",
};

/** By the resource that a query names. */
const KIND_OF_QUERY: Readonly<Record<string, ResourceKind>> = {
  export: "instances",
  filter: "filters",
  group: "groups",
  instance: "instances",
  job: "jobs",
  lock: "jobs",
  network: "networks",
  node: "nodes",
};

/** By the noun in an opcode's name, for those that no resource of Ganeti's submits. */
const KIND_OF_NOUN: Readonly<Record<string, ResourceKind>> = {
  BACKUP: "instances",
  GROUP: "groups",
  INSTANCE: "instances",
  NETWORK: "networks",
  NODE: "nodes",
  OOB: "nodes",
  RESTRICTED: "nodes",
};

/** By the kind of object that an opcode's parameter names. */
const KIND_OF_TAGGED: Readonly<Record<string, ResourceKind>> = {
  instance: "instances",
  network: "networks",
  node: "nodes",
  nodegroup: "groups",
};
const TAGGING: ReadonlySet<string> = new Set(["OP_TAGS_DEL", "OP_TAGS_GET", "OP_TAGS_SET"]);

/** @param pathParams - parts of the path by their names in the resource's path */
export function methodKind(method: ResourceMethod, pathParams: Readonly<Record<string, string>>): MethodKind {
  const [, version, word = ""] = method.path.split("/");
  if (version !== "2") return "free";
  if (word === "query") return kindIn(KIND_OF_QUERY, pathParams.resource);
  if (word === "opcodes" && method.kind === "job")
    return TAGGING.has(method.opcode.id) ? "stated" : kindOfOpcode(method.opcode, {});
  return kindIn(KIND_OF_WORD, word);
}

/** Of which kind a job's opcode is, by whichever resource it is submitted: that of the resource that Ganeti has for it. */
export function kindOfOpcode({ id, rapi: [route] }: Pick<OpcodeDeclaration, "id" | "rapi">, params: RawParams) {
  if (TAGGING.has(id)) return kindIn(KIND_OF_TAGGED, String(params.kind));
  if (route === undefined) return kindIn(KIND_OF_NOUN, id.split("_")[1]);
  const [, , word] = route.path.split("/");
  return kindIn(KIND_OF_WORD, word);
}

function kindIn<Kind extends MethodKind>(table: Readonly<Record<string, Kind>>, word = ""): Kind | "cluster" {
  return (Object.hasOwn(table, word) ? table[word] : undefined) ?? "cluster";
}
