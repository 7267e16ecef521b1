import { z } from "zod";
import { defineOpcode } from "../define.ts";
import * as p from "../params.ts";

export const ClusterVerifyConfig = defineOpcode({
  id: "OP_CLUSTER_VERIFY_CONFIG",
  doc: "Verify the cluster's configuration.",
  params: {
    debug_simulate_errors: p.debugSimulateErrors,
    error_codes: p.errorCodes,
    ignore_errors: p.ignoreErrors,
    verbose: p.verbose,
  },
  result: z.boolean(),
  summary: null,
  rapi: [],
  cli: null,
});
