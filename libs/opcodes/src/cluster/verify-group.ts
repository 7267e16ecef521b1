import { z } from "zod";
import { defineOpcode } from "../define.ts";
import * as p from "../params.ts";

export const ClusterVerifyGroup = defineOpcode({
  id: "OP_CLUSTER_VERIFY_GROUP",
  doc: "Verify the nodes and instances of a group.",
  params: {
    group_name: p.groupName,
    debug_simulate_errors: p.debugSimulateErrors,
    error_codes: p.errorCodes,
    skip_checks: p.skipChecks,
    ignore_errors: p.ignoreErrors,
    verbose: p.verbose,
    verify_clutter: p.verifyClutter,
  },
  result: z.boolean(),
  summary: "group_name",
  rapi: [],
  cli: null,
});
