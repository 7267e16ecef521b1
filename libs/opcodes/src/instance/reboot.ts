import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import { REBOOT_TYPES } from "../enums.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { flag, post } from "../route.ts";

export const InstanceReboot = defineOpcode({
  id: "OP_INSTANCE_REBOOT",
  doc: "Reboot an instance.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    shutdown_timeout: p.shutdownTimeout,
    ignore_secondaries: p.flag("Go on where disks of the secondary node fail."),
    reboot_type: p.required(
      z.enum(REBOOT_TYPES),
      "By the guest itself, by stopping and starting it, or that with all disks assembled anew.",
    ),
  },
  result: r.nothing,
  summary: "instance_name",
  rapi: [
    post("/2/instances/:instance_name/reboot", {
      query: { type: { type: "string", param: "reboot_type", default: "hard" }, ignore_secondaries: flag },
      dryRun: "query",
    }),
  ],
  cli: command("instance reboot", { args: ["instance_name"] }),
});
