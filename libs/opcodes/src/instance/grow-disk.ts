import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { post } from "../route.ts";

export const InstanceGrowDisk = defineOpcode({
  id: "OP_INSTANCE_GROW_DISK",
  doc: "Enlarge a disk of an instance.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    wait_for_sync: p.waitForSync,
    disk: p.required(p.diskIndex, "Index of the disk."),
    amount: p.required(p.size, "How much to add, or the new size, in MiB or with a unit."),
    absolute: p.flag("The amount is the disk's new size."),
    ignore_ipolicy: p.ignoreIpolicy,
  },
  result: r.nothing,
  summary: "instance_name",
  rapi: [post("/2/instances/:instance_name/disk/:disk_index/grow", { pathParams: { disk_index: "disk" } })],
  cli: command("instance grow-disk", { args: ["instance_name", "disk", "amount"] }),
});
