/** The methods of the remote API that answer at once, without a job (spec/rapi.json, `kind` static and direct). */
import { z } from "zod";
import type { HttpMethod, QueryArguments } from "../define.ts";
import * as r from "../results.ts";
import { flag } from "../route.ts";
import { filterRuleBody, jobPriorityBody, jobQueueBody, jobWaitBody, queryBody } from "./bodies.ts";
import type { DirectCall, DirectMethod } from "./methods.ts";

const bulk = { bulk: flag };
const lock = { lock: flag };
/** Gannet's own: at most `limit` jobs, those whose ids follow `after`. */
const page = { limit: { type: "count", atLeast: 1 }, after: { type: "count" } } as const satisfies QueryArguments;
const object = r.anyObject;

/** `[{id, uri}]` or `[{name, uri}]`, or with `bulk=1` whole objects. */
const listing = z.array(object);
const uuid = z.string();
const role = z.enum(["drained", "master", "master-candidate", "offline", "regular"]);
const blockers = z.array(
  z.union([z.object({ lock: z.string().nullable(), blocked_by: z.array(z.int()) }), z.object({ filter: z.string() })]),
);
/** Whether it was done, and why or why not. */
const verdict = z.tuple([z.boolean(), z.string()]);
const jobQueue = z.object({ drained: z.boolean(), jobs: z.record(z.string(), z.int()) });
const jobChange = z.object({ job_info: z.array(z.unknown()), log_entries: z.array(z.unknown()) }).nullable();

type Options = Partial<Omit<DirectMethod, "kind" | "method" | "path" | "call" | "doc" | "result">>;

/** Unless the options say otherwise a method needs no access right. */
function direct(
  method: HttpMethod,
  path: string,
  call: DirectCall,
  doc: string,
  result: z.ZodType,
  options: Options = {},
): DirectMethod {
  return { kind: "direct", method, path, call, doc, result, access: "none", ...options };
}

export const DIRECT_METHODS: readonly DirectMethod[] = [
  direct("GET", "/", "root", "Nothing; tells that somebody answers.", z.null()),
  direct("GET", "/2", "root", "Nothing; tells that version 2 answers.", z.null()),
  direct("GET", "/version", "version", "The remote API's version.", z.literal(2)),
  direct("GET", "/2/features", "features", "Names of the optional request forms that are understood.", r.names),
  direct("GET", "/2/info", "info", "Describe the cluster.", object),
  direct("GET", "/2/os", "listOses", "List the OSes that instances can be installed with.", z.array(z.unknown()), {
    query: bulk,
  }),

  direct("GET", "/2/filters", "listFilters", "List the job filters.", listing, { query: bulk }),
  direct("POST", "/2/filters", "addFilter", "Add a job filter.", uuid, { access: "write", body: filterRuleBody }),
  direct("GET", "/2/filters/:filter_uuid", "getFilter", "Describe a job filter.", object),
  direct("PUT", "/2/filters/:filter_uuid", "replaceFilter", "Set a job filter.", uuid, {
    access: "write",
    body: filterRuleBody,
  }),
  direct("DELETE", "/2/filters/:filter_uuid", "deleteFilter", "Remove a job filter.", z.null(), { access: "write" }),

  direct("GET", "/2/groups", "listGroups", "List the node groups.", listing, { query: bulk }),
  direct("GET", "/2/groups/:group_name", "getGroup", "Describe a node group.", object, { query: lock }),
  direct("GET", "/2/instances", "listInstances", "List the instances.", listing, { query: { ...bulk, ...lock } }),
  direct("GET", "/2/instances/:instance_name", "getInstance", "Describe an instance.", object, { query: lock }),
  direct(
    "GET",
    "/2/instances/:instance_name/console",
    "instanceConsole",
    "Tell how to reach a running instance's console.",
    object,
    { access: "read" },
  ),
  direct("GET", "/2/networks", "listNetworks", "List the networks.", listing, { query: bulk }),
  direct("GET", "/2/networks/:network_name", "getNetwork", "Describe a network.", object, { query: lock }),
  direct("GET", "/2/nodes", "listNodes", "List the nodes.", listing, { query: bulk }),
  direct("GET", "/2/nodes/:node_name", "getNode", "Describe a node.", object, { query: lock }),
  direct("GET", "/2/nodes/:node_name/role", "getNodeRole", "The role of a node.", role, { query: lock }),

  direct("GET", "/2/jobs", "listJobs", "List the jobs that are not archived, oldest first.", listing, {
    query: { ...bulk, ...page },
  }),
  direct("GET", "/2/jobs/:job_id", "getJob", "Describe a job.", object),
  direct("DELETE", "/2/jobs/:job_id", "cancelJob", "Cancel a job that has not begun.", verdict, { access: "write" }),
  direct("GET", "/2/jobs/:job_id/wait", "waitForJob", "Wait until something of a job changes.", jobChange, {
    access: "write",
    body: jobWaitBody,
  }),
  direct(
    "GET",
    "/2/jobs/:job_id/blockers",
    "jobBlockers",
    "Which jobs a waiting job waits for, for each lock, with null for the jobs whose end it waits for; or which filter.",
    blockers,
    { access: "read", extension: true },
  ),
  // Ganeti has the following on its command line only.
  direct("PUT", "/2/jobs/:job_id/priority", "changeJobPriority", "Change how urgent a pending job is.", verdict, {
    access: "write",
    body: jobPriorityBody,
    extension: true,
  }),
  direct(
    "POST",
    "/2/jobs/:job_id/archive",
    "archiveJob",
    "Take a job that is over out of the lists; false when it is not over.",
    z.boolean(),
    { access: "write", extension: true },
  ),
  direct("GET", "/2/queue", "jobQueue", "How the job queue is: whether drained, and its jobs by status.", jobQueue, {
    access: "read",
    extension: true,
  }),
  direct("PUT", "/2/queue", "setJobQueue", "Drain the job queue, or open it again.", jobQueue, {
    access: "write",
    body: jobQueueBody,
    extension: true,
  }),
  direct(
    "POST",
    "/2/queue/archive",
    "archiveJobs",
    "Archive the jobs that have been over for longer than `age` seconds; all that are over when it is absent.",
    z.object({ archived: z.int(), left: z.int() }),
    { access: "write", query: { age: { type: "count" } }, extension: true },
  ),

  direct("GET", "/2/query/:resource", "query", "List objects of one kind by fields.", r.queryResponse, {
    access: "read",
    query: { fields: { type: "list", required: true } },
  }),
  direct("PUT", "/2/query/:resource", "query", "List objects of one kind by fields and filter.", r.queryResponse, {
    access: "read",
    query: { fields: { type: "list" } },
    body: queryBody,
  }),
  direct(
    "GET",
    "/2/query/:resource/fields",
    "queryFields",
    "Describe the fields of one kind of object.",
    r.queryFieldsResponse,
    { query: { fields: { type: "list" } } },
  ),

  direct("GET", "/2/tags", "getTags", "List the cluster's tags.", r.names, { fixed: { kind: "cluster" } }),
  direct("GET", "/2/groups/:group_name/tags", "getTags", "List a node group's tags.", r.names, {
    fixed: { kind: "nodegroup" },
    pathParams: { group_name: "name" },
  }),
  direct("GET", "/2/instances/:instance_name/tags", "getTags", "List an instance's tags.", r.names, {
    fixed: { kind: "instance" },
    pathParams: { instance_name: "name" },
  }),
  direct("GET", "/2/networks/:network_name/tags", "getTags", "List a network's tags.", r.names, {
    fixed: { kind: "network" },
    pathParams: { network_name: "name" },
  }),
  direct("GET", "/2/nodes/:node_name/tags", "getTags", "List a node's tags.", r.names, {
    fixed: { kind: "node" },
    pathParams: { node_name: "name" },
  }),
];
