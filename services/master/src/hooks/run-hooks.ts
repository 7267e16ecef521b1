/** The site's hooks around an operation: those before may refuse it, those after are told of it. */
import { HooksAbort, HooksFailure } from "@gannet/errors";
import type { NodeUuid } from "@gannet/objects";
import type { HookResult } from "@gannet/rpc";
import { failureOf } from "../executor/attempt.ts";
import type { ExecContext } from "../executor/context.ts";
import type { HookEnvironment, HookPlan, HookValue } from "./hook-plan.ts";

type Phase = "pre" | "post";
type HookContext = Pick<ExecContext, "config" | "node" | "step" | "signal" | "feedback" | "logger">;

/** Runs on the master's node after each operation that changed the configuration. */
const CONFIG_UPDATE = "config-update";
const HOOKS_VERSION = 2;
const SCRIPTS_PATH = "/sbin:/bin:/usr/sbin:/usr/bin";
const DATA_FOLDER = "/var/lib/ganeti";
/** An operation's log is for people: of what a script printed, the beginning. */
const LONGEST_OUTPUT = 1_000;

/**
 * @throws HooksAbort when a script refuses; HooksFailure when none of the nodes answers
 */
export async function runPreHooks(ctx: HookContext, opcode: string, plan: HookPlan): Promise<void> {
  const answers = await askNodes(ctx, { opcode, plan, phase: "pre", nodes: plan.pre, extra: {} });
  if (plan.pre.length > 0 && answers.length === 0)
    throw new HooksFailure(`No node answered when it was asked for its hooks before ${plan.path}`);
  const refusals = answers.flatMap(({ name, results }) =>
    results.filter(({ status }) => status === "fail").map(({ script, output }) => [name, script, output] as const),
  );
  if (refusals.length > 0) throw new HooksAbort(refusals);
}

/**
 * What fails is told in the operation's log and changes nothing.
 * @param before - as it was when the hooks before were run
 * @param after - the same again, now
 */
export async function runPostHooks(
  ctx: HookContext,
  opcode: string,
  { before, after, configChanged }: { before: HookPlan; after: HookPlan; configChanged: boolean },
): Promise<void> {
  const extra = wireEnvironment("GANETI_POST_", after.environment);
  // A node that the operation has added is asked, too, and one that its object has left.
  const nodes = [...new Set([...before.post, ...after.post])].filter((node) => ctx.config.nodes.has(node));
  const rounds = [
    { plan: before, nodes },
    ...(configChanged ? [{ plan: { ...before, path: CONFIG_UPDATE }, nodes: [ctx.config.cluster.masterNode] }] : []),
  ];
  for (const round of rounds)
    for (const { name, results } of await askNodes(ctx, { opcode, phase: "post", extra, ...round }))
      for (const { script, output } of results.filter(({ status }) => status === "fail"))
        ctx.feedback.warning(`Hook ${script} on node ${name} failed: ${output.slice(0, LONGEST_OUTPUT)}`);
}

interface NodeAnswer {
  readonly name: string;
  readonly results: readonly HookResult[];
}

/** Nodes that are offline or do not answer are passed over. */
async function askNodes(
  ctx: HookContext,
  asked: {
    readonly opcode: string;
    readonly plan: HookPlan;
    readonly phase: Phase;
    readonly nodes: readonly NodeUuid[];
    readonly extra: Readonly<Record<string, string>>;
  },
): Promise<readonly NodeAnswer[]> {
  const { plan, phase, extra } = asked;
  const environment = { ...wireEnvironment("GANETI_", plan.environment), ...extra, ...commonEnvironment(ctx, asked) };
  const request = { step: ctx.step(`hooks/${phase}/${plan.path}`), path: plan.path, phase, environment };
  const answers = await Promise.all(
    asked.nodes.map(async (uuid): Promise<NodeAnswer | undefined> => {
      const row = ctx.config.nodes.get(uuid);
      if (row === undefined || row.offline) return undefined;
      let results: readonly HookResult[] = [];
      const failure = await failureOf(ctx, async () => {
        ({ results } = await ctx.node(uuid).node.runHooks(request, { signal: ctx.signal }));
      });
      if (failure === undefined) return { name: row.name, results };
      ctx.feedback.warning(`Node ${row.name} did not run its hooks ${plan.path}-${phase}: ${failure.message}`);
      return undefined;
    }),
  );
  return answers.filter((answer) => answer !== undefined);
}

function commonEnvironment(
  { config: { cluster, nodes } }: Pick<HookContext, "config">,
  { opcode, plan, phase }: { readonly opcode: string; readonly plan: HookPlan; readonly phase: Phase },
): Readonly<Record<string, string>> {
  return {
    PATH: SCRIPTS_PATH,
    GANETI_HOOKS_VERSION: String(HOOKS_VERSION),
    GANETI_HOOKS_PHASE: phase,
    GANETI_HOOKS_PATH: plan.path,
    GANETI_OP_CODE: opcode,
    GANETI_OBJECT_TYPE: plan.object,
    GANETI_DATA_DIR: DATA_FOLDER,
    GANETI_CLUSTER: cluster.name,
    GANETI_MASTER: nodes.get(cluster.masterNode)?.name ?? "",
  };
}

function wireEnvironment(prefix: string, environment: HookEnvironment): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(environment).map(([name, value]) => [`${prefix}${name}`, wireValue(value).replaceAll("\0", "")]),
  );
}

/** As Python writes it, which is what Ganeti's scripts expect. */
function wireValue(value: HookValue): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  return typeof value === "object" ? value.join(" ") : String(value);
}
