import { command, defineOpcode } from "../define.ts";
import * as r from "../results.ts";

export const ClusterActivateMasterIp = defineOpcode({
  id: "OP_CLUSTER_ACTIVATE_MASTER_IP",
  doc: "Bring the cluster's address up on the master.",
  params: {},
  result: r.nothing,
  summary: null,
  rapi: [],
  cli: command("cluster activate-master-ip"),
});
