import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const InstanceChangeGroup = defineOpcode({
  id: "OP_INSTANCE_CHANGE_GROUP",
  doc: "Submit the jobs that move an instance to another node group.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    early_release: p.earlyRelease,
    iallocator: p.iallocator,
    target_groups: p.targetGroups,
  },
  result: r.jobIdList,
  summary: "instance_name",
  rapi: [],
  cli: command("instance change-group", { args: ["instance_name"] }),
});
