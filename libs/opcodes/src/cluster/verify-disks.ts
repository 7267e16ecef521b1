import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const ClusterVerifyDisks = defineOpcode({
  id: "OP_CLUSTER_VERIFY_DISKS",
  doc: "Submit the jobs that verify the disks of each node group.",
  params: { group_name: p.optionalGroupName, is_strict: p.isStrict },
  result: r.jobIdList,
  summary: null,
  rapi: [],
  cli: command("cluster verify-disks"),
});
