/** Following a job to its end, its log as it comes. */
import { setTimeout as delay } from "node:timers/promises";
import { HttpError } from "@gannet/errors";
import { JOB_FINAL_STATUSES } from "@gannet/opcodes";
import { AnswerLost, type Job, type RapiClient } from "@gannet/rapi-client";
import type { JobLogWriter, LogEntry } from "../output/job-log.ts";

const FINAL: ReadonlySet<string> = new Set(JOB_FINAL_STATUSES);
/** A cluster whose leader died answers again well before this. */
const PATIENCE_MS = 60_000;
const PAUSE_MS = 1_000;

/**
 * Write a job's log until the job is over.
 * @param write absent: the log is of no interest
 * @throws HttpError 404 when there is no such job; AnswerLost when nobody answers for a minute; the signal's reason
 */
export async function watchJob(
  client: RapiClient,
  id: number,
  { write, signal }: { readonly write?: JobLogWriter; readonly signal: AbortSignal },
): Promise<Job> {
  let serial: number | null = null;
  let seen: readonly unknown[] | null = null;
  let mayWait = true;
  let lostAt: number | undefined;
  for (;;) {
    try {
      const job: Job = await client.jobs.get(id, { signal });
      for (const entry of entriesAfter(job, serial)) {
        write?.write(entry);
        serial = entry[0];
      }
      if (FINAL.has(job.status)) {
        write?.end();
        return job;
      }
      lostAt = undefined;
      seen = [job.status];
      if (mayWait) await untilNews(client, id, seen, serial, signal);
      else await delay(PAUSE_MS, undefined, { signal });
    } catch (error) {
      // Who may only read looks again and again: the resource that waits asks for the right to write.
      if (mayWait && error instanceof HttpError && error.status === 403) {
        mayWait = false;
        continue;
      }
      if (!isPassing(error)) throw error;
      lostAt ??= performance.now();
      if (performance.now() - lostAt > PATIENCE_MS) throw error;
      await delay(PAUSE_MS, undefined, { signal });
    }
  }
}

/** Jobs whose end is waited for together; each writes its own log. The first failure to ask ends all. */
export function watchJobs(
  client: RapiClient,
  ids: readonly number[],
  { writerOf, signal }: { readonly writerOf: (id: number) => JobLogWriter; readonly signal: AbortSignal },
): Promise<readonly Job[]> {
  return Promise.all(ids.map((id) => watchJob(client, id, { write: writerOf(id), signal })));
}

function untilNews(
  client: RapiClient,
  id: number,
  seen: readonly unknown[],
  serial: number | null,
  signal: AbortSignal,
): Promise<unknown> {
  const body = { fields: ["status"], previous_job_info: [...seen], previous_log_serial: serial };
  return client.get("/2/jobs/:job_id/wait", { job_id: id, body }, { signal });
}

function entriesAfter({ oplog }: Job, serial: number | null): readonly LogEntry[] {
  return oplog
    .flat()
    .filter(([one]) => serial === null || one > serial)
    .sort(([a], [b]) => a - b);
}

/** A leader's change, or its Redis away for a moment. */
function isPassing(error: unknown): boolean {
  return error instanceof AnswerLost || (error instanceof HttpError && error.status === 503);
}
