/** What a method of a resource is: it submits a job, or it is answered at once. */
import type { z } from "zod";
import type {
  Access,
  CliCommand,
  HttpMethod,
  JobRoute,
  OpcodeDeclaration,
  QueryArguments,
  RawParams,
} from "../define.ts";

/** What answers a request; the remote API's service has one handler for each. */
export const DIRECT_CALLS = [
  "addFilter",
  "addJoinToken",
  "addToken",
  "archiveJob",
  "archiveJobs",
  "balancePlan",
  "cancelJob",
  "capacityPlan",
  "changeJobPriority",
  "completeJoin",
  "deleteFilter",
  "deleteToken",
  "failOverMaster",
  "features",
  "getFilter",
  "getGroup",
  "getInstance",
  "getJob",
  "getNetwork",
  "getNode",
  "getNodeRole",
  "getTags",
  "info",
  "instanceConsole",
  "jobBlockers",
  "jobQueue",
  "join",
  "listFilters",
  "listGroups",
  "listInstances",
  "listJobs",
  "listJoinTokens",
  "listNetworks",
  "listNodes",
  "listOses",
  "listTokens",
  "masters",
  "openApiDocument",
  "openApiPage",
  "pauseWatcher",
  "query",
  "queryFields",
  "rebootPlan",
  "repairPlan",
  "replaceFilter",
  "resumeWatcher",
  "revokeJoinToken",
  "root",
  "setJobQueue",
  "squeezePlan",
  "version",
  "waitForJob",
  "watcher",
] as const;
export type DirectCall = (typeof DIRECT_CALLS)[number];

interface MethodBase {
  readonly method: HttpMethod;
  /** `/2/nodes/:node_name/role` */
  readonly path: string;
  readonly access: Access;
  /** One sentence. */
  readonly doc: string;
}

/** Submits a job: see `buildJobRequest`. */
export interface JobMethod extends MethodBase {
  readonly kind: "job";
  readonly opcode: OpcodeDeclaration;
  readonly route: JobRoute;
}

/** Answers at once: see `parseDirectRequest`. */
export interface DirectMethod extends MethodBase {
  readonly kind: "direct";
  /** What answers it. */
  readonly call: DirectCall;
  /** Gannet's own: Ganeti's remote API has no such method. */
  readonly extension?: true;
  /** What proves the right to it in place of a user's credentials: a token in the body. */
  readonly proof?: "body";
  /** Its commands; a name in the path that is a command's only argument may repeat. */
  readonly cli?: readonly CliCommand[];
  readonly pathParams?: Readonly<Record<string, string>>;
  readonly query?: QueryArguments;
  /** Absent: a body means nothing. */
  readonly body?: z.ZodType;
  readonly fixed?: RawParams;
  readonly result: z.ZodType;
  /** With the query argument `bulk`, where that answers something else. */
  readonly bulkResult?: z.ZodType;
  /** The answer's type, where it is not JSON. */
  readonly mediaType?: string;
}

export type ResourceMethod = JobMethod | DirectMethod;
