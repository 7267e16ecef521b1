import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const ClusterRepairDiskSizes = defineOpcode({
  id: "OP_CLUSTER_REPAIR_DISK_SIZES",
  doc: "Correct the recorded sizes of disks to what the nodes report.",
  params: { instances: p.instanceNames },
  /** `[instance, disk index, "size" or "spindles", new value]` of each that was wrong. */
  result: z.array(z.tuple([r.name, z.int().nonnegative(), r.name, z.int().nonnegative()])),
  summary: null,
  rapi: [],
  cli: command("cluster repair-disk-sizes", { args: ["instances"] }),
});
