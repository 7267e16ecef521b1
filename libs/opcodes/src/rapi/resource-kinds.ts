/** Of which kind a request's resource is, as rights of API tokens name it. */
import type { ResourceKind } from "@gannet/objects";
import type { ResourceMethod } from "./methods.ts";

/**
 * `free` tells nothing of the cluster. `account` concerns the user himself, and no token at all.
 */
export type MethodKind = ResourceKind | "free" | "account";

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

/** By the noun in an opcode's name, for the resources that take any opcode. */
const KIND_OF_NOUN: Readonly<Record<string, ResourceKind>> = {
  BACKUP: "instances",
  GROUP: "groups",
  INSTANCE: "instances",
  NETWORK: "networks",
  NODE: "nodes",
};

/** @param pathParams - parts of the path by their names in the resource's path */
export function methodKind(method: ResourceMethod, pathParams: Readonly<Record<string, string>>): MethodKind {
  const [, version, word = ""] = method.path.split("/");
  if (version !== "2") return "free";
  if (word === "query") return kindIn(KIND_OF_QUERY, pathParams.resource);
  if (word === "opcodes" && method.kind === "job") return kindIn(KIND_OF_NOUN, method.opcode.id.split("_")[1]);
  return kindIn(KIND_OF_WORD, word);
}

function kindIn<Kind extends MethodKind>(table: Readonly<Record<string, Kind>>, word = ""): Kind | "cluster" {
  return (Object.hasOwn(table, word) ? table[word] : undefined) ?? "cluster";
}
