import { NIC_MODES } from "@gannet/objects";
import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { put } from "../route.ts";

export const NetworkConnect = defineOpcode({
  id: "OP_NETWORK_CONNECT",
  doc: "Make a network usable in a node group.",
  params: {
    group_name: p.groupName,
    network_name: p.networkName,
    network_mode: p.required(z.enum(NIC_MODES), "How NICs in the network are attached."),
    network_link: p.required(p.nonEmptyLine, "Bridge, interface or routing table that they are attached to."),
    network_vlan: p.withDefault(p.line, "", "VLAN of the NICs; empty: none."),
    conflicts_check: p.conflictsCheck,
  },
  result: r.nothing,
  summary: "network_name",
  rapi: [put("/2/networks/:network_name/connect", { dryRun: "query" })],
  cli: command("network connect", { args: ["network_name", "network_mode", "network_link", "group_name"] }),
});
