import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { flag, put } from "../route.ts";

export const GroupAssignNodes = defineOpcode({
  id: "OP_GROUP_ASSIGN_NODES",
  doc: "Move nodes into a group.",
  params: {
    group_name: p.groupName,
    force: p.force,
    nodes: p.requiredNodeNames,
    node_uuids: p.uuids,
  },
  result: r.nothing,
  summary: "group_name",
  rapi: [put("/2/groups/:group_name/assign-nodes", { query: { force: flag }, dryRun: "query" })],
  cli: command("group assign-nodes", { args: ["group_name", "nodes"] }),
});
