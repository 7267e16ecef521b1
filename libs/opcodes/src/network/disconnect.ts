import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { put } from "../route.ts";

export const NetworkDisconnect = defineOpcode({
  id: "OP_NETWORK_DISCONNECT",
  doc: "Make a network unusable in a node group.",
  params: { group_name: p.groupName, network_name: p.networkName },
  result: r.nothing,
  summary: "network_name",
  rapi: [put("/2/networks/:network_name/disconnect", { dryRun: "query" })],
  cli: command("network disconnect", { args: ["network_name", "group_name"] }),
});
