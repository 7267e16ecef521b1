import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { post } from "../route.ts";

export const NetworkAdd = defineOpcode({
  id: "OP_NETWORK_ADD",
  doc: "Add an IP network that instances get addresses from.",
  params: {
    network_name: p.newNetworkName,
    network: p.required(p.ipv4Net, "The IPv4 network."),
    gateway: p.optional(p.ipv4, "The IPv4 gateway."),
    network6: p.optional(p.ipv6Net, "The IPv6 network."),
    gateway6: p.optional(p.ipv6, "The IPv6 gateway."),
    mac_prefix: p.optional(p.macPrefix, "First three bytes of MAC addresses in the network."),
    add_reserved_ips: p.optionalList(p.ipv4, "Addresses that no instance gets."),
    conflicts_check: p.conflictsCheck,
    tags: p.list(p.tag.min(1), "Tags of the network."),
  },
  result: r.nothing,
  summary: "network_name",
  rapi: [post("/2/networks", { dryRun: "query", aliases: { name: "network_name" } })],
  cli: command("network add", { args: ["network_name"] }),
});
