import { z } from "zod";
import { defineOpcode } from "../define.ts";

export const ClusterPostInit = defineOpcode({
  id: "OP_CLUSTER_POST_INIT",
  doc: "Finish the making of a cluster: run its hooks.",
  params: {},
  result: z.boolean(),
  summary: null,
  rapi: [],
  cli: null,
});
