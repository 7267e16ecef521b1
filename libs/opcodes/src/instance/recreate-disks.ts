import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { post } from "../route.ts";

export const InstanceRecreateDisks = defineOpcode({
  id: "OP_INSTANCE_RECREATE_DISKS",
  doc: "Make an instance's disks again, empty.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    disks: p.withDefault(p.recreateDisks, [], "Indexes of the disks, or `[index, settings]`; none: all."),
    nodes: p.list(p.hostName, "New nodes of the disks, the primary first; none: the old ones."),
    node_uuids: p.uuids,
    iallocator: p.iallocator,
  },
  result: r.nothing,
  summary: "instance_name",
  rapi: [post("/2/instances/:instance_name/recreate-disks")],
  cli: command("instance recreate-disks", { args: ["instance_name"] }),
});
