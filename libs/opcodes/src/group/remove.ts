import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { del } from "../route.ts";

export const GroupRemove = defineOpcode({
  id: "OP_GROUP_REMOVE",
  doc: "Remove an empty node group.",
  params: { group_name: p.groupName },
  result: r.nothing,
  summary: "group_name",
  rapi: [del("/2/groups/:group_name", { body: "ignored", dryRun: "query" })],
  cli: command("group remove", { args: ["group_name"] }),
});
