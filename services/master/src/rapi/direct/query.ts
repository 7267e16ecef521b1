/**
 * `/2/query`: objects of any kind by fields and filter, and the lists of those fields (spec/query-fields.json,
 * spec/rapi.json `special.query`). Jobs and locks are fetched only for queries about them.
 */
import { HttpError, OpPrereqError } from "@gannet/errors";
import type { JobId } from "@gannet/job-ledger";
import type { QueryBody } from "@gannet/opcodes";
import {
  type PreparedQuery,
  prepareQuery,
  type QueryNeeds,
  type QuerySource,
  queryFields,
  type ResourceName,
  resourceName,
} from "@gannet/query";
import { liveValuesOf } from "../../live-state/live-values.ts";
import { withExports } from "../../nodes/known-exports.ts";
import { watcherPausedUntil } from "../../watcher/pause.ts";
import { jsonAnswer, textAnswer } from "../answers.ts";
import type { DirectContext } from "../direct-context.ts";
import { type Answer, type HandlerRequest, type Handlers, pathParam } from "../handlers.ts";
import { VERSIONS } from "../versions.ts";

/** More are a mistake: a query for all jobs reads no more at a time, and fewer ids than this. */
const MAX_JOBS_BY_ID = 50_000;
/** Jobs at hand at a time while all are looked through; other requests are served between two pages. */
const JOBS_PAGE = 500;

type JobNeeds = NonNullable<QueryNeeds["jobs"]>;

export function queryHandlers(context: DirectContext): Handlers {
  const { configStore, ledger, locks } = context;
  const live = liveValuesOf(context.liveState);

  const source = async (what: ResourceName): Promise<QuerySource> => ({
    view: configStore.view,
    live: what === "export" ? await withExports(live, configStore.view, context.exportsOn) : live,
    facts: {
      ...VERSIONS,
      queueDrained: what === "cluster" && (await ledger.isDrained()),
      watcherPausedUntil: watcherPausedUntil(configStore.view, context.clock() / 1000),
    },
    jobs: [],
    locks: what === "lock" ? await locks.list() : [],
  });

  return {
    query: async (request) => {
      const what = resourceOf(request);
      const body = request.body as QueryBody | null;
      const fields = body?.fields ?? namesIn(request);
      if (fields === null) throw new HttpError(400, "Missing the required 'fields' parameter");
      const query = prepareQuery({ what, fields, filter: body?.qfilter ?? null });
      const ground = await source(what);
      return query.needs.jobs === null
        ? jsonAnswer(query.run(ground))
        : await jobsAnswer(ledger, query, query.needs.jobs, ground);
    },
    queryFields: (request) => jsonAnswer({ fields: queryFields(resourceOf(request), namesIn(request)) }),
  };
}

function resourceOf(request: HandlerRequest): ResourceName {
  return resourceName(pathParam(request, "resource"));
}

function namesIn({ params }: HandlerRequest): readonly string[] | null {
  return (params.fields as readonly string[] | undefined) ?? null;
}

async function jobsAnswer(
  ledger: DirectContext["ledger"],
  query: PreparedQuery,
  { ids, archived }: JobNeeds,
  source: QuerySource,
): Promise<Answer> {
  if (ids === null) return await allJobsAnswer(ledger, query, archived, source);
  if (ids.length > MAX_JOBS_BY_ID)
    throw new OpPrereqError(`A query asks for at most ${MAX_JOBS_BY_ID} jobs by their ids`, "wrong_input");
  const jobs = await ledger.getMany(ids);
  return jsonAnswer(query.run({ ...source, jobs: jobs.filter((job) => job !== undefined) }));
}

/** All jobs, page by page: what a page came to is kept as text, and the jobs themselves are let go. */
async function allJobsAnswer(
  ledger: DirectContext["ledger"],
  query: PreparedQuery,
  archived: boolean,
  source: QuerySource,
): Promise<Answer> {
  const { fields } = query.run(source);
  const ids = await jobIds(ledger, archived);
  const rows: string[] = [];
  for (let start = 0; start < ids.length; start += JOBS_PAGE) {
    const jobs = await ledger.getMany(ids.slice(start, start + JOBS_PAGE));
    const { data } = query.run({ ...source, jobs: jobs.filter((job) => job !== undefined) });
    for (const row of data) rows.push(JSON.stringify(row));
  }
  return textAnswer(`{"fields":${JSON.stringify(fields)},"data":[${rows.join(",")}]}`);
}

/** In their order. A job that is archived between the two readings is in both, and counts once. */
async function jobIds(ledger: DirectContext["ledger"], archived: boolean): Promise<readonly JobId[]> {
  const ids = await ledger.ids({ archived: false });
  if (!archived) return ids;
  return [...new Set([...ids, ...(await ledger.ids({ archived: true }))])].sort((a, b) => a - b);
}
