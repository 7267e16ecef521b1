import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { put } from "../route.ts";

export const GroupSetParams = defineOpcode({
  id: "OP_GROUP_SET_PARAMS",
  doc: "Change parameters of a node group.",
  params: {
    group_name: p.groupName,
    alloc_policy: p.allocPolicy,
    ndparams: p.ndparams,
    diskparams: p.diskparams,
    hv_state: p.hvState,
    disk_state: p.diskState,
    ipolicy: p.ipolicy,
  },
  result: r.changes,
  summary: "group_name",
  rapi: [
    put("/2/groups/:group_name/modify", {
      aliases: { custom_ndparams: "ndparams", custom_ipolicy: "ipolicy", custom_diskparams: "diskparams" },
    }),
  ],
  cli: command("group modify", { args: ["group_name"] }),
});
