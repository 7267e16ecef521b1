import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { put } from "../route.ts";

export const NetworkRename = defineOpcode({
  id: "OP_NETWORK_RENAME",
  doc: "Rename a network.",
  params: { network_name: p.networkName, new_name: p.newNetworkName },
  result: r.name,
  summary: null,
  rapi: [put("/2/networks/:network_name/rename", { dryRun: "query" })],
  cli: command("network rename", { args: ["network_name", "new_name"] }),
});
