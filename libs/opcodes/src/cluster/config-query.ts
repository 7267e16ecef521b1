import { z } from "zod";
import { defineOpcode } from "../define.ts";
import * as p from "../params.ts";

export const ClusterConfigQuery = defineOpcode({
  id: "OP_CLUSTER_CONFIG_QUERY",
  doc: "Read values of the cluster's configuration.",
  params: { output_fields: p.outputFields },
  result: z.array(z.unknown()),
  summary: null,
  rapi: [],
  cli: null,
});
