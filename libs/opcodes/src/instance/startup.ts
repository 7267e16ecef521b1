import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { flag, put } from "../route.ts";

export const InstanceStartup = defineOpcode({
  id: "OP_INSTANCE_STARTUP",
  doc: "Start an instance on its primary node.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    force: p.force,
    ignore_offline_nodes: p.ignoreOfflineNodes,
    hvparams: p.hvparams,
    beparams: p.beparams,
    no_remember: p.noRemember,
    startup_paused: p.flag("Start with the guest paused."),
    shutdown_timeout: p.shutdownTimeout,
  },
  result: r.nothing,
  summary: "instance_name",
  rapi: [
    put("/2/instances/:instance_name/startup", {
      query: { force: flag, no_remember: flag },
      body: "ignored",
      dryRun: "query",
    }),
  ],
  cli: command("instance startup", { args: ["instance_name"] }),
});
