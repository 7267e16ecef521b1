import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { flag, put } from "../route.ts";

export const InstanceActivateDisks = defineOpcode({
  id: "OP_INSTANCE_ACTIVATE_DISKS",
  doc: "Make an instance's disks usable on its nodes without starting it.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    ignore_size: p.flag("Go on where a disk's size is not the recorded one."),
    wait_for_sync: p.flag("Wait until the disks are in sync."),
  },
  /** `[node, disk, device]` of each disk; the device is null where it has none. */
  result: z.array(z.tuple([r.name, r.name, r.name.nullable()])),
  summary: "instance_name",
  rapi: [put("/2/instances/:instance_name/activate-disks", { query: { ignore_size: flag }, body: "ignored" })],
  cli: command("instance activate-disks", { args: ["instance_name"] }),
});
