/** The methods of the remote API that answer at once, without a job (spec/rapi.json, `kind` static and direct). */
import { DISK_TEMPLATES } from "@gannet/objects";
import { z } from "zod";
import { type Access, command, type HttpMethod, type QueryArguments } from "../define.ts";
import * as r from "../results.ts";
import { flag } from "../route.ts";
import * as a from "./answers.ts";
import {
  apiTokenBody,
  filterRuleBody,
  jobPriorityBody,
  jobQueueBody,
  jobWaitBody,
  masterFailoverBody,
  queryBody,
  watcherPauseBody,
} from "./bodies.ts";
import * as join from "./join.ts";
import * as m from "./master-answers.ts";
import type { DirectCall, DirectMethod } from "./methods.ts";
import * as plan from "./plan-answers.ts";
import * as watch from "./watcher-answers.ts";

const bulk = { bulk: flag };
const lock = { lock: flag };
/** Gannet's own: at most `limit` jobs, those whose ids follow `after`. */
const page = { limit: { type: "count", atLeast: 1 }, after: { type: "count" } } as const satisfies QueryArguments;
const group = { type: "repeated" } as const satisfies QueryArguments[string];
const templates = Object.fromEntries(DISK_TEMPLATES.map((template) => [template, template]));
type Options = Partial<Omit<DirectMethod, "kind" | "method" | "path" | "call" | "doc" | "result">>;

/** Unless the options say otherwise a method needs no access right. */
function direct<
  const Method extends HttpMethod,
  const Path extends string,
  Result extends z.ZodType,
  const Given extends Options = Record<never, never>,
>(method: Method, path: Path, call: DirectCall, doc: string, result: Result, options?: Given) {
  return { kind: "direct" as const, method, path, call, doc, result, access: "none" as Access, ...(options as Given) };
}

export const DIRECT_METHODS = [
  direct("GET", "/", "root", "Nothing; tells that somebody answers.", z.null()),
  direct("GET", "/2", "root", "Nothing; tells that version 2 answers.", z.null()),
  direct("GET", "/version", "version", "The remote API's version.", z.literal(2)),
  direct("GET", "/2/features", "features", "Names of the optional request forms that are understood.", r.names),
  direct("GET", "/2/openapi.json", "openApiDocument", "This API as an OpenAPI 3.1 document.", r.anyObject, {
    extension: true,
  }),
  direct("GET", "/2/openapi", "openApiPage", "This API as a page to read.", z.string(), {
    extension: true,
    mediaType: "text/html",
  }),
  direct("GET", "/2/info", "info", "Describe the cluster.", a.clusterAnswer, { cli: [command("cluster info")] }),
  direct("GET", "/2/os", "listOses", "List the OSes that instances can be installed with.", r.names, {
    query: bulk,
    bulkResult: z.array(a.osAnswer),
  }),

  direct("GET", "/2/filters", "listFilters", "List the job filters.", z.array(a.filterEntry), {
    query: bulk,
    bulkResult: z.array(a.filterAnswer),
  }),
  direct("POST", "/2/filters", "addFilter", "Add a job filter.", r.name, {
    access: "write",
    body: filterRuleBody,
    cli: [command("filter add")],
  }),
  direct("GET", "/2/filters/:filter_uuid", "getFilter", "Describe a job filter.", a.filterAnswer, {
    cli: [command("filter info", { args: ["filter_uuid"] })],
  }),
  direct("PUT", "/2/filters/:filter_uuid", "replaceFilter", "Set a job filter.", r.name, {
    access: "write",
    body: filterRuleBody,
    cli: [command("filter replace", { args: ["filter_uuid"] })],
  }),
  direct("DELETE", "/2/filters/:filter_uuid", "deleteFilter", "Remove a job filter.", z.null(), {
    access: "write",
    cli: [command("filter delete", { args: ["filter_uuid"] })],
  }),

  direct("GET", "/2/groups", "listGroups", "List the node groups.", z.array(a.namedEntry), {
    query: bulk,
    bulkResult: z.array(a.groupAnswer),
  }),
  direct("GET", "/2/groups/:group_name", "getGroup", "Describe a node group.", a.groupAnswer, {
    query: lock,
    cli: [command("group info", { args: ["group_name"] })],
  }),
  direct("GET", "/2/instances", "listInstances", "List the instances.", z.array(a.instanceEntry), {
    query: { ...bulk, ...lock },
    bulkResult: z.array(a.instanceAnswer),
  }),
  direct("GET", "/2/instances/:instance_name", "getInstance", "Describe an instance.", a.instanceAnswer, {
    query: lock,
  }),
  direct(
    "GET",
    "/2/instances/:instance_name/console",
    "instanceConsole",
    "Tell how to reach a running instance's console.",
    a.consoleAnswer,
    { access: "read" },
  ),
  direct("GET", "/2/networks", "listNetworks", "List the networks.", z.array(a.namedEntry), {
    query: bulk,
    bulkResult: z.array(a.networkAnswer),
  }),
  direct("GET", "/2/networks/:network_name", "getNetwork", "Describe a network.", a.networkAnswer, {
    query: lock,
    cli: [command("network info", { args: ["network_name"] })],
  }),
  direct("GET", "/2/nodes", "listNodes", "List the nodes.", z.array(a.idEntry), {
    query: bulk,
    bulkResult: z.array(a.nodeAnswer),
  }),
  direct("GET", "/2/nodes/:node_name", "getNode", "Describe a node.", a.nodeDetailAnswer, {
    query: lock,
    cli: [command("node info", { args: ["node_name"] })],
  }),
  direct("GET", "/2/nodes/:node_name/role", "getNodeRole", "The role of a node.", a.nodeRole, { query: lock }),

  direct("GET", "/2/jobs", "listJobs", "List the jobs that are not archived, oldest first.", z.array(a.jobEntry), {
    query: { ...bulk, ...page },
    bulkResult: z.array(a.jobAnswer),
  }),
  direct("GET", "/2/jobs/:job_id", "getJob", "Describe a job.", a.jobDetailAnswer, {
    cli: [command("job info", { args: ["job_id"] })],
  }),
  direct("DELETE", "/2/jobs/:job_id", "cancelJob", "Cancel a job that has not begun.", a.verdict, {
    access: "write",
    cli: [command("job cancel", { args: ["job_id"] })],
  }),
  direct("GET", "/2/jobs/:job_id/wait", "waitForJob", "Wait until something of a job changes.", a.jobChangeAnswer, {
    access: "write",
    body: jobWaitBody,
  }),
  direct(
    "GET",
    "/2/jobs/:job_id/blockers",
    "jobBlockers",
    "Which jobs a waiting job waits for, for each lock, with null for the jobs whose end it waits for; or which filter.",
    a.blockers,
    { access: "read", extension: true, cli: [command("job blockers", { args: ["job_id"] })] },
  ),
  // Ganeti has the following on its command line only.
  direct("PUT", "/2/jobs/:job_id/priority", "changeJobPriority", "Change how urgent a pending job is.", a.verdict, {
    access: "write",
    body: jobPriorityBody,
    extension: true,
    cli: [command("job change-priority", { args: ["job_id", "priority"] })],
  }),
  direct(
    "POST",
    "/2/jobs/:job_id/archive",
    "archiveJob",
    "Take a job that is over out of the lists; false when it is not over.",
    z.boolean(),
    { access: "write", extension: true, cli: [command("job archive", { args: ["job_id"] })] },
  ),
  direct(
    "GET",
    "/2/queue",
    "jobQueue",
    "How the job queue is: whether drained, and its jobs by status.",
    a.jobQueueAnswer,
    { access: "read", extension: true, cli: [command("cluster queue info")] },
  ),
  direct("PUT", "/2/queue", "setJobQueue", "Drain the job queue, or open it again.", a.jobQueueAnswer, {
    access: "write",
    body: jobQueueBody,
    extension: true,
    cli: [
      command("cluster queue drain", { fixed: { drained: true }, doc: "Take no new jobs." }),
      command("cluster queue undrain", { fixed: { drained: false }, doc: "Take jobs again." }),
    ],
  }),
  direct(
    "POST",
    "/2/queue/archive",
    "archiveJobs",
    "Archive the jobs that have been over for longer than `age` seconds; all that are over when it is absent.",
    z.object({ archived: z.int(), left: z.int() }),
    {
      access: "write",
      query: { age: { type: "count" } },
      extension: true,
      cli: [command("job autoarchive", { args: ["age"] })],
    },
  ),

  // Ganeti's masters are told of by programs on their nodes (gnt-cluster(8), master-failover, master-ping).
  direct("GET", "/2/master", "masters", "Which master leads, and which stand by.", m.mastersAnswer, {
    access: "read",
    extension: true,
    cli: [command("cluster masters")],
  }),
  direct(
    "POST",
    "/2/master/failover",
    "failOverMaster",
    "Let another master lead; answered when it does.",
    m.masterFailoverAnswer,
    {
      access: "write",
      body: masterFailoverBody,
      extension: true,
      cli: [command("cluster master-failover", { args: ["node"] })],
    },
  ),

  // Ganeti's watcher is a program of its own, which its command line pauses.
  direct("GET", "/2/watcher", "watcher", "What the watcher sees, does and waits with.", watch.watcherAnswer, {
    access: "read",
    extension: true,
    cli: [command("cluster watcher info")],
  }),
  direct(
    "PUT",
    "/2/watcher/pause",
    "pauseWatcher",
    "Let the watcher do nothing for a while.",
    watch.watcherPauseAnswer,
    {
      access: "write",
      body: watcherPauseBody,
      extension: true,
      cli: [command("cluster watcher pause", { args: ["duration"] })],
    },
  ),
  direct("PUT", "/2/watcher/continue", "resumeWatcher", "End the watcher's pause.", watch.watcherPauseAnswer, {
    access: "write",
    extension: true,
    cli: [command("cluster watcher continue")],
  }),

  // What htools compute beside Ganeti, from the cluster as it is now. Nothing of a plan is carried out by asking for it.
  direct(
    "GET",
    "/2/plans/balance",
    "balancePlan",
    "Moves that make the load of a group's nodes more even, with the score before and after, as hbal gives them.",
    z.array(plan.balanceAnswer),
    {
      access: "read",
      extension: true,
      cli: [command("cluster plan balance")],
      query: {
        group,
        max_moves: { type: "count" },
        select: { type: "list" },
        exclude: { type: "list" },
        evacuate: flag,
        no_disk_moves: flag,
        no_instance_moves: flag,
      },
    },
  ),
  direct(
    "GET",
    "/2/plans/capacity",
    "capacityPlan",
    "How many more instances of the policy's standard size fit, by group and disk template, as hspace counts them.",
    z.array(plan.capacityAnswer),
    {
      access: "read",
      extension: true,
      cli: [command("cluster plan capacity")],
      query: { group, disk_template: { type: "string", values: templates } },
    },
  ),
  direct(
    "GET",
    "/2/plans/reboots",
    "rebootPlan",
    "Nodes that can be rebooted at the same time, in their order, as hroller plans it.",
    z.array(plan.rebootAnswer),
    {
      access: "read",
      extension: true,
      cli: [command("cluster plan reboots")],
      query: { group, node_tags: { type: "list" }, offline: flag },
    },
  ),
  direct(
    "GET",
    "/2/plans/squeeze",
    "squeezePlan",
    "Standby nodes that can be emptied and switched off, or the one to be switched on, as hsqueeze plans it.",
    plan.squeezeAnswer,
    {
      access: "read",
      extension: true,
      cli: [command("cluster plan squeeze")],
      query: { target: { type: "count" }, minimal: { type: "count" } },
    },
  ),
  direct(
    "GET",
    "/2/plans/repairs",
    "repairPlan",
    "What instances need whose nodes fail them, and the job that their tags allow, as harep does it.",
    z.array(plan.repairAnswer),
    {
      access: "read",
      extension: true,
      cli: [command("cluster plan repairs")],
      query: { iallocator: { type: "string" } },
    },
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

  // A node or a master joins the cluster: a token is made for it by a user, and shown by it once.
  direct(
    "GET",
    "/2/join-tokens",
    "listJoinTokens",
    "List the tokens for joining that nobody has used.",
    join.joinTokens,
    { access: "write", extension: true, cli: [command("node list-join-tokens")] },
  ),
  direct(
    "POST",
    "/2/join-tokens",
    "addJoinToken",
    "Make a one-time token by which a node or a master joins within 15 minutes. Only this answer holds the token itself.",
    join.newJoinTokenAnswer,
    {
      access: "write",
      body: join.joinTokenBody,
      extension: true,
      cli: [
        command("node add", {
          args: ["node_name"],
          fixed: { role: "node" },
          doc: "Let a machine join as a node: prints the one line to run there, within 15 minutes.",
        }),
        command("node add-master", {
          args: ["node_name"],
          fixed: { role: "master" },
          doc: "Let a node become a master's machine, too: prints the one line to run there, within 15 minutes.",
        }),
      ],
    },
  ),
  direct("DELETE", "/2/join-tokens/:token_id", "revokeJoinToken", "Revoke a token for joining.", z.null(), {
    access: "write",
    extension: true,
    cli: [command("node revoke-join-token", { args: ["token_id"] })],
  }),
  direct(
    "POST",
    "/2/join",
    "join",
    "Join the cluster with a token: get a certificate for one's own key.",
    join.joinAnswer,
    {
      body: join.joinBody,
      proof: "body",
      extension: true,
    },
  ),
  direct(
    "POST",
    "/2/join/complete",
    "completeJoin",
    "Tell that the agent of a node that has joined runs: OP_NODE_ADD is submitted; asked again, tell how it goes.",
    join.joinCompletionAnswer,
    { body: join.joinCompletionBody, proof: "body", extension: true },
  ),

  direct("GET", "/2/tokens", "listTokens", "List API tokens: one's own; all of them to who may write.", a.tokens, {
    access: "read",
    extension: true,
    cli: [command("token list")],
  }),
  direct(
    "POST",
    "/2/tokens",
    "addToken",
    "Make an API token, which gives at most what its maker may do. Only this answer holds the token itself.",
    a.newTokenAnswer,
    { access: "read", body: apiTokenBody, extension: true, cli: [command("token add", { args: ["name"] })] },
  ),
  direct("DELETE", "/2/tokens/:token_id", "deleteToken", "Revoke an API token.", z.null(), {
    access: "read",
    extension: true,
    cli: [command("token remove", { args: ["token_id"] })],
  }),

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
] as const satisfies readonly DirectMethod[];

/** The declaration of each of them, with its path, its body and its results as types. */
export type KnownDirectMethod = (typeof DIRECT_METHODS)[number];
