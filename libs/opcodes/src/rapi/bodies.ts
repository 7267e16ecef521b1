/** Bodies of methods that answer at once. */
import { RESOURCE_KINDS } from "@gannet/objects";
import { z } from "zod";
import * as p from "../params.ts";

/** Null, and so no body, counts as an empty object. */
function body<T extends z.ZodRawShape>(shape: T) {
  return z.preprocess((given) => given ?? {}, z.strictObject(shape));
}

const FILTER_ACTIONS = ["ACCEPT", "CONTINUE", "PAUSE", "REJECT"] as const;
const filterAction = z.union([z.enum(FILTER_ACTIONS), z.tuple([z.literal("RATE_LIMIT"), p.positive])], {
  error: 'must be one of ACCEPT, CONTINUE, PAUSE, REJECT, or ["RATE_LIMIT", number above zero]',
});
const filterReason = z.tuple([p.text, p.text, z.number().multipleOf(1)]);

/** A job filter (spec/jobs.json, `filters`). */
export const filterRuleBody = body({
  priority: p.withDefault(p.nonNegative, 0, "Smaller is looked at first."),
  predicates: p.list(
    z.tuple([z.string()], z.unknown()),
    "All must hold: `[name, filter]` each; none: it always applies.",
  ),
  action: p.withDefault(filterAction, "CONTINUE", "What happens to the jobs it applies to."),
  reason: p.list(filterReason, "Who wants this and why."),
});
export type FilterRuleBody = z.output<typeof filterRuleBody>;

/** What a waiter for a job's change knows already (spec/rapi.json, `wait`). */
export const jobWaitBody = body({
  fields: p.requiredList(p.nonEmptyLine, "The job fields to watch."),
  previous_job_info: p.optional(z.array(z.unknown()), "Their values as last seen; null: none seen."),
  previous_log_serial: p.optional(z.int(), "Serial of the last log entry seen; null: none seen."),
});
export type JobWaitBody = z.output<typeof jobWaitBody>;

/** One of Ganeti's three priorities (spec/jobs.json, `change_priority.valid`), which the ledger checks. */
export const jobPriorityBody = body({ priority: p.required(z.int(), "-10, 0 or 10; smaller runs first.") });
export type JobPriorityBody = z.output<typeof jobPriorityBody>;

export const jobQueueBody = body({
  drained: p.required(z.boolean(), "Take no new jobs; those that are queued still run."),
});
export type JobQueueBody = z.output<typeof jobQueueBody>;

const queryFilter = z.array(z.unknown());
/** A query; `filter` is the older name of `qfilter`, used when that is absent. */
export const queryBody = body({
  fields: p.optionalList(p.nonEmptyLine, "Names of the fields; absent: the query argument's."),
  qfilter: p.optional(queryFilter, "Which objects, in the filter language; null: all."),
  filter: p.optional(queryFilter, "Older name of `qfilter`."),
}).transform(({ fields, qfilter, filter }) => ({ fields, qfilter: qfilter ?? filter }));
export type QueryBody = z.output<typeof queryBody>;

const DAY_S = 86_400;
const TOKEN_RIGHTS = ["read", "write"] as const;

/** What a new API token may do, and for how long. */
export const apiTokenBody = body({
  name: p.required(p.nonEmptyLine.max(100), "What it is for."),
  rights: p.required(
    z.partialRecord(z.enum([...RESOURCE_KINDS, "all"]), z.enum(TOKEN_RIGHTS)),
    "What it may do with each kind of resource; `all` stands for those that are not named.",
  ),
  root: p.flag("Whether it may set parameters that let a node run any program, if its maker may."),
  expires_in: p.withDefault(
    z
      .int()
      .min(60)
      .max(3650 * DAY_S),
    90 * DAY_S,
    "Seconds until it is worth nothing.",
  ),
});
export type ApiTokenBody = z.output<typeof apiTokenBody>;

const LONGEST_GRACE_S = 3600;
export const masterFailoverBody = body({
  node: p.required(p.nonEmptyLine, "Node of the master that shall lead."),
  timeout: p.withDefault(
    z.number().min(0).max(LONGEST_GRACE_S),
    60,
    "Seconds for which running opcodes may go on; what takes longer is undone by the new leader.",
  ),
});
export type MasterFailoverBody = z.output<typeof masterFailoverBody>;

const LONGEST_PAUSE_S = 365 * 24 * 60 * 60;
export const watcherPauseBody = body({
  duration: p.required(z.int().min(1).max(LONGEST_PAUSE_S), "Seconds from now."),
});
export type WatcherPauseBody = z.output<typeof watcherPauseBody>;
