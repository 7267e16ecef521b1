/** The site's hooks around an operation: those before may refuse it, those after are told of it. */
import { HooksAbort, HooksFailure } from "@gannet/errors";
import type { ConfigView, NodeUuid } from "@gannet/objects";
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
export const LONGEST_OUTPUT = 1_000;

/**
 * @throws HooksAbort when a script refuses; HooksFailure when none of the nodes answers
 */
export async function runPreHooks(ctx: HookContext, opcode: string, plan: HookPlan): Promise<void> {
  const asked = await askNodes(ctx, { opcode, plan, phase: "pre", nodes: plan.pre, extra: {} });
  tellOfHookFailures(ctx, asked.filter((answer) => "problem" in answer).map(silenceOf(plan, "pre")));
  const answers = asked.filter((answer) => "results" in answer);
  if (plan.pre.length > 0 && answers.length === 0)
    throw new HooksFailure(`No node answered when it was asked for its hooks before ${plan.path}`);
  const refusals = answers.flatMap(({ name, results }) =>
    results.filter(({ status }) => status === "fail").map(({ script, output }) => [name, script, output] as const),
  );
  if (refusals.length > 0) throw new HooksAbort(refusals);
}

/** A script that failed, or a node that did not run its hooks. */
export interface HookFailure {
  /** Name of the node. */
  readonly node: string;
  /** Folder and name; null when none was run. */
  readonly script: string | null;
  /** What it printed, or why the node did not run them. */
  readonly problem: string;
}

/** In the operation's log, as warnings. */
export function tellOfHookFailures(ctx: Pick<HookContext, "feedback">, failures: readonly HookFailure[]): void {
  for (const { node, script, problem } of failures)
    ctx.feedback.warning(
      script === null ? `Node ${node} ${problem}` : `Hook ${script} on node ${node} failed: ${problem}`,
    );
}

/**
 * @param before - as it was when the hooks before were run
 * @param after - the same again, now
 * @returns what failed, which changes nothing of what was done
 */
export async function runPostHooks(
  ctx: HookContext,
  opcode: string,
  { before, after, configChanged }: { before: HookPlan; after: HookPlan; configChanged: boolean },
): Promise<readonly HookFailure[]> {
  const extra = wireEnvironment("GANETI_POST_", after.environment);
  // A node that the operation has added is asked, too, and one that its object has left.
  const nodes = [...new Set([...before.post, ...after.post])].filter((node) => ctx.config.nodes.has(node));
  const rounds = [
    { plan: before, nodes },
    ...(configChanged ? [{ plan: { ...before, path: CONFIG_UPDATE }, nodes: [ctx.config.cluster.masterNode] }] : []),
  ];
  const failures: HookFailure[] = [];
  for (const round of rounds)
    for (const answer of await askNodes(ctx, { opcode, phase: "post", extra, ...round }))
      failures.push(...failuresOf(answer, round.plan));
  return failures;
}

function failuresOf(answer: NodeAnswer, plan: HookPlan): readonly HookFailure[] {
  if ("problem" in answer) return [silenceOf(plan, "post")(answer)];
  return answer.results
    .filter(({ status }) => status === "fail")
    .map(({ script, output }) => ({ node: answer.name, script, problem: output.slice(0, LONGEST_OUTPUT) }));
}

const silenceOf =
  ({ path }: HookPlan, phase: Phase) =>
  ({ name: node, problem }: SilentNode): HookFailure => ({
    ...{ node, script: null },
    problem: `did not run its hooks ${path}-${phase}: ${problem}`,
  });

interface SilentNode {
  readonly name: string;
  readonly problem: string;
}

type NodeAnswer = SilentNode | { readonly name: string; readonly results: readonly HookResult[] };

/** Nodes that are offline are passed over. */
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
      return failure === undefined ? { name: row.name, results } : { name: row.name, problem: failure.message };
    }),
  );
  return answers.filter((answer) => answer !== undefined);
}

/** What every script is told, whatever it is run for. */
export function clusterEnvironment({
  cluster,
  nodes,
}: Pick<ConfigView, "cluster" | "nodes">): Readonly<Record<string, string>> {
  return {
    PATH: SCRIPTS_PATH,
    GANETI_HOOKS_VERSION: String(HOOKS_VERSION),
    GANETI_DATA_DIR: DATA_FOLDER,
    GANETI_CLUSTER: cluster.name,
    GANETI_MASTER: nodes.get(cluster.masterNode)?.name ?? "",
  };
}

function commonEnvironment(
  { config }: Pick<HookContext, "config">,
  { opcode, plan, phase }: { readonly opcode: string; readonly plan: HookPlan; readonly phase: Phase },
): Readonly<Record<string, string>> {
  return {
    ...clusterEnvironment(config),
    GANETI_HOOKS_PHASE: phase,
    GANETI_HOOKS_PATH: plan.path,
    GANETI_OP_CODE: plan.opcode ?? opcode,
    GANETI_OBJECT_TYPE: plan.object,
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
