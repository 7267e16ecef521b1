import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const GroupEvacuate = defineOpcode({
  id: "OP_GROUP_EVACUATE",
  doc: "Submit the jobs that move all instances out of a group.",
  params: {
    group_name: p.groupName,
    early_release: p.earlyRelease,
    iallocator: p.iallocator,
    target_groups: p.targetGroups,
    sequential: p.flag("Move one instance after the other."),
    force_failover: p.flag("Fail over where a migration would do."),
  },
  result: r.jobIdList,
  summary: "group_name",
  rapi: [],
  cli: command("group evacuate", { args: ["group_name"] }),
});
