/**
 * The predicates of job filters (spec/jobs.json, `filters.predicates`): what a job must be for a rule to apply, in
 * the filter language of queries.
 */
import { OpPrereqError } from "@gannet/errors";
import type { JobId } from "@gannet/job-ledger";
import { redact } from "@gannet/opcodes";
import { compileFilter, type FilterOperand, normal } from "@gannet/query";
import { type FilteredJob, type Reason, reasonsOf } from "./filtered-job.ts";

export type JobPredicate = (job: FilteredJob) => boolean;

/** In place of a number, the last job id that was given out when the rule was made. */
const WATERMARK = "watermark";

const JOB_FIELDS = operands<JobId>({ id: (id) => id });
const REASON_FIELDS = operands<Reason>({
  source: ([source]) => source,
  reason: ([, text]) => text,
  timestamp: ([, , timeNs]) => timeNs,
});

/** Tried on these, a filter shows whether it compares each field with what the field can hold. */
const SAMPLE_JOB: JobId = 1;
const SAMPLE_REASON: Reason = ["gnt:user", "", 0];

const COMPILERS: Readonly<Record<string, (filter: unknown, watermark: JobId) => JobPredicate>> = {
  jobid(filter, watermark) {
    const accepts = compileFilter(withWatermark(filter, watermark), (name) => JOB_FIELDS.get(name));
    accepts(SAMPLE_JOB);
    return ({ id }) => accepts(id);
  },
  opcode(filter) {
    const accepts = compileFilter(filter, opcodeField);
    return ({ opcodes }) => opcodes.some(({ input }) => accepts(redact(input)));
  },
  reason(filter) {
    const accepts = compileFilter(filter, (name) => REASON_FIELDS.get(name));
    accepts(SAMPLE_REASON);
    return ({ opcodes }) => opcodes.some(({ input }) => reasonsOf(input).some((reason) => accepts(reason)));
  },
};

const NAMES = Object.keys(COMPILERS).join(", ");

/**
 * Whether a job has all that a rule asks for.
 *
 * A field that an opcode does not have is null there, which equals nothing. A job whose values cannot be compared
 * with the rule's is none that it applies to.
 *
 * @param predicates `[name, filter]` each; none: every job
 * @throws OpPrereqError `wrong_input` on an unknown predicate or a filter that is none
 */
export function compilePredicates(predicates: readonly unknown[], watermark: JobId): JobPredicate {
  const compile = () => predicates.map((predicate) => compilePredicate(predicate, watermark));
  let compiled = compile();
  const holds: JobPredicate = (job) => compiled.every((predicate) => predicate(job));
  return (job) => {
    try {
      return holds(job);
    } catch {
      // What a compiled regular expression may cost is bounded for one query. A rule outlives that: once more, anew.
      compiled = compile();
    }
    try {
      return holds(job);
    } catch {
      return false;
    }
  };
}

function compilePredicate(predicate: unknown, watermark: JobId): JobPredicate {
  const isPair = Array.isArray(predicate) && predicate.length === 2;
  const [name, filter] = isPair ? (predicate as readonly unknown[]) : [];
  const compile = typeof name === "string" && Object.hasOwn(COMPILERS, name) ? COMPILERS[name] : undefined;
  if (compile === undefined)
    throw wrong(`A predicate is [name, filter], its name one of ${NAMES}; not ${shown(predicate)}`);
  try {
    return compile(filter, watermark);
  } catch (error) {
    if (error instanceof OpPrereqError) throw wrong(`Predicate '${name}': ${error.message}`);
    throw error;
  }
}

/** Of the opcode's JSON, `name` or, within objects, `name.name`. */
function opcodeField(name: string): FilterOperand<object> {
  const path = name.split(".");
  return {
    cell: (opcode) => {
      let value: unknown = opcode;
      for (const part of path) {
        if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return normal(null);
        value = (value as Readonly<Record<string, unknown>>)[part];
      }
      return normal(value);
    },
  };
}

function withWatermark(filter: unknown, watermark: JobId): unknown {
  if (!Array.isArray(filter)) return filter;
  const [operator, ...args] = filter as readonly unknown[];
  if (args.length === 2 && args[0] === "id" && args[1] === WATERMARK) return [operator, "id", watermark];
  return [operator, ...args.map((part) => withWatermark(part, watermark))];
}

function operands<Row>(
  values: Readonly<Record<string, (row: Row) => unknown>>,
): ReadonlyMap<string, FilterOperand<Row>> {
  return new Map(Object.entries(values).map(([name, value]) => [name, { cell: (row: Row) => normal(value(row)) }]));
}

function shown(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 80) ?? "nothing";
}

function wrong(message: string): OpPrereqError {
  return new OpPrereqError(message, "wrong_input");
}
