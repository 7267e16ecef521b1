import { command, defineOpcode } from "../define.ts";
import * as r from "../results.ts";

export const ClusterDeactivateMasterIp = defineOpcode({
  id: "OP_CLUSTER_DEACTIVATE_MASTER_IP",
  doc: "Take the cluster's address down on the master.",
  params: {},
  result: r.nothing,
  summary: null,
  rapi: [],
  cli: command("cluster deactivate-master-ip"),
});
