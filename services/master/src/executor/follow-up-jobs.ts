/** Jobs that a logical unit submits with its result (spec/jobs.json, `lu_submitted_jobs`). */
import { OpPrereqError } from "@gannet/errors";
import type { FollowUps, Job, NewJob } from "@gannet/job-ledger";
import {
  type Op,
  type OpcodeDeclaration,
  parseOpcode,
  summaryOf,
  type WireOpcode,
  wireOpcode,
  withQueueReason,
} from "@gannet/opcodes";

/** What `exec` answers for `{"jobs": …}`: the opcodes of each job, and what the result says beside the jobs. */
export class ResultWithJobs<Other extends object = object> {
  readonly jobs: readonly (readonly WireOpcode[])[];
  readonly other: Other;

  constructor(jobs: readonly (readonly WireOpcode[])[], other: Other) {
    this.jobs = jobs;
    this.other = other;
  }
}

/** What a unit whose result has jobs in it answers: the jobs are submitted when, and only if, the opcode succeeds. */
export function submitting<Other extends object = object>(
  jobs: readonly (readonly WireOpcode[])[],
  other: Other = {} as Other,
): ResultWithJobs<Other> {
  return new ResultWithJobs(jobs, other);
}

/** The result as the opcode declares it, before the jobs have ids. */
export function withoutIds({ jobs, other }: ResultWithJobs): unknown {
  return { jobs: jobs.map(() => [true, 0]), ...other };
}

/** The logical units, as far as they say what can be done. */
type Performers = ReadonlyMap<string, { unavailable?(op: Op<OpcodeDeclaration>): string | undefined }>;

/**
 * The jobs as they go to the queue: for the same requester, with what they inherit of the opcode that submits them.
 * One that is not valid, or that nothing performs, is told of in its place.
 */
export function followUpsOf(
  { jobs, other }: ResultWithJobs,
  parent: { readonly job: Job; readonly index: number },
  units: Performers,
): FollowUps {
  const inherited = inheritanceOf(parent.job, parent.index);
  const { requester } = parent.job;
  return {
    other: { ...other },
    jobs: jobs.map((opcodes): FollowUps["jobs"][number] => {
      try {
        return { requester, opcodes: opcodes.map((opcode) => submittedOpcode(inherited(opcode), units)) };
      } catch (error) {
        if (!(error instanceof OpPrereqError)) throw error;
        return { refused: error.message };
      }
    }),
  };
}

function inheritanceOf(job: Job, index: number): (opcode: WireOpcode) => WireOpcode {
  const parent = job.opcodes[index];
  if (parent === undefined) throw new Error(`job ${job.id} has no opcode ${index}`);
  const place = { jobId: job.id, index, received: job.receivedTimestamp };
  const { debug_level, reason } = withQueueReason(parent.input, place);
  const trail = Array.isArray(reason) ? reason : [];
  return (opcode) => ({
    ...opcode,
    ...(debug_level === undefined ? {} : { debug_level }),
    priority: opcode.priority ?? parent.input.priority ?? 0,
    comment: opcode.comment || `Submitted by ${parent.input.OP_ID}`,
    reason: [...(Array.isArray(opcode.reason) ? opcode.reason : []), ...trail],
  });
}

/** @throws OpPrereqError (wrong_input) */
function submittedOpcode(opcode: WireOpcode, units: Performers): NewJob["opcodes"][number] {
  const { declaration, op } = parseOpcode(opcode);
  const unit = units.get(declaration.id);
  const lacking = unit === undefined ? "" : unit.unavailable?.(op);
  if (lacking !== undefined)
    throw new OpPrereqError(`${declaration.id}${lacking && ` with ${lacking}`} is not available`, "wrong_input");
  return { input: wireOpcode(declaration, op), summary: summaryOf(declaration, op) };
}
