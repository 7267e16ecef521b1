import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { post } from "../route.ts";

export const GroupAdd = defineOpcode({
  id: "OP_GROUP_ADD",
  doc: "Add a node group.",
  params: {
    group_name: p.newGroupName,
    alloc_policy: p.allocPolicy,
    ndparams: p.ndparams,
    diskparams: p.diskparams,
    hv_state: p.hvState,
    disk_state: p.diskState,
    ipolicy: p.ipolicy,
  },
  result: z.union([r.nothing, r.jobIdList]),
  summary: "group_name",
  rapi: [post("/2/groups", { dryRun: "query", aliases: { name: "group_name" } })],
  cli: command("group add", { args: ["group_name"] }),
});
