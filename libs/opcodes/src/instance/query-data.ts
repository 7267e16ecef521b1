import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import { oneNameOf } from "../rapi/one-name.ts";
import * as r from "../results.ts";
import { flag, get } from "../route.ts";

export const InstanceQueryData = defineOpcode({
  id: "OP_INSTANCE_QUERY_DATA",
  doc: "Describe instances in full, down to their devices.",
  params: {
    use_locking: p.useLocking,
    instances: p.instanceNames,
    static: p.flag("From the configuration alone, without asking nodes."),
  },
  /** By instance name. */
  result: z.record(z.string(), r.anyObject),
  summary: null,
  rapi: [
    get("/2/instances/:instance_name/info", {
      access: "none",
      query: { static: flag },
      body: "ignored",
      convert: ({ params: { instance_name, ...rest } }) => ({ ...rest, instances: [instance_name] }),
      invert: oneNameOf("instances", "instance_name"),
    }),
  ],
  cli: command("instance info", { args: ["instances"] }),
});
