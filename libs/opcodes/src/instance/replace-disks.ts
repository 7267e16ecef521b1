import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import { REPLACE_DISKS_MODES } from "../enums.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { post } from "../route.ts";

export const InstanceReplaceDisks = defineOpcode({
  id: "OP_INSTANCE_REPLACE_DISKS",
  doc: "Replace mirrored disks, on one of the nodes or with a new secondary.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    early_release: p.earlyRelease,
    ignore_ipolicy: p.ignoreIpolicy,
    mode: p.required(z.enum(REPLACE_DISKS_MODES), "Which side is replaced."),
    disks: p.withDefault(p.diskIndexes, [], "Indexes of the disks; none: all."),
    remote_node: p.remoteNode,
    remote_node_uuid: p.uuid,
    iallocator: p.iallocator,
  },
  result: r.nothing,
  summary: "instance_name",
  rapi: [
    post("/2/instances/:instance_name/replace-disks", {
      query: {
        remote_node: { type: "string", legacy: true },
        mode: { type: "string", legacy: true },
        disks: { type: "string", legacy: true },
        iallocator: { type: "string", legacy: true },
        early_release: { type: "flag", legacy: true },
      },
    }),
  ],
  cli: command("instance replace-disks", { args: ["instance_name"] }),
});
