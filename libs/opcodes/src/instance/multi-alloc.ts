import { z } from "zod";
import { command, commonParams, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import { applyAliases } from "../rapi/aliases.ts";
import * as r from "../results.ts";
import { post } from "../route.ts";
import { INSTANCE_CREATE_ALIASES, InstanceCreate } from "./create.ts";

const allocation = z.strictObject({
  OP_ID: z.literal(InstanceCreate.id).optional(),
  ...InstanceCreate.params,
  ...commonParams,
});

export const InstanceMultiAlloc = defineOpcode({
  id: "OP_INSTANCE_MULTI_ALLOC",
  doc: "Find places for several instances at once and submit the jobs that create them.",
  params: {
    opportunistic_locking: p.opportunisticLocking,
    iallocator: p.iallocator,
    instances: p.list(allocation, "The instances, each with the parameters of OP_INSTANCE_CREATE."),
  },
  result: r.multiAllocResponse,
  summary: null,
  rapi: [
    post("/2/instances-multi-alloc", {
      dryRun: "query",
      convert: ({ params }) => ({ ...params, instances: renamed(params.instances) }),
      invert: (params) => ({ params, body: null }),
    }),
  ],
  cli: command("instance multi-alloc", { args: ["instances"] }),
});

function renamed(instances: unknown): unknown {
  if (!Array.isArray(instances)) return instances;
  return instances.map((instance) => applyAliases(instance, INSTANCE_CREATE_ALIASES));
}
