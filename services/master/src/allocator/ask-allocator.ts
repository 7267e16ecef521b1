/** Asking an allocator: ours, or a program of the site on the master's node. */
import {
  type AllocatorInput,
  type AllocatorRequest,
  type AllocatorResults,
  allocatorCluster,
  checkedResult,
  type SoftErrors,
  solve,
} from "@gannet/allocator";
import { OpExecError } from "@gannet/errors";
import type { StorageType } from "@gannet/objects";
import type { PrereqContext } from "../executor/context.ts";
import { type AllocatorChoice, BUILT_IN_ALLOCATOR } from "./allocator-choice.ts";
import { nodeResources } from "./node-resources.ts";

const LONGEST_QUOTE = 200;

/** What is asked, and of whom. */
export interface AllocatorQuestion<Request extends AllocatorRequest> {
  readonly allocator: AllocatorChoice;
  readonly request: Request;
  /** Whose space the answer depends on: that of the disk template that is to be placed. */
  readonly storageType: StorageType;
  /** Whether it may do what it would only advise against. */
  readonly softErrors?: SoftErrors;
  /** An instance that is to be placed anew: as if it were not there. */
  readonly without?: string;
}

/**
 * @returns what it answered, of the shape that was asked for
 * @throws OpPrereqError with its reasons when it finds no place; OpExecError, ResultValidationError when it answers
 *   something else than the protocol says
 */
export async function askAllocator<Request extends AllocatorRequest>(
  ctx: PrereqContext,
  question: AllocatorQuestion<Request>,
): Promise<AllocatorResults[Request["type"]]> {
  const input = await allocatorInput(ctx, question);
  return checkedResult(input, await allocatorOutput(ctx, input, question));
}

/** What the allocator is told. */
export async function allocatorInput<Request extends AllocatorRequest>(
  ctx: PrereqContext,
  { request, storageType, without }: Pick<AllocatorQuestion<Request>, "request" | "storageType" | "without">,
) {
  const cluster = allocatorCluster(ctx.config, await nodeResources(ctx, storageType));
  const instances = Object.entries(cluster.instances).filter(([name]) => name !== without);
  return { ...cluster, instances: Object.fromEntries(instances), request };
}

/** What it answers, unchecked. @throws OpExecError when that is no JSON */
export async function allocatorOutput(
  ctx: PrereqContext,
  input: AllocatorInput,
  { allocator, softErrors = "refuse" }: Pick<AllocatorQuestion<AllocatorRequest>, "allocator" | "softErrors">,
): Promise<unknown> {
  return allocator.name === BUILT_IN_ALLOCATOR
    ? solve(input, { softErrors })
    : await runProgram(ctx, withSoftErrors(allocator, softErrors), input);
}

function withSoftErrors(allocator: AllocatorChoice, softErrors: SoftErrors): AllocatorChoice {
  if (softErrors === "refuse") return allocator;
  return { ...allocator, arguments: [...allocator.arguments, "--ignore-soft-errors"] };
}

async function runProgram(
  ctx: PrereqContext,
  { name, arguments: options }: AllocatorChoice,
  input: AllocatorInput,
): Promise<unknown> {
  const { output } = await ctx
    .node(ctx.config.cluster.masterNode)
    .node.runAllocator({ name, input: JSON.stringify(input), arguments: [...options] }, { signal: ctx.signal });
  try {
    return JSON.parse(output);
  } catch (error) {
    throw new OpExecError(`Allocator ${name} printed no JSON: ${output.slice(0, LONGEST_QUOTE)}`, { cause: error });
  }
}
