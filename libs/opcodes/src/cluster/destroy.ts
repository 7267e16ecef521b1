import { command, defineOpcode } from "../define.ts";
import * as r from "../results.ts";

export const ClusterDestroy = defineOpcode({
  id: "OP_CLUSTER_DESTROY",
  doc: "Destroy an empty cluster.",
  params: {},
  result: r.name,
  summary: null,
  rapi: [],
  cli: command("cluster destroy"),
  needsRoot: true,
});
