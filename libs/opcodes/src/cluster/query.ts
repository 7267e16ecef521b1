import { command, defineOpcode } from "../define.ts";
import * as r from "../results.ts";

export const ClusterQuery = defineOpcode({
  id: "OP_CLUSTER_QUERY",
  doc: "Describe the cluster.",
  params: {},
  result: r.anyObject,
  summary: null,
  rapi: [],
  cli: command("cluster info"),
});
