/** Whether nodes have the memory that a change of an instance's bounds, or of its running guest, needs. */
import { OpPrereqError } from "@gannet/errors";
import { filledBeparams, type Instance, type Parameters } from "@gannet/objects";
import type { InstanceState, NodeState } from "@gannet/rpc";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { undoStep } from "../../executor/undo-actions.ts";
import { checkMemory, guestRuns, knownNode } from "./lookups.ts";

/** What the agent says now; undefined when it says that no guest runs. @throws NodeUnreachable, OpPrereqError */
export async function guestNow(ctx: PrereqContext, instance: Instance): Promise<InstanceState | undefined> {
  const request = { name: instance.name, hypervisor: instance.hypervisor };
  const state = await ctx.node(instance.primaryNode).instances.state(request, { signal: ctx.signal });
  return guestRuns(state) ? state : undefined;
}

/**
 * More memory at most: the primary node must have it, so that the instance can be started again, and a secondary that
 * is balanced for it, so that it can fail over. A primary that cannot be asked is no reason to refuse.
 * @param after - the instance with its new parameters
 * @returns warnings
 * @throws OpPrereqError: insufficient_resources for the primary node, wrong_state for a secondary
 */
export async function checkMoreMemory(
  ctx: PrereqContext,
  before: Instance,
  after: Instance,
): Promise<readonly string[]> {
  const { cluster } = ctx.config;
  const was = filledBeparams(cluster, before);
  const now = filledBeparams(cluster, after);
  const wantedMib = Number(now.maxmem);
  if (wantedMib <= Number(was.maxmem)) return [];
  const warnings: string[] = [];
  const primary = knownNode(ctx.config, before.primaryNode);
  let found: { readonly node: NodeState; readonly guest: InstanceState | undefined } | undefined;
  const failure = await failureOf(ctx, async () => {
    const [node, guest] = await Promise.all([
      ctx.node(primary.uuid).node.describe({ knownStorage: true }, { signal: ctx.signal }),
      guestNow(ctx, before),
    ]);
    found = { node, guest };
  });
  if (failure !== undefined)
    warnings.push(`Whether primary node ${primary.name} has enough memory is not known: ${failure.message}`);
  if (found !== undefined) {
    const missingMib = wantedMib - (found.guest?.memoryMib ?? 0) - found.node.memoryFreeMib;
    if (missingMib > 0)
      throw new OpPrereqError(
        `This change would keep ${before.name} from starting: ${missingMib} MiB of memory are missing on its primary ` +
          `node ${primary.name}`,
        "insufficient_resources",
      );
  }
  if (now.auto_balance === true)
    for (const uuid of ctx.config.secondaryNodes(before)) await checkSecondary(ctx, after, uuid, wantedMib);
  return warnings;
}

async function checkSecondary(
  ctx: PrereqContext,
  { name }: Instance,
  uuid: Instance["primaryNode"],
  wantedMib: number,
): Promise<void> {
  const node = knownNode(ctx.config, uuid);
  let state: NodeState | undefined;
  const failure = await failureOf(ctx, async () => {
    state = await ctx.node(uuid).node.describe({ knownStorage: true }, { signal: ctx.signal });
  });
  if (state === undefined)
    throw new OpPrereqError(
      `Whether secondary node ${node.name} has enough memory for ${name} is not known (${failure?.message}); ` +
        "with force it is not asked",
      "wrong_state",
    );
  if (state.memoryFreeMib < wantedMib)
    throw new OpPrereqError(
      `This change would keep ${name} from failing over to its secondary node ${node.name}: needed ${wantedMib} MiB, ` +
        `available ${state.memoryFreeMib} MiB`,
      "wrong_state",
    );
}

/** Another size of the running guest. */
export interface Ballooning {
  readonly memoryMib: number;
  /** What it has now, and gets back when the operation fails. */
  readonly beforeMib: number;
}

/**
 * @param beparams - the instance's complete ones, with what is changed in the same operation
 * @throws OpPrereqError: wrong_state when it does not run, wrong_input outside its bounds, insufficient_resources
 */
export async function planBallooning(
  ctx: PrereqContext,
  instance: Instance,
  {
    memoryMib,
    beparams,
    force,
  }: { readonly memoryMib: number; readonly beparams: Parameters; readonly force: boolean },
): Promise<Ballooning> {
  const guest = await guestNow(ctx, instance);
  if (guest === undefined)
    throw new OpPrereqError(`Instance ${instance.name} is not running: it has no memory to change`, "wrong_state");
  const { minmem, maxmem } = beparams;
  if (!force && (memoryMib < Number(minmem) || memoryMib > Number(maxmem)))
    throw new OpPrereqError(
      `Instance ${instance.name} must have between ${minmem} and ${maxmem} MiB of memory, not ${memoryMib}, unless force is given`,
      "wrong_input",
    );
  const more = memoryMib - guest.memoryMib;
  if (more > 0) {
    const node = knownNode(ctx.config, instance.primaryNode);
    const state = await ctx.node(node.uuid).node.describe({ knownStorage: true }, { signal: ctx.signal });
    checkMemory(node, state, { instanceName: instance.name, memoryMib: more, reason: "ballooning memory of" });
  }
  return { memoryMib, beforeMib: guest.memoryMib };
}

/** Change the running guest's memory; the undo gives it back what it had. */
export async function balloon(
  ctx: ExecContext,
  { name, hypervisor, primaryNode: node }: Instance,
  { memoryMib, beforeMib }: Ballooning,
): Promise<void> {
  await ctx.undo(undoStep("set-memory", { node, name, hypervisor, memoryMib: beforeMib }));
  const request = { step: ctx.step("set-memory"), name, hypervisor, memoryMib };
  await ctx.node(node).instances.setMemory(request, { signal: ctx.signal });
}
