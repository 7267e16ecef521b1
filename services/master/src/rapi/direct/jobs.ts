/** `/2/jobs`: lists, one job, cancel, and waiting for a change (spec/rapi.json, `special.wait`). */
import { isDeepStrictEqual } from "node:util";
import { OpPrereqError } from "@gannet/errors";
import type { Job, JobId, LogEntry } from "@gannet/job-ledger";
import type { JobWaitBody } from "@gannet/opcodes";
import { jobDetail, jobRow, RESOURCES } from "@gannet/query";
import { jsonAnswer } from "../answers.ts";
import type { DirectContext } from "../direct-context.ts";
import { type HandlerRequest, type Handlers, pathParam } from "../handlers.ts";
import { notFound } from "../refusals.ts";

/** How long a wait lasts before it answers null (`special.wait.server_wait_s`). */
const WAIT_MS = 10_000;
/** Statuses that a job keeps (spec/jobs.json, `finalized`). */
const OVER: ReadonlySet<string> = new Set(["canceled", "error", "success"]);

export function jobHandlers({ ledger, waiters }: DirectContext): Handlers {
  return {
    listJobs: async ({ params }) => {
      if (params.bulk !== true)
        return jsonAnswer((await ledger.ids({ archived: false })).map((id) => ({ id, uri: `/2/jobs/${id}` })));
      return jsonAnswer((await ledger.list({ archived: false })).map(jobRow));
    },
    getJob: async (request) => jsonAnswer(jobDetail(known(await ledger.get(jobIdOf(request))))),
    cancelJob: async (request) => jsonAnswer(await ledger.cancel(jobIdOf(request))),
    waitForJob: async (request) => {
      const id = jobIdOf(request);
      const wait = waitOf(request.body as JobWaitBody);
      const look = async () => newsOf(known(await ledger.get(id)), wait);
      return jsonAnswer((await waiters.until(id, look, WAIT_MS, request.signal)) ?? null);
    },
  };
}

/** A number too large to be exact names no job. */
function jobIdOf(request: HandlerRequest): JobId {
  const id = Number(pathParam(request, "job_id"));
  if (!Number.isSafeInteger(id)) throw notFound();
  return id;
}

function known(job: Job | undefined): Job {
  if (job === undefined) throw notFound();
  return job;
}

type JobFieldOf = NonNullable<ReturnType<typeof RESOURCES.job.fields.get>>;

interface Wait {
  readonly fields: readonly JobFieldOf[];
  readonly previousInfo: readonly unknown[] | null;
  readonly previousSerial: number | null;
}

function waitOf({ fields, previous_job_info, previous_log_serial }: JobWaitBody): Wait {
  return {
    fields: fields.map(jobField),
    previousInfo: previous_job_info ?? null,
    previousSerial: previous_log_serial ?? null,
  };
}

function jobField(name: string): JobFieldOf {
  const field = RESOURCES.job.fields.get(name);
  if (field === undefined) throw new OpPrereqError(`Jobs have no field ${JSON.stringify(name)}`, "wrong_input");
  return field;
}

interface News {
  /** Values of the fields, in the order asked. */
  readonly job_info: readonly unknown[];
  readonly log_entries: readonly LogEntry[];
}

/** What the waiting client does not know yet; undefined when that is nothing. A job that is over is always news. */
function newsOf(job: Job, { fields, previousInfo, previousSerial }: Wait): News | undefined {
  const info = fields.map((field) => field.cell({ id: job.id, job })[1]);
  const entries = logEntriesAfter(job, previousSerial);
  if (!OVER.has(job.status) && entries.length === 0 && isDeepStrictEqual(info, previousInfo)) return undefined;
  return { job_info: info, log_entries: entries };
}

/** Log entries of all opcodes with a serial above `after`; all when it is null. */
function logEntriesAfter(job: Job, after: number | null): readonly LogEntry[] {
  return job.opcodes.flatMap(({ log }) => log).filter(([serial]) => after === null || serial > after);
}
