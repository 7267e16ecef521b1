import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { post } from "../route.ts";

export const NodeMigrate = defineOpcode({
  id: "OP_NODE_MIGRATE",
  doc: "Submit the jobs that migrate all instances that run on a node.",
  params: {
    node_name: p.nodeName,
    node_uuid: p.uuid,
    mode: p.migrationMode,
    live: p.live,
    target_node: p.targetNode,
    target_node_uuid: p.uuid,
    allow_runtime_changes: p.allowRuntimeChanges,
    ignore_ipolicy: p.ignoreIpolicy,
    iallocator: p.iallocator,
  },
  result: r.jobIdList,
  summary: "node_name",
  rapi: [
    post("/2/nodes/:node_name/migrate", {
      query: {
        live: { type: "string", param: "mode", values: { "0": "non-live", "1": "live" }, legacy: true },
        mode: { type: "string", legacy: true },
        // The 3.x client asks for its dry run here, and would migrate for real if this were not read.
        "dry-run": { type: "flag", param: "dry_run", legacy: true },
      },
    }),
  ],
  cli: command("node migrate", { args: ["node_name"] }),
});
