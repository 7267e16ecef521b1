/**
 * Each step of an operation failing once. The operation is run to its end first, which tells the calls that it makes;
 * then it is run once for each of them with that call failing, in two ways: refused (the agent did nothing and says
 * why), and lost (the agent did it, and its answer never came). Whatever happened, the configuration and the nodes are
 * what they were before, or what the scenario's table says, with its reason.
 *
 * Hooks are not failed here: a node that does not run its own is passed over, and so the calls are the same with one
 * node as with ten (hooks.test.ts).
 */
import {
  BlockDeviceError,
  CommandError,
  HypervisorError,
  NodeUnreachable,
  OpExecError,
  OpPrereqError,
} from "@gannet/errors";
import type { FinishedJob, LogicalUnitBed } from "../logical-units/logical-unit-bed.ts";
import type { Call } from "../logical-units/scripted-nodes.ts";
import { type ClusterImage, imageOf, linesOf, outlineOf, restore, tellLiveState } from "./cluster-image.ts";

/** How a call fails. */
type Way = "refused" | "lost";

/** What a failure may come to. */
type Outcome =
  /** The job fails, and nothing has changed. */
  | "as before"
  /** The same, and something that is not needed stays on a node. */
  | "as before, left behind"
  /** It succeeds as if nothing had failed, and its log tells of the failure; disks may be recorded as active. */
  | "done"
  /** The same, and the nodes are not in every respect what they would have been. */
  | "done, left behind"
  /** The job fails, and the change is recorded as made nevertheless. */
  | "done, told as failed"
  /** The job fails half-way, and the same operation repeated brings it to its end. */
  | "to be repeated"
  /** The job fails half-way, and the rest is up to an operator: the reason says how. */
  | "half-way";

export interface Documented {
  /** Calls, as {@link titlesOf} names them. */
  readonly at: RegExp;
  readonly way?: Way;
  readonly outcome: Outcome;
  readonly because: string;
}

type Operation = readonly [id: string, params: Readonly<Record<string, unknown>>];

export interface Scenario {
  readonly name: string;
  /** What is done before, to have something to work on. */
  readonly given?: readonly Operation[];
  /** What no operation does. */
  readonly prepare?: (bed: LogicalUnitBed) => Promise<void> | void;
  readonly run: Operation;
  /** What else than `as before` a failure comes to. */
  readonly documented?: readonly Documented[];
}

/** `node1 create drbd/0`, `node1 mirrorStatus`; those that are made again `node1 mirrorStatus #2`. */
function titlesOf(calls: readonly Call[]): readonly string[] {
  const made = new Map<string, number>();
  return calls.map(({ node, method, template, index }) => {
    const short = node.split(".")[0];
    const title = template === "" ? `${short} ${method}` : `${short} ${method} ${template}/${index}`;
    const count = (made.get(title) ?? 0) + 1;
    made.set(title, count);
    return count === 1 ? title : `${title} #${count}`;
  });
}

/** Rows are long, and the beginning says which it is. */
const LONGEST_PROBLEM = 300;

const isHook = ({ method }: Call) => method === "node.runHooks";

/** @returns what went otherwise than it should, in words */
export async function failEachStep(bed: LogicalUnitBed, scenario: Scenario): Promise<readonly string[]> {
  for (const [id, params] of scenario.given ?? []) await bed.succeed(id, params);
  await scenario.prepare?.(bed);
  tellLiveState(bed);
  const before = imageOf(bed);
  bed.nodes.calls.length = 0;
  await bed.succeed(...scenario.run);
  const calls = [...bed.nodes.calls];
  const after = imageOf(bed);
  const used = new Set<Documented>();
  const problems: string[] = [];
  const titles = titlesOf(calls);
  for (const [position, call] of calls.entries())
    for (const way of waysOf(call)) {
      await restore(bed, before);
      const title = titles[position] ?? "";
      const rule = scenario.documented?.find((each) => applies(each, title, way));
      if (rule !== undefined) used.add(rule);
      const outcome = rule?.outcome ?? "as before";
      const found = await failOne(bed, scenario, { position, title, call, way, before, after, outcome });
      problems.push(...found.map((text) => `${title} (call ${position}) ${way}: ${text.slice(0, LONGEST_PROBLEM)}`));
    }
  await restore(bed, before);
  for (const { at, because } of scenario.documented ?? [])
    if (![...used].some((each) => each.at === at))
      problems.push(`no call is ${at}, of which the table says: ${because}`);
  return problems;
}

function applies({ at, way }: Documented, title: string, failed: Way): boolean {
  return at.test(title) && (way ?? failed) === failed;
}

/** Of a call that changes nothing it makes no difference when it fails. */
function waysOf(call: Call): readonly Way[] {
  if (isHook(call)) return [];
  return (call.request as { readonly step?: unknown }).step === undefined ? ["refused"] : ["refused", "lost"];
}

function errorOf({ node, method }: Call, way: Way): Error {
  const text = `${method} on ${node} was told to fail`;
  if (way === "lost") return new NodeUnreachable(node, text);
  if (method.startsWith("instances.")) return new HypervisorError(text);
  if (method.startsWith("os.")) return new CommandError(text);
  if (method === "node.describe") return new OpPrereqError(text, "environment_error");
  return method.includes(".") ? new OpExecError(text) : new BlockDeviceError(text);
}

interface Failing {
  readonly position: number;
  readonly title: string;
  readonly call: Call;
  readonly way: Way;
  readonly before: ClusterImage;
  readonly after: ClusterImage;
  readonly outcome: Outcome;
}

async function failOne(
  bed: LogicalUnitBed,
  { run }: Scenario,
  { position, title, call, way, before, after, outcome }: Failing,
): Promise<readonly string[]> {
  const error = errorOf(call, way);
  bed.nodes.calls.length = 0;
  bed.nodes.fault = {
    call: position,
    after: way === "lost",
    errorOf: () => error,
  };
  const job = await bed.run(...run);
  bed.nodes.fault = undefined;
  const made = titlesOf(bed.nodes.calls)[position];
  if (made !== title) return [`another call was made in its place: ${made ?? "none"}`];
  //DIAG
  const ending = endsOtherwise(job, outcome);
  if (ending !== undefined) return [ending];
  const problems = [...(await leftInLedger(bed)), ...toldWrongly(job, error.message)];
  const now = imageOf(bed);
  switch (outcome) {
    case "as before":
      return [...problems, ...differences(linesOf(now), linesOf(before))];
    case "as before, left behind": {
      const found = differences(linesOf(now), linesOf(before));
      return [...problems, ...found.filter((line) => !line.startsWith("too much: node")), ...nothingIn(found)];
    }
    case "half-way":
      return problems;
    case "to be repeated":
      return [...problems, ...(await repeated(bed, run, before, after))];
    default: {
      const [made, meant] = [outlineOf(now, before), outlineOf(after, before)];
      const onNodes = differences(made.nodes, meant.nodes);
      const wrong = differences(made.config.map(withoutActivity), meant.config.map(withoutActivity));
      if (outcome === "done") return [...problems, ...wrong, ...onNodes];
      return [...problems, ...wrong, ...(outcome === "done, left behind" ? nothingIn(onNodes) : [])];
    }
  }
}

function withoutActivity(line: string): string {
  return line.replace(/"disksActive":(true|false)/, "");
}

/** A table that tells of what does not happen is no better than none. */
function nothingIn(found: readonly string[]): readonly string[] {
  return found.length === 0 ? ["nothing is left behind, of which the table says that something is"] : [];
}

async function repeated(
  bed: LogicalUnitBed,
  run: Operation,
  before: ClusterImage,
  after: ClusterImage,
): Promise<readonly string[]> {
  const half = differences(linesOf(imageOf(bed)), linesOf(before));
  if (half.length === 0) return ["nothing has changed: the table need not say that it is to be repeated"];
  tellLiveState(bed);
  const again = await bed.run(...run);
  if (again.status !== "success") return [`repeated it fails: ${JSON.stringify(again.result)}`];
  const [made, meant] = [outlineOf(imageOf(bed), before), outlineOf(after, before)];
  return differences([...made.config, ...made.nodes], [...meant.config, ...meant.nodes]);
}

const FAILING: readonly Outcome[] = [
  "as before",
  "as before, left behind",
  "done, told as failed",
  "to be repeated",
  "half-way",
];

function endsOtherwise({ status, result, log }: FinishedJob, outcome: Outcome): string | undefined {
  const meant = FAILING.includes(outcome) ? "error" : "success";
  if (status === meant) return undefined;
  return `the job ends as ${status} (${JSON.stringify(result)}): ${log.filter((line) => line.includes("WARNING")).join()}`;
}

function toldWrongly({ result, log }: FinishedJob, text: string): readonly string[] {
  const told = [JSON.stringify(result), ...log].join("\n");
  return told.includes(text) ? [] : [`it is told otherwise: ${told}`];
}

async function leftInLedger({ locks, redis, ledger }: LogicalUnitBed): Promise<readonly string[]> {
  const held = (await locks.list()).filter(({ owners }) => owners.length > 0);
  const undo = await redis.client.keys("*:undo");
  const running = await ledger.counts();
  return [
    ...held.map(({ name }) => `the lock ${name} is held`),
    ...undo.map((key) => `an undo list is left: ${key}`),
    ...(running.running > 0 ? ["a job is running"] : []),
  ];
}

/** What is there and should not be, and what is not and should. */
function differences(now: readonly string[], meant: readonly string[]): readonly string[] {
  const rest = [...now];
  const missing = meant.filter((line) => {
    const place = rest.indexOf(line);
    if (place >= 0) rest.splice(place, 1);
    return place < 0;
  });
  return [...rest.map((line) => `too much: ${line}`), ...missing.map((line) => `missing: ${line}`)];
}
