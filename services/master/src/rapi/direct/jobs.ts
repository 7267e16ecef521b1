/**
 * `/2/jobs`: lists, one job, cancel, waiting for a change (spec/rapi.json, `special.wait`); and, beyond Ganeti's API,
 * what a waiting job waits for, its priority, archiving, and `/2/queue`, the queue as a whole.
 */
import { isDeepStrictEqual } from "node:util";
import { OpPrereqError } from "@gannet/errors";
import type { Dependency, Job, JobId, LogEntry } from "@gannet/job-ledger";
import type { FilterRule } from "@gannet/objects";
import type { JobPriorityBody, JobQueueBody, JobWaitBody } from "@gannet/opcodes";
import { jobDetail, RESOURCES } from "@gannet/query";
import type { Logger } from "@gannet/telemetry";
import { holdingRule, orderedRules } from "../../scheduling/decision.ts";
import { jsonAnswer } from "../answers.ts";
import type { DirectContext } from "../direct-context.ts";
import { type HandlerRequest, type Handlers, pathParam } from "../handlers.ts";
import { notFound } from "../refusals.ts";

/** How long a request may archive; what is left then is told (spec/jobs.json, `archive`). */
const ARCHIVE_MS = 30_000;
/** Statuses that a job keeps (spec/jobs.json, `finalized`). */
const OVER: ReadonlySet<string> = new Set(["canceled", "error", "success"]);

export function jobHandlers({ configStore, ledger, locks, jobRows, waiters, waitMs, logger }: DirectContext): Handlers {
  return {
    listJobs: async ({ params }) => {
      const page = { after: Number(params.after ?? 0), limit: Number(params.limit ?? Number.MAX_SAFE_INTEGER) };
      if (params.bulk === true) return await jobRows.bulk(page);
      const ids = await ledger.ids({ archived: false, ...page });
      return jsonAnswer(ids.map((id) => ({ id, uri: `/2/jobs/${id}` })));
    },
    getJob: async (request) => jsonAnswer(jobDetail(known(await ledger.get(jobIdOf(request))))),
    cancelJob: async (request) => jsonAnswer(await ledger.cancel(jobIdOf(request))),
    waitForJob: async (request) => {
      const id = jobIdOf(request);
      const wait = waitOf(request.body as JobWaitBody);
      const look = (job: Job | undefined) => newsOf(known(job), wait);
      return jsonAnswer((await waiters.until(id, look, waitMs, request.signal)) ?? null);
    },
    changeJobPriority: async (request) => {
      const { id } = known(await ledger.get(jobIdOf(request)));
      return jsonAnswer(await ledger.changePriority(id, (request.body as JobPriorityBody).priority));
    },
    archiveJob: async (request) => {
      const { id } = known(await ledger.get(jobIdOf(request)));
      return jsonAnswer(await ledger.archive(id));
    },
    archiveJobs: async ({ params }) => jsonAnswer(await ledger.autoArchive(Number(params.age ?? -1), ARCHIVE_MS)),
    jobQueue: async () => jsonAnswer(await jobQueue(ledger)),
    setJobQueue: async ({ body }) => {
      await ledger.setDrained((body as JobQueueBody).drained);
      return jsonAnswer(await jobQueue(ledger));
    },
    jobBlockers: async (request) => {
      const job = known(await ledger.get(jobIdOf(request)));
      const blockers = [...(await unfinishedDependencies(ledger, job)), ...(await heldLocks(locks, job))];
      // What else a job waits for is looked at first, so that a rule is named only where nothing else holds the job.
      return jsonAnswer(blockers.length > 0 ? blockers : filterOf(configStore.view.filters.values(), job, logger));
    },
  };
}

async function jobQueue(ledger: DirectContext["ledger"]) {
  const [drained, jobs] = await Promise.all([ledger.isDrained(), ledger.counts()]);
  return { drained, jobs };
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

/** What a waiting job waits for, and the jobs that must end or let go first. */
type Blocker =
  | {
      /** The lock's name; null for the jobs whose end the job depends on. */
      readonly lock: string | null;
      readonly blocked_by: readonly JobId[];
    }
  /** The UUID of a filter rule that pauses the job, or lets only some of its kind run at once. */
  | { readonly filter: string };

function filterOf(filters: Iterable<FilterRule>, job: Job, logger: Logger): readonly Blocker[] {
  if (job.status !== "queued") return [];
  const rules = orderedRules(filters, ({ uuid }) => logger.warn({ filter: uuid }, "a filter rule cannot be read"));
  const uuid = holdingRule(rules, job);
  return uuid === undefined ? [] : [{ filter: uuid }];
}

/** The jobs that must be over before a queued job's next opcode can begin; their numbers are absolute by now. */
async function unfinishedDependencies(ledger: DirectContext["ledger"], job: Job): Promise<readonly Blocker[]> {
  if (job.status !== "queued") return [];
  const next = job.opcodes.find(({ status }) => status === "queued");
  const ids = ((next?.input.depends ?? []) as readonly Dependency[]).map(([id]) => id);
  if (ids.length === 0) return [];
  const unfinished = (await ledger.getMany(ids)).flatMap((other) =>
    other === undefined || OVER.has(other.status) ? [] : [other.id],
  );
  return unfinished.length === 0 ? [] : [{ lock: null, blocked_by: unfinished }];
}

/** The locks that a job has asked for and not been granted. */
async function heldLocks(locks: DirectContext["locks"], job: Job): Promise<readonly Blocker[]> {
  if (OVER.has(job.status)) return [];
  return (await locks.explain(job.id)).map(({ lock, blockedBy }) => ({ lock, blocked_by: blockedBy }));
}
