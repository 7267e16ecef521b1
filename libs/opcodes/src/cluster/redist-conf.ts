import { command, defineOpcode } from "../define.ts";
import * as r from "../results.ts";
import { put } from "../route.ts";

export const ClusterRedistConf = defineOpcode({
  id: "OP_CLUSTER_REDIST_CONF",
  doc: "Send the configuration to all nodes again.",
  params: {},
  result: r.nothing,
  summary: null,
  rapi: [put("/2/redistribute-config", { handler: "redist_config" })],
  cli: command("cluster redist-conf"),
});
