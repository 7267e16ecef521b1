/** `/2/jobs`: lists, one job, cancel, and waiting for a change (spec/rapi.json, `special.wait`). */
import { isDeepStrictEqual } from "node:util";
import { HttpError } from "@gannet/errors";
import type { Job, JobId } from "@gannet/job-ledger";
import type { JobWaitBody } from "@gannet/opcodes";
import { jsonAnswer } from "../answers.ts";
import type { DirectContext } from "../direct-context.ts";
import { BULK_FIELDS, DETAIL_FIELDS, isFinal, type JobField, jobFieldNames, jobRow, jobValues, logEntriesAfter } from "../job-fields.ts";
import { type HandlerRequest, type Handlers, pathParam } from "../handlers.ts";

/** How long a wait lasts before it answers null (`special.wait.server_wait_s`). */
const WAIT_MS = 10_000;

export function jobHandlers({ ledger, waiters }: DirectContext): Handlers {
  return {
    listJobs: async ({ params }) => {
      if (params["bulk"] !== true)
        return jsonAnswer((await ledger.ids({ archived: false })).map((id) => ({ id, uri: `/2/jobs/${id}` })));
      return jsonAnswer((await ledger.list({ archived: false })).map((job) => jobRow(job, BULK_FIELDS)));
    },
    getJob: async (request) => jsonAnswer(jobRow(known(await ledger.get(jobIdOf(request))), DETAIL_FIELDS)),
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
  if (!Number.isSafeInteger(id)) throw noSuchJob();
  return id;
}

function known(job: Job | undefined): Job {
  if (job === undefined) throw noSuchJob();
  return job;
}

function noSuchJob(): HttpError {
  return new HttpError(404, "Not Found");
}

interface Wait {
  readonly fields: readonly JobField[];
  readonly previousInfo: readonly unknown[] | null;
  readonly previousSerial: number | null;
}

function waitOf({ fields, previous_job_info, previous_log_serial }: JobWaitBody): Wait {
  return { fields: jobFieldNames(fields), previousInfo: previous_job_info ?? null, previousSerial: previous_log_serial ?? null };
}

interface News {
  readonly job_info: readonly unknown[];
  readonly log_entries: readonly unknown[];
}

/** What the waiting client does not know yet; undefined when that is nothing. A final job is always news. */
function newsOf(job: Job, wait: Wait): News | undefined {
  const info = jobValues(job, wait.fields);
  const entries = logEntriesAfter(job, wait.previousSerial);
  if (!isFinal(job) && entries.length === 0 && isDeepStrictEqual(info, wait.previousInfo)) return undefined;
  return { job_info: info, log_entries: entries };
}
