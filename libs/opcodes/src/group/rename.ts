import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { put } from "../route.ts";

export const GroupRename = defineOpcode({
  id: "OP_GROUP_RENAME",
  doc: "Rename a node group.",
  params: { group_name: p.groupName, new_name: p.newGroupName },
  result: r.name,
  summary: null,
  rapi: [put("/2/groups/:group_name/rename", { dryRun: "query" })],
  cli: command("group rename", { args: ["group_name", "new_name"] }),
});
