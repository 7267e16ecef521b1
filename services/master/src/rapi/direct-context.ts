/** What the handlers of direct resources work with. */
import type { ClusterRows } from "./cluster-rows.ts";
import type { JobRows } from "./job-rows.ts";
import type { JobWaiters } from "./job-waiters.ts";
import type { RapiDeps } from "./rapi-deps.ts";
import type { RootParameters } from "./rights.ts";

export interface DirectContext extends RapiDeps {
  readonly rows: ClusterRows;
  readonly jobRows: JobRows;
  readonly waiters: JobWaiters;
  /** How long a wait for a job lasts before it answers null. */
  readonly waitMs: number;
  /** Option of users who may set parameters that let a node run any program. */
  readonly rootParameters: RootParameters;
  readonly fileRoots: readonly string[];
}
