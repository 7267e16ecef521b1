import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { del } from "../route.ts";

export const NetworkRemove = defineOpcode({
  id: "OP_NETWORK_REMOVE",
  doc: "Remove a network that no group is connected to.",
  params: { network_name: p.networkName, force: p.force },
  result: r.nothing,
  summary: "network_name",
  rapi: [del("/2/networks/:network_name", { dryRun: "query" })],
  cli: command("network remove", { args: ["network_name"] }),
});
