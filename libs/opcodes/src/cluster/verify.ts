import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const ClusterVerify = defineOpcode({
  id: "OP_CLUSTER_VERIFY",
  doc: "Submit the jobs that verify configuration and node groups.",
  params: {
    debug_simulate_errors: p.debugSimulateErrors,
    error_codes: p.errorCodes,
    skip_checks: p.skipChecks,
    ignore_errors: p.ignoreErrors,
    verbose: p.verbose,
    group_name: p.optionalGroupName,
    verify_clutter: p.verifyClutter,
  },
  result: r.jobIdList,
  summary: null,
  rapi: [],
  cli: command("cluster verify"),
});
