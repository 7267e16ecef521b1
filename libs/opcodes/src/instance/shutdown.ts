import { ADMIN_STATE_SOURCES } from "@gannet/objects";
import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { flag, put } from "../route.ts";

export const InstanceShutdown = defineOpcode({
  id: "OP_INSTANCE_SHUTDOWN",
  doc: "Shut an instance down.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    force: p.force,
    ignore_offline_nodes: p.ignoreOfflineNodes,
    timeout: p.shutdownTimeout,
    no_remember: p.noRemember,
    admin_state_source: p.optional(z.enum(ADMIN_STATE_SOURCES), "Whose wish the new state is."),
  },
  result: r.nothing,
  summary: "instance_name",
  rapi: [
    put("/2/instances/:instance_name/shutdown", {
      query: { no_remember: flag },
      alsoInBody: ["no_remember"],
      dryRun: "query",
    }),
  ],
  cli: command("instance shutdown", { args: ["instance_name"] }),
});
