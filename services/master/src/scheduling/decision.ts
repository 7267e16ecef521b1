/** What happens to a job that could run now: the decision of the filter rules and of its own limits. Pure. */
import { ConfigurationError } from "@gannet/errors";
import type { FilterRule } from "@gannet/objects";
import { compilePredicates, type JobPredicate } from "./filter-predicates.ts";
import type { FilteredJob } from "./filtered-job.ts";
import { adHocLimits, type Limit, ruleLimit } from "./limits.ts";

/** A rule that decides something, ready to be asked. */
export interface JobRule {
  readonly uuid: string;
  readonly effect: "accept" | "pause" | "reject" | Limit;
  readonly applies: JobPredicate;
}

export type Decision =
  /** It takes a place in each of these limits. */
  | { readonly action: "run"; readonly limits: readonly Limit[] }
  /** For a place in each of these limits. */
  | { readonly action: "wait"; readonly limits: readonly Limit[] }
  /** Until the rules change. */
  | { readonly action: "pause" }
  | { readonly action: "reject"; readonly rule: string };

const EFFECTS: ReadonlyMap<string, JobRule["effect"]> = new Map([
  ["ACCEPT", "accept"],
  ["PAUSE", "pause"],
  ["REJECT", "reject"],
]);

/**
 * The rules in the order in which they are asked (spec/jobs.json, `filters.order`). Those that only say CONTINUE
 * decide nothing and are left out.
 *
 * @param onUnusable told of a stored rule that cannot be read; it applies to no job
 */
export function orderedRules(
  rules: Iterable<FilterRule>,
  onUnusable: (rule: FilterRule, error: unknown) => void,
): readonly JobRule[] {
  const inOrder = [...rules].sort(
    (a, b) => a.priority - b.priority || a.watermark - b.watermark || (a.uuid < b.uuid ? -1 : 1),
  );
  return inOrder.flatMap((rule) => {
    if (rule.action === "CONTINUE") return [];
    try {
      return [jobRule(rule)];
    } catch (error) {
      onUnusable(rule, error);
      return [];
    }
  });
}

function jobRule({ uuid, action, predicates, watermark }: FilterRule): JobRule {
  const effect = typeof action === "string" ? EFFECTS.get(action) : limitOf(uuid, action);
  if (effect === undefined) throw new ConfigurationError(`Filter rule ${uuid} has no known action`);
  return { uuid, effect, applies: compilePredicates(predicates, watermark) };
}

function limitOf(uuid: string, [name, count]: readonly unknown[]): Limit | undefined {
  return name === "RATE_LIMIT" && typeof count === "number" && count > 0 ? ruleLimit(uuid, count) : undefined;
}

/** The first rule that applies and decides something; undefined when the job just runs. */
export function applyingRule(rules: readonly JobRule[], job: FilteredJob): JobRule | undefined {
  return rules.find(({ applies }) => applies(job));
}

/**
 * Whether a queued job runs.
 *
 * @param taken how many places of a limit are taken: by jobs that run, and by waiting ones that come before this job
 */
export function decide(rules: readonly JobRule[], job: FilteredJob, taken: (limit: Limit) => number): Decision {
  const rule = applyingRule(rules, job);
  if (rule?.effect === "reject") return { action: "reject", rule: rule.uuid };
  if (rule?.effect === "pause" && !hasBegun(job)) return { action: "pause" };
  const limits = limitsOf(rule, job);
  return { action: limits.every((limit) => taken(limit) < limit.capacity) ? "run" : "wait", limits };
}

/**
 * The rule that keeps a queued job from running, or lets only so many run of which it is one; undefined when none has
 * a say. Whether a limit has a place left is known to the leader's books only.
 */
export function holdingRule(rules: readonly JobRule[], job: FilteredJob): string | undefined {
  const rule = applyingRule(rules, job);
  const holds = typeof rule?.effect === "object" || (rule?.effect === "pause" && !hasBegun(job));
  return holds ? rule.uuid : undefined;
}

/** The limits in which a job takes a place while it runs. */
export function limitsOf(rule: JobRule | undefined, job: FilteredJob): readonly Limit[] {
  const limits = adHocLimits(job);
  return typeof rule?.effect === "object" ? [...limits, rule.effect] : limits;
}

/** A job is not stopped between two of its opcodes. */
function hasBegun({ opcodes }: FilteredJob): boolean {
  return opcodes.some(({ status }) => status === "success");
}
