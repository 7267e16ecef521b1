import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const ClusterRename = defineOpcode({
  id: "OP_CLUSTER_RENAME",
  doc: "Rename the cluster and move it to the new name's address.",
  params: { name: p.required(p.hostName, "The cluster's new name.") },
  result: r.name,
  summary: "name",
  rapi: [],
  cli: command("cluster rename", { args: ["name"] }),
  needsRoot: true,
});
