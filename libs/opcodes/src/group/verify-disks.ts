import { z } from "zod";
import { defineOpcode } from "../define.ts";
import * as p from "../params.ts";

export const GroupVerifyDisks = defineOpcode({
  id: "OP_GROUP_VERIFY_DISKS",
  doc: "Find disks of a group's instances that are not active.",
  params: { group_name: p.groupName, is_strict: p.isStrict },
  /** Errors by node; instances whose disks need activation; missing disks by instance, `[node, disk]` each. */
  result: z.tuple([
    z.record(z.string(), z.string()),
    z.array(z.string()),
    z.record(z.string(), z.array(z.array(z.string()))),
  ]),
  summary: "group_name",
  rapi: [],
  cli: null,
});
