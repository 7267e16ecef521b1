/** What an allocator answered, checked: our own and a site's alike (spec/os-iallocator-hooks.json, `iallocator.errors`). */
import { OpExecError, OpPrereqError, ResultValidationError } from "@gannet/errors";
import { z } from "zod";
import type {
  AllocatorCluster,
  AllocatorOutput,
  AllocatorRequest,
  AllocatorResults,
  MovePlan,
  NewInstanceRequest,
} from "./protocol.ts";

/** Older allocators call their result `nodes`. */
const answer = z.looseObject({
  success: z.boolean(),
  info: z.string(),
  result: z.unknown().optional(),
  nodes: z.unknown().optional(),
});

const names = z.array(z.string());
const movePlan = z
  .tuple([
    z.array(z.tuple([z.string(), z.string(), names])),
    z.array(z.tuple([z.string(), z.string().nullable()])),
    z.array(z.array(z.looseObject({ OP_ID: z.string() }))),
  ])
  .transform(([moved, failed, jobs]): MovePlan => ({ moved, failed, jobs }));

const RESULTS = {
  allocate: names,
  relocate: names,
  "node-evacuate": movePlan,
  "change-group": movePlan,
  "multi-allocate": z
    .tuple([z.array(z.tuple([z.string(), names])), names])
    .transform(([placed, failed]) => ({ placed, failed })),
  "allocate-secondary": z.string(),
} as const satisfies { [T in keyof AllocatorResults]: z.ZodType<AllocatorResults[T]> };

/**
 * The result of an answer, of which every node is known to exist and is as many as asked for.
 * @param input - what the allocator was asked
 * @param output - what it answered, parsed
 * @throws OpExecError when `success`, `info` or the result is missing; OpPrereqError when it found no solution: `temp_insufficient_resources` where it was allowed certain nodes
 *   only, which others may join later, else `insufficient_resources`; ResultValidationError when the result has not
 *   the shape of its request's, or names what is not there
 */
export function checkedResult<R extends AllocatorRequest>(
  input: AllocatorCluster & { readonly request: R },
  output: unknown,
): AllocatorResults[R["type"]] {
  const request: AllocatorRequest = input.request;
  const { success, info, result } = answerOf(output);
  if (!success)
    throw new OpPrereqError(
      `The allocator found no solution: ${info}`,
      isRestricted(request) ? "temp_insufficient_resources" : "insufficient_resources",
    );
  const parsed = RESULTS[request.type].safeParse(result);
  if (!parsed.success)
    throw new ResultValidationError(
      `The allocator's result is no answer to ${request.type}: ${problemsOf(parsed.error)}`,
    );
  const problems = problemsOfResult(input, request, parsed.data);
  if (problems.length > 0)
    throw new ResultValidationError(`The allocator's result to ${request.type} is wrong: ${problems.join("; ")}`);
  return parsed.data as AllocatorResults[R["type"]];
}

function answerOf(output: unknown): AllocatorOutput {
  const parsed = answer.safeParse(output);
  if (!parsed.success) throw new OpExecError(`The allocator's answer is malformed: ${problemsOf(parsed.error)}`);
  const { success, info, result = parsed.data.nodes } = parsed.data;
  if (result === undefined) throw new OpExecError("The allocator's answer is malformed: it has no result");
  return { success, info, result };
}

function isRestricted(request: AllocatorRequest): boolean {
  const asked = request.type === "multi-allocate" ? request.instances : request.type === "allocate" ? [request] : [];
  return asked.some((instance) => instance["restrict-to-nodes"] !== undefined);
}

function problemsOf(error: z.ZodError): string {
  return error.issues.map(({ path, message }) => [path.join("."), message].filter(Boolean).join(": ")).join("; ");
}

/** The shape is known to be the request's. */
function problemsOfResult(cluster: AllocatorCluster, request: AllocatorRequest, result: unknown): readonly string[] {
  switch (request.type) {
    case "allocate":
      return newInstanceProblems(cluster, request, result as AllocatorResults["allocate"]);
    case "relocate":
      return relocationProblems(cluster, request, result as AllocatorResults["relocate"]);
    case "multi-allocate":
      return multiAllocateProblems(cluster, request.instances, result as AllocatorResults["multi-allocate"]);
    case "allocate-secondary":
      return nodeProblems(cluster, [result as AllocatorResults["allocate-secondary"]]);
    case "node-evacuate":
    case "change-group":
      return movePlanProblems(cluster, request.instances, result as MovePlan);
  }
}

function nodeProblems(cluster: AllocatorCluster, nodes: readonly string[]): readonly string[] {
  const unknown = nodes.filter((node) => !Object.hasOwn(cluster.nodes, node)).map((node) => `there is no node ${node}`);
  return new Set(nodes).size < nodes.length ? [...unknown, `a node is named twice: ${nodes.join(", ")}`] : unknown;
}

function countProblems(nodes: readonly string[], required: number): readonly string[] {
  return nodes.length === required ? [] : [`${required} node(s) were required, ${nodes.length} are named`];
}

function newInstanceProblems(
  cluster: AllocatorCluster,
  request: NewInstanceRequest,
  nodes: readonly string[],
): readonly string[] {
  return [...countProblems(nodes, request.required_nodes), ...nodeProblems(cluster, nodes)];
}

function relocationProblems(
  cluster: AllocatorCluster,
  { name, required_nodes, relocate_from }: Extract<AllocatorRequest, { readonly type: "relocate" }>,
  nodes: readonly string[],
): readonly string[] {
  const before = cluster.instances[name]?.nodes ?? [];
  const stays = before.filter((node) => !relocate_from.includes(node));
  const [from, to] = [groupsOf(cluster, before), groupsOf(cluster, [...stays, ...nodes])];
  return [
    ...countProblems(nodes, required_nodes),
    ...nodeProblems(cluster, nodes),
    ...(to.every((group) => from.includes(group))
      ? []
      : [`relocation would take instance ${name} from group ${from.join(", ")} to ${to.join(", ")}`]),
  ];
}

function groupsOf(cluster: AllocatorCluster, nodes: readonly string[]): readonly string[] {
  const uuids = nodes.flatMap((node) => cluster.nodes[node]?.group ?? []);
  return [...new Set(uuids.map((uuid) => cluster.nodegroups[uuid]?.name ?? uuid))].sort();
}

function multiAllocateProblems(
  cluster: AllocatorCluster,
  requests: readonly NewInstanceRequest[],
  { placed, failed }: AllocatorResults["multi-allocate"],
): readonly string[] {
  const byName = new Map(requests.map((request) => [request.name, request]));
  const answered = [...placed.map(([name]) => name), ...failed];
  return [
    ...namingProblems([...byName.keys()], answered),
    ...[...byName.keys()].filter((name) => !answered.includes(name)).map((name) => `instance ${name} is left out`),
    ...placed.flatMap(([name, nodes]) => {
      const request = byName.get(name);
      return request === undefined ? [] : newInstanceProblems(cluster, request, nodes);
    }),
  ];
}

/** An allocator may leave out instances that need not move. */
function movePlanProblems(
  cluster: AllocatorCluster,
  asked: readonly string[],
  { moved, failed }: MovePlan,
): readonly string[] {
  return [
    ...namingProblems(
      asked,
      [...moved, ...failed].map(([name]) => name),
    ),
    ...moved.flatMap(([, , nodes]) => nodeProblems(cluster, nodes)),
  ];
}

/** Every name is one that was asked about, once. */
function namingProblems(asked: readonly string[], answered: readonly string[]): readonly string[] {
  return [
    ...answered.filter((name) => !asked.includes(name)).map((name) => `nobody asked for instance ${name}`),
    ...answered
      .filter((name, index) => answered.indexOf(name) < index)
      .map((name) => `instance ${name} is named twice`),
  ];
}
