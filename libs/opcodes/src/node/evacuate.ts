import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import { EVAC_MODES } from "../enums.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { post } from "../route.ts";

export const NodeEvacuate = defineOpcode({
  id: "OP_NODE_EVACUATE",
  doc: "Submit the jobs that move instances off a node.",
  params: {
    early_release: p.earlyRelease,
    node_name: p.nodeName,
    node_uuid: p.uuid,
    remote_node: p.remoteNode,
    remote_node_uuid: p.uuid,
    iallocator: p.iallocator,
    mode: p.required(z.enum(EVAC_MODES), "Which instances: those that run on it, have a copy on it, or both."),
    ignore_soft_errors: p.optionalFlag("Go on where the allocator only advises against it."),
  },
  result: r.jobIdList,
  summary: "node_name",
  rapi: [post("/2/nodes/:node_name/evacuate", { alsoInBody: ["node_name"], dryRun: "query" })],
  cli: command("node evacuate", { args: ["node_name"] }),
});
